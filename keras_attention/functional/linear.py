"""Linear attention: a sum over keys that is made once, for all queries.

    output[t] = phi(q[t]) S / phi(q[t]) z,
    S = sum over s of phi(k[s]) v[s]^T,   z = sum over s of phi(k[s])

(Katharopoulos et al. 2020, arXiv 2006.16236, equations 5 to 7; with causal
sums over s <= t, equations 9 to 12.) Time and memory grow with the length,
not with its square; a sum so far is all that a later query needs.

Features come as their logarithms, and sums are kept relative to the largest
feature so far: any scale cancels in the quotient, so none can overflow, and
a sequence of small features does not vanish.

Letters: B batch, T query length, S key length, N heads, M features, V
value_dim, C positions of a chunk.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.functional.padding import keep
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scan import scan
from keras_attention.masks import ranges

CHUNK = 128
# Not minus infinity, whose difference with itself is NaN.
LOWEST = float(np.finfo("float32").min)


def linear_attend(
    *, query: Any, key: Any, value: Any, key_mask: Any = None
) -> Any:
    """Attends to all keys, in time linear in the lengths.

    Args:
        query: logarithms of the features phi(q), (batch, query_length,
            num_heads, features).
        key: those of phi(k), (batch, key_length, num_heads, features).
        value: (batch, key_length, num_heads, value_dim).
        key_mask: boolean (batch, key_length), True = real, or None.

    Returns:
        Tensor (batch, query_length, num_heads, value_dim) of the dtype of
        `value`; zeros where no key is real.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import linear_attend
    >>> query, key = np.zeros((2, 3, 5, 7)), np.zeros((2, 11, 5, 7))
    >>> linear_attend(query=query, key=key, value=np.ones((2, 11, 5, 13))).shape
    TensorShape([2, 3, 5, 13])
    """
    value = ops.convert_to_tensor(value)
    query, key, numbers = map(_exact, (query, key, value))
    state = _empty_state_of(key, numbers)
    state = _add(state, key, keep(numbers, key_mask), key_mask)
    scale = state["scale"][:, None]  # (B, 1, N)
    output = _quotient(*_read(_unit(query), state, scale))
    return ops.cast(output, value.dtype)


def linear_attend_causal(
    *,
    query: Any,
    key: Any,
    value: Any,
    key_mask: Any = None,
    state: dict[str, Any] | None = None,
) -> tuple:
    """Attends to the keys up to each query, and to those in the state.

    Inside a chunk of positions the weights are made, between chunks the sums
    are carried on.

    Args:
        query: as in `linear_attend`; as many positions as `key` has.
        key: as in `linear_attend`.
        value: as in `linear_attend`.
        key_mask: as in `linear_attend`.
        state: what the last call returned for the positions before, or None.

    Returns:
        The output (batch, length, num_heads, value_dim), and the state after
        the last position: see `empty_state`.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import linear_attend_causal
    >>> features, value = np.zeros((2, 3, 5, 7)), np.ones((2, 3, 5, 11))
    >>> output, state = linear_attend_causal(
    ...     query=features, key=features, value=value
    ... )
    >>> output.shape, state["sum"].shape
    (TensorShape([2, 3, 5, 11]), TensorShape([2, 5, 7, 11]))
    """
    value = ops.convert_to_tensor(value)
    query, key, numbers = map(_exact, (query, key, value))
    if state is None:
        state = _empty_state_of(key, numbers)
    if key_mask is None:
        key_mask = ops.ones(ops.shape(key)[:2], dtype="bool")
    key, numbers = keep(key, key_mask), keep(numbers, key_mask)
    inputs = (_unit(query), key, numbers, key_mask)
    length = key.shape[1]
    if length is not None and length <= CHUNK:
        state, output = _chunk(state, inputs)
        return ops.cast(output, value.dtype), state
    shape = (key.shape[0], CHUNK, *value.shape[2:])
    like = keras.KerasTensor(shape, dtype=ops.dtype(numbers))
    state, output = scan(_chunk, state, tuple(map(_cut, inputs)), like)
    output = ops.moveaxis(output, 0, 1)  # (B, chunks, C, N, V)
    batch, chunks = ops.shape(output)[:2]
    output = ops.reshape(output, (batch, chunks * CHUNK, *value.shape[2:]))
    return ops.cast(output[:, : ops.shape(key)[1]], value.dtype), state


def linear_weights(*, query: Any, key: Any, visible: Any = None) -> Any:
    """Returns the weights that linear attention never builds.

        weight[t, s] = phi(q[t]) phi(k[s]) / sum over visible s' of the same

    Args:
        query: as in `linear_attend`.
        key: as in `linear_attend`.
        visible: boolean tensor that broadcasts to (batch, num_heads,
            query_length, key_length), or None.

    Returns:
        Tensor (batch, num_heads, query_length, key_length), at least float32.
    """
    query, key = map(_exact, (query, key))
    if visible is None:
        visible = ops.ones((1, 1, 1, 1), dtype="bool")
    weights, _ = _weights(_unit(query), key, visible)
    total = ops.sum(weights, axis=-1, keepdims=True)  # (B, N, T, 1)
    return weights / ops.where(total > 0, total, ops.ones_like(total))


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
        num_features); and `scale`, (batch_size, num_heads), the logarithm of
        what both are divided by.
    """
    shape = (batch_size, num_heads, num_features)
    return {
        "sum": ops.zeros((*shape, value_dim), dtype=dtype),
        "normalizer": ops.zeros(shape, dtype=dtype),
        "scale": ops.full(shape[:2], LOWEST, dtype=dtype),
    }


