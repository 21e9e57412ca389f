"""The sums of linear attention over keys, and what queries find in them.

Letters: B batch, T query length, S key length, N heads, M features, V
value_dim.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_attention.functional.padding import keep

# Not minus infinity, whose difference with itself is NaN.
LOWEST = float(np.finfo("float32").min)
# A normaliser below it, about e^-69, is made of numbers that lost digits.
SMALLEST = 1e-30


def empty_state(
    batch_size: Any,
    num_heads: int,
    num_features: int,
    value_dim: int,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Returns the sums over no key.

    Returns:
        A dict with `sum`, that of phi(k) v^T, (batch_size, num_heads,
        num_features, value_dim); `normalizer`, that of phi(k), (...,
        num_features); and `scale`, of the shape of the latter, the logarithm
        of what both are divided by.
    """
    shape = (batch_size, num_heads, num_features)
    return {
        "sum": ops.zeros((*shape, value_dim), dtype=dtype),
        "normalizer": ops.zeros(shape, dtype=dtype),
        "scale": ops.full(shape, LOWEST, dtype=dtype),
    }


def add(state: dict, key: Any, value: Any, key_mask: Any) -> dict:
    """Returns the state after more keys.

    Args:
        state: what `empty_state` or the last call returned.
        key: logarithms of phi(k), (B, S, N, M).
        value: (B, S, N, V), zeros at padding.
        key_mask: boolean (B, S), True = real, or None.
    """
    if key_mask is not None:
        key = ops.where(key_mask[..., None, None], key, LOWEST)
    scale = ops.maximum(state["scale"], largest(key, axis=1))  # (B, N, M)
    powers = ops.exp(key - scale[:, None])
    if key_mask is not None:
        powers = keep(powers, key_mask)
    shrink = ops.exp(state["scale"] - scale)  # (B, N, M)
    total = ops.einsum("bsnm,bsnv->bnmv", powers, value)
    return {
        "sum": state["sum"] * shrink[..., None] + total,
        "normalizer": state["normalizer"] * shrink + ops.sum(powers, axis=1),
        "scale": scale,
    }


def read(query: Any, state: dict) -> tuple:
    """Returns what queries find: phi(q) S / phi(q) z.

    Args:
        query: logarithms of phi(q), (B, T, N, M).
        state: the state.

    Returns:
        The quotient (B, T, N, V), and the logarithm of phi(q) z, (B, T, N).
    """
    query = query + state["scale"][:, None]
    top = largest(query, axis=-1)  # (B, T, N)
    query = ops.exp(query - top[..., None])
    found = ops.einsum("btnm,bnmv->btnv", query, state["sum"])
    normalizer = ops.einsum("btnm,bnm->btn", query, state["normalizer"])
    output, total = quotient(found, normalizer[..., None])
    return output, top + total[..., 0]


def quotient(found: Any, normalizer: Any) -> tuple:
    """Returns found / normalizer, and the logarithm of the latter.

    Zero, and the lowest number, where there was nothing to find.

    Args:
        found: (..., V).
        normalizer: (..., 1), not below zero.
    """
    is_empty = normalizer <= SMALLEST
    normalizer = ops.where(is_empty, 1.0, normalizer)
    # The gradient squares what it divides by: this makes that one.
    size = ops.stop_gradient(normalizer)
    result = (found / size) / (normalizer / size)
    return (
        ops.where(is_empty, 0.0, result),
        ops.where(is_empty, LOWEST, ops.log(normalizer)),
    )


def largest(logarithms: Any, axis: int) -> Any:
    """Returns the largest along `axis`, a scale: it has no gradient."""
    return ops.stop_gradient(ops.max(logarithms, axis=axis, initial=LOWEST))
