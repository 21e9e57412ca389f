"""Linear attention: a sum over keys that is made once, for all queries.

    output[t] = phi(q[t]) S / phi(q[t]) z,
    S = sum over s of phi(k[s]) v[s]^T,   z = sum over s of phi(k[s])

(Katharopoulos et al. 2020, arXiv 2006.16236, equations 5 to 7; with causal
sums over s <= t, equations 9 to 12.) Time and memory grow with the length,
not with its square; a sum so far is all that a later query needs.

Features come as their logarithms, and the sums of each feature are kept
relative to its largest so far: a scale of a feature cancels in the product,
and one of a query in the quotient. So no sum can overflow, and what a query
finds most of never vanishes, whatever the size of the features.

Letters: B batch, T query length, S key length, N heads, M features, V
value_dim, C positions of a chunk.
"""

from typing import Any

import keras
from keras import ops

from keras_attention.functional.linear_sums import LOWEST
from keras_attention.functional.linear_sums import add
from keras_attention.functional.linear_sums import empty_state
from keras_attention.functional.linear_sums import largest
from keras_attention.functional.linear_sums import quotient
from keras_attention.functional.linear_sums import read
from keras_attention.functional.padding import keep
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scan import scan
from keras_attention.masks import ranges

CHUNK = 128


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
    state = add(state, key, keep(numbers, key_mask), key_mask)
    output, _ = read(query, state)
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

    The sums, and the key at the position of a query, are right at any size of
    the features. Between two positions of a chunk the weight is relative to
    the largest feature of each, and is lost below e^-69. It never is where the
    features of a key differ by less than that factor.

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
    inputs = (query, key, numbers, key_mask)
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
    weights, _ = _weights(query, key, visible)
    total = ops.sum(weights, axis=-1, keepdims=True)  # (B, N, T, 1)
    return quotient(weights, total)[0]


def _empty_state_of(key, value):
    sizes = ops.shape(key)[0], *key.shape[2:], value.shape[3]
    return empty_state(*sizes, ops.dtype(value))


def _chunk(state, inputs):
    """Adds a chunk of positions; returns the state and their outputs."""
    query, key, value, key_mask = inputs
    found = (
        read(query, state),
        _read_earlier(query, key, value, key_mask),
        _read_own(query, key, value, key_mask),
    )
    return add(state, key, value, key_mask), _joined(found)


def _joined(found):
    """Returns the outputs of parts of the keys as that of all of them.

    Args:
        found: for each part its output (B, T, N, V), and the logarithm of its
            normaliser (B, T, N).
    """
    outputs, totals = zip(*found, strict=True)
    # The last axis: of another, XLA cannot differentiate a softmax in a loop.
    shares = ops.softmax(ops.stack(totals, axis=-1))  # (B, T, N, parts)
    return sum(
        output * shares[..., part, None] for part, output in enumerate(outputs)
    )


def _read_earlier(query, key, value, key_mask):
    """Returns what a chunk holds before each query, see `_joined`."""
    position = ops.arange(ops.shape(key)[1])
    visible = ops.logical_and(
        position[:, None] > position, key_mask[:, None, None]
    )  # (B, 1, C, C)
    weights, top = _weights(query, key, visible)
    normalizer = ops.sum(weights, axis=-1, keepdims=True)  # (B, N, C, 1)
    weights, total = quotient(weights, normalizer)
    output = ops.einsum("bnts,bsnv->btnv", weights, value)
    return output, ops.swapaxes(top + total[..., 0], 1, 2)  # (B, C, N)


def _read_own(query, key, value, key_mask):
    """Returns what each query finds at its own position, see `_joined`.

    Apart from the others, since it is exact: a query that sees its own key
    finds something, whatever became of the sums.
    """
    total = ops.logsumexp(query + key, axis=-1)  # (B, C, N)
    total = ops.where(key_mask[..., None], total, LOWEST)
    return keep(value, key_mask), total


def _weights(query, key, visible):
    """Returns phi(q) phi(k) of each pair, relative to the largest feature.

    Args:
        query: logarithms of phi(q), (B, T, N, M).
        key: logarithms of phi(k), (B, S, N, M).
        visible: boolean, broadcasts to (B, N, T, S).

    Returns:
        The products (B, N, T, S), zero where not visible, and the logarithm
        of what they were divided by, (B, N, T).
    """
    highest, tops = (largest(x, axis=-1) for x in (query, key))
    products = ops.einsum(
        "btnm,bsnm->bnts",
        ops.exp(query - highest[..., None]),
        ops.exp(key - tops[..., None]),
    )
    tops = ops.swapaxes(tops, 1, 2)[:, :, None]  # (B, N, 1, S)
    seen = ops.where(visible, tops, LOWEST)  # (B, N, 1 or T, S)
    top = ops.max(seen, axis=-1, initial=LOWEST)  # (B, N, 1 or T)
    # Where nothing is seen, `seen` and `top` are both the lowest number.
    shrink = ops.exp(seen - top[..., None])
    weights = ops.where(visible, products * shrink, 0.0)
    return weights, top + ops.swapaxes(highest, 1, 2)


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