def _empty_state_of(key, value):
    sizes = ops.shape(key)[0], *key.shape[2:], value.shape[3]
    return empty_state(*sizes, ops.dtype(value))


def _chunk(state, inputs):
    """Adds a chunk of positions; returns the state and their outputs."""
    query, key, value, key_mask = inputs
    position = ops.arange(ops.shape(key)[1])
    visible = ops.logical_and(
        position[:, None] >= position, key_mask[:, None, None]
    )  # (B, 1, C, C)
    before = state["scale"][:, :, None]  # (B, N, 1)
    weights, scale = _weights(query, key, visible, before)
    scale = ops.swapaxes(scale, 1, 2)  # (B, C, N)
    found, normalizer = _read(query, state, scale)
    found = found + ops.einsum("bnts,bsnv->btnv", weights, value)
    inside = ops.swapaxes(ops.sum(weights, axis=-1), 1, 2)  # (B, C, N)
    state = _add(state, key, value, key_mask)
    return state, _quotient(found, normalizer + inside)


def _weights(query, key, visible, scale=None):
    """Returns phi(q) phi(k) of each pair, relative to the largest phi(k).

    Args:
        query: phi(q), (B, T, N, M).
        key: logarithms of phi(k), (B, S, N, M).
        visible: boolean, broadcasts to (B, N, T, S).
        scale: the largest logarithm before these keys, (B, N, 1), or None.

    Returns:
        The products (B, N, T, S), zero where not visible, and the logarithm
        of what they were divided by, (B, N, T).
    """
    tops = _largest(key, axis=-1)  # (B, S, N)
    products = ops.einsum(
        "btnm,bsnm->bnts", query, ops.exp(key - tops[..., None])
    )
    tops = ops.swapaxes(tops, 1, 2)[:, :, None]  # (B, N, 1, S)
    seen = ops.where(visible, tops, LOWEST)  # (B, N, 1 or T, S)
    top = ops.max(seen, axis=-1, initial=LOWEST)
    top = top if scale is None else ops.maximum(top, scale)  # (B, N, T)
    shrink = ops.exp(seen - top[..., None])
    # Where nothing is seen, `seen` and `top` are both the lowest number.
    return ops.where(visible, products * shrink, 0.0), top


def _add(state, key, value, key_mask):
    """Returns the state after keys, their logarithms (B, S, N, M)."""
    if key_mask is not None:
        key = ops.where(key_mask[..., None, None], key, LOWEST)
    scale = ops.maximum(state["scale"], _largest(key, axis=(1, 3)))  # (B, N)
    powers = ops.exp(key - scale[:, None, :, None])
    if key_mask is not None:
        powers = keep(powers, key_mask)
    shrink = ops.exp(state["scale"] - scale)[..., None]  # (B, N, 1)
    total = ops.einsum("bsnm,bsnv->bnmv", powers, value)
    return {
        "sum": state["sum"] * shrink[..., None] + total,
        "normalizer": state["normalizer"] * shrink + ops.sum(powers, axis=1),
        "scale": scale,
    }


def _read(query, state, scale):
    """Returns phi(q) S (B, T, N, V), and phi(q) z (B, T, N).

    Args:
        query: phi(q), (B, T, N, M).
        state: the state.
        scale: (B, T or 1, N), what the results are relative to.
    """
    shrink = ops.exp(state["scale"][:, None] - scale)  # (B, T or 1, N)
    found = ops.einsum("btnm,bnmv->btnv", query, state["sum"])
    normalizer = ops.einsum("btnm,bnm->btn", query, state["normalizer"])
    return found * shrink[..., None], normalizer * shrink


def _quotient(found, normalizer):
    """Returns found / normalizer, zero where there was nothing to find."""
    normalizer = normalizer[..., None]  # (B, T, N, 1)
    is_empty = normalizer <= 0
    return found / ops.where(is_empty, ops.ones_like(normalizer), normalizer)


def _unit(query):
    """Returns phi(q) from its logarithms, divided by its largest feature."""
    return ops.exp(query - _largest(query, axis=-1)[..., None])


def _largest(logarithms, axis):
    """Returns the largest along `axis`, a scale: it has no gradient."""
    return ops.stop_gradient(ops.max(logarithms, axis=axis, initial=LOWEST))


def _exact(tensor):
    return at_least_float32(ops.convert_to_tensor(tensor))


def _cut(tensor):
    """Cuts (B, T, ...) into (chunks, B, C, ...), padded with zeros.

    There is a chunk where there is no position: a loop stacks no results.
    """
    batch, length = ops.shape(tensor)[:2]
    rest = tuple(tensor.shape[2:])
    chunks = ranges.maximum(-(-length // CHUNK), 1)
    pad = [(0, 0), (0, chunks * CHUNK - length), *((0, 0) for _ in rest)]
    tensor = ops.pad(tensor, pad)
    tensor = ops.reshape(tensor, (batch, chunks, CHUNK, *rest))
    return ops.moveaxis(tensor, 1, 0)
