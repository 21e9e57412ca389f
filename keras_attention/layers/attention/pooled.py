"""Attention to averages of neighbours."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.functional.pooling import average_pool
from keras_attention.functional.pooling import pool_mask
from keras_attention.functional.pooling import pooled_length
from keras_attention.layers.attention.shortened import ShortenedAttention


@keras.saving.register_keras_serializable(package="keras_attention")
class PooledAttention(ShortenedAttention):
    """Multi-head attention to averages of `pool_size` neighbours.

    Keys and values are averaged before they are projected, over those that
    are real, and so are queries with `query_pool_size`, which makes the
    output shorter (as in Multiscale Vision Transformers, Fan et al. 2021,
    arXiv 2104.11227, 3.1, with averages for pooling; and for queries alone in
    Funnel-Transformer, Dai et al. 2020, arXiv 2006.03236, equation 2). The
    cost falls by both factors.

    Args:
        num_heads: number of heads.
        key_dim: width of a head for query and key.
        pool_size: how many keys and values become one.
        query_pool_size: how many queries become one.
        value_dim: width of a head for value; defaults to `key_dim`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width).
        key: (batch, key_length, key_width); defaults to `value`.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: `masks.Lengths`, `Padding`, `QueryPadding` or their
            `&`. Others would need one weight per key.
        return_attention_scores: whether to return the weights of the averages
            too.
        training: whether dropout is on.
        use_causal_mask: refused.

    Returns:
        (batch, ceil(query_length / query_pool_size), query_width) of the
        compute dtype and, if asked for, the weights (batch, num_heads, that
        length, ceil(key_length / pool_size)).

    Masking:
        Padding takes no part in an average, and an average of padding alone
        is not attended to. A padded query, and a row without a real key, gets
        zero weights, and its output is the output bias. The output keeps the
        Keras mask of the query, pooled as the query is.

    Raises:
        ValueError: if an argument or a shape does not fit, or a mask is no
            padding.

    Example:

    >>> import numpy as np
    >>> from keras_attention import PooledAttention
    >>> layer = PooledAttention(2, key_dim=7, pool_size=4, query_pool_size=2)
    >>> inputs = np.ones((3, 11, 14))
    >>> output, weights = layer(inputs, inputs, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([3, 6, 14]), TensorShape([3, 2, 6, 3]))
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        pool_size: int,
        query_pool_size: int = 1,
        value_dim: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(num_heads, key_dim, value_dim, dropout, seed, **kwargs)
        self.pool_size = validation.check_positive_integer(
            "pool_size", pool_size
        )
        self.query_pool_size = validation.check_positive_integer(
            "query_pool_size", query_pool_size
        )

    def shorten_query(self, query: Any, real_queries: Any) -> tuple:
        if self.query_pool_size == 1:
            return query, real_queries
        return average_pool(query, self.query_pool_size, real_queries)

    def shorten(self, key: Any, value: Any, real_keys: Any) -> tuple:
        pooled, real = average_pool(value, self.pool_size, real_keys)
        if key is value:
            return pooled, pooled, real
        return average_pool(key, self.pool_size, real_keys)[0], pooled, real

    def short_length(self, key_length: int | None) -> int | None:
        return pooled_length(key_length, self.pool_size)

    def compute_mask(self, query: Any, previous_mask: Any = None) -> Any:
        if previous_mask is None or self.query_pool_size == 1:
            return previous_mask
        return pool_mask(previous_mask, self.query_pool_size)

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> tuple:
        batch, length, width = query_shape
        return batch, pooled_length(length, self.query_pool_size), width

    def get_config(self) -> dict[str, Any]:
        config = {
            "pool_size": self.pool_size,
            "query_pool_size": self.query_pool_size,
        }
        return {**super().get_config(), **config}
