"""Attention to a cache of keys and values that is written step by step.

Positions are the first axis, so that a step writes one block of memory.
Letters: S cached positions, B batch, K queries of a row, N heads, H key_dim,
V value_dim.
"""

from keras import ops

from keras_attention.functional.dense import masked_softmax
from keras_attention.functional.scores import DotProductScore
from keras_attention.functional.tiles import at_least_float32


def attend_cached(*, query, key, value, visible=None):
    """Returns the output and the weights of `attend` by the dot product.

    The products are sums of so few numbers, each pair of a query and a key
    once, that a compiler which fuses multiplies and adds beats its own small
    matrix products.

    Args:
        query: float tensor (batch, queries, num_heads, key_dim).
        key: float tensor (positions, batch, num_heads, key_dim), which all
            queries of a row share, or (positions, batch, queries, num_heads,
            key_dim), where each has its own.
        value: as `key`, with value_dim.
        visible: boolean tensor that broadcasts to (batch, num_heads, queries,
            positions), True = may attend, or None.

    Returns:
        The output (batch, queries, num_heads, value_dim) and the weights
        (batch, num_heads, queries, positions), of the dtype of `query`.

    Masking:
        A query with nothing to attend to has zero weights and zero output.
    """
    dtype = query.dtype
    query, key, value = map(at_least_float32, (query, key, value))
    is_shared = len(key.shape) == 4
    if is_shared:
        key = key[:, :, None]  # (S, B, 1, N, H)
    scores = ops.sum(DotProductScore().scale_query(query) * key, axis=-1)
    scores = ops.transpose(scores, (1, 3, 2, 0))  # (B, N, K, S)
    weights = masked_softmax(scores, visible)
    equation = "bnks,sbnv->bknv" if is_shared else "bnks,sbknv->bknv"
    output = ops.einsum(equation, weights, value)  # (B, K, N, V)
    return ops.cast(output, dtype), ops.cast(weights, dtype)
