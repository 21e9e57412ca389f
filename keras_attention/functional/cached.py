"""Attention of one step to keys and values that are kept from step to step.

Letters: T cached positions, S source positions, B batch, K queries of a row,
N heads, H key_dim, V value_dim.
"""

from keras import ops

from keras_attention.functional.dense import masked_softmax
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import DotProductScore

# Into how many parts a sum of products is split, see `_sum_of_products`.
PARTS = 8


def attend_to_shared(*, query, key, value, visible=None):
    """Returns what `attend` by the dot product does, for keys by head.

    The keys lie as a matrix product wants them, so no step moves them.

    Args:
        query: float tensor (B, K, N, H).
        key: float tensor (B, N, S, H), which all queries of a row share.
        value: float tensor (B, N, S, V).
        visible: boolean tensor that broadcasts to (B, N, K, S), True = may
            attend, or None.

    Returns:
        The output (B, K, N, V) and the weights (B, N, K, S), of the dtype of
        `query`.

    Masking:
        A query with nothing to attend to has zero weights and zero output.
    """
    dtype = query.dtype
    query, key, value = _prepared(query, key, value)
    query = ops.swapaxes(query, 1, 2)  # (B, N, K, H)
    scores = ops.einsum("bnkh,bnsh->bnks", query, key)
    weights = masked_softmax(scores, visible)
    output = ops.swapaxes(ops.matmul(weights, value), 1, 2)  # (B, K, N, V)
    return ops.cast(output, dtype), ops.cast(weights, dtype)


def attend_to_own(*, query, key, value, visible=None):
    """Returns what `attend` by the dot product does, each query by itself.

    Each query has keys of its own, so no number is used twice and time is
    what it takes to read them: once, in loops that gather, multiply and add.

    Args:
        query: float tensor (B, K, N, H).
        key: float tensor (T, B, K, N, H). Positions come first, so that a
            step writes one block of memory.
        value: float tensor (T, B, K, N, V).
        visible: boolean tensor that broadcasts to (B, N, K, T), True = may
            attend, or None.

    Returns:
        The output (B, K, N, V), of the dtype of `query`.

    Masking:
        A query with nothing to attend to has zero output.
    """
    dtype = query.dtype
    query, key, value = _prepared(query, key, value)
    scores = _sum_of_products(query[None], key, axis=-1)  # (T, B, K, N)
    weights = masked_softmax(ops.transpose(scores, (1, 3, 2, 0)), visible)
    weights = ops.transpose(weights, (3, 0, 2, 1))[..., None]  # (T, B, K, N, 1)
    return ops.cast(_sum_of_products(weights, value, axis=0), dtype)


def _prepared(query, key, value):
    query, key, value = map(at_least_float32, (query, key, value))
    return DotProductScore().scale_query(query), key, value


def _sum_of_products(first, second, axis):
    """Returns sum(first * second, axis); both are equally long on the axis.

    XLA's CPU compiler writes all products to memory before it sums more than
    32 of them. So parts of the axis, where its length allows, are multiplied
    and added up number by number, which it does in one vectorised loop; what
    is written and summed then is an eighth.
    """
    length = second.shape[axis]
    parts = PARTS if length % PARTS == 0 else 1
    pairs = zip(
        ops.split(first, parts, axis),
        ops.split(second, parts, axis),
        strict=True,
    )
    return ops.sum(sum(one * other for one, other in pairs), axis=axis)
