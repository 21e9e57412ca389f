"""Attention to keys and values that lie as the products read them.

A decoder keeps its caches so, since to bring them into order costs more than
a step's attention. Letters: B batch, T query length, S key length, N heads, H
key_dim, V value_dim.
"""

from keras import ops

from keras_attention.functional.dense import masked_softmax
from keras_attention.functional.scores import DotProductScore
from keras_attention.functional.tiles import at_least_float32


def attend_cached(*, query, key, value, visible=None):
    """Returns what `attend` returns with its weights, by the dot product.

    Args:
        query: float tensor (batch, query_length, num_heads, key_dim).
        key: float tensor (batch, num_heads, key_dim, key_length).
        value: float tensor (batch, num_heads, key_length, value_dim).
        visible: boolean tensor that broadcasts to (batch, num_heads,
            query_length, key_length), True = may attend, or None.

    Returns:
        The output (batch, query_length, num_heads, value_dim) and the weights
        (batch, num_heads, query_length, key_length), of the dtype of `query`.

    Masking:
        A query with nothing to attend to has zero weights and zero output.
    """
    dtype = query.dtype
    query, key, value = map(at_least_float32, (query, key, value))
    query = DotProductScore().scale_query(query)
    query = ops.transpose(query, (0, 2, 1, 3))  # (B, N, T, H)
    scores = ops.matmul(query, key)  # (B, N, T, S)
    weights = masked_softmax(scores, visible)
    output = ops.matmul(weights, value)  # (B, N, T, V)
    output = ops.transpose(output, (0, 2, 1, 3))  # (B, T, N, V)
    return ops.cast(output, dtype), ops.cast(weights, dtype)
