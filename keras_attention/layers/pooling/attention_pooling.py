"""A sequence in one vector, or in a few: learned queries attend to it."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.attention.multi_head import MultiHeadAttention
from keras_attention.layers.initializers import cloned
from keras_attention.layers.pooling.learned_queries import PoolingLayer
from keras_attention.layers.pooling.learned_queries import for_each_row
from keras_attention.layers.pooling.learned_queries import head_width
from keras_attention.layers.pooling.learned_queries import pooled_shape
from keras_attention.layers.pooling.learned_queries import without_single
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.positions.position import with_objects


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionPooling(PoolingLayer):
    """Learned queries attend to a sequence, and replace it by what they find.

        output = MultiHead(queries, inputs, inputs)

    For classification, after an encoder, in a `keras.Sequential` too. With
    `attention=AdditiveAttention(units)` and one query it is the pooling of
    hierarchical attention networks (Yang et al. 2016, equations 5 to 7),

        weight[t] = softmax over t of v . tanh(W h[t] + b)

    where b is the projected query. `PoolingByMultiHeadAttention` has a
    residual and a feed-forward layer around the same.

    Args:
        num_queries: number of vectors that come out.
        num_heads: attention heads; they share the width of the input.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        attention: an attention layer that the queries attend with, in place
            of a `MultiHeadAttention` of `num_heads`. Heads and dropout are
            then its own.
        initializer: initialiser of the queries.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, width).
        mask: boolean (batch, length), True = real. Defaults to the Keras mask
            of `inputs`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        (batch, num_queries, width) and, if asked for, the weights (batch,
        num_heads, num_queries, length), without heads where `attention` has
        none. With one query its axis is left out of both: (batch, width) and
        (batch, num_heads, length). Another `attention` may give another
        width.

    Masking:
        Padding gets no weight. Where all of a row is padding, its output is
        the bias of the output. The mask is used up: none is passed on.

    Raises:
        ValueError: if the width does not divide by `num_heads`, or heads or
            dropout are given beside `attention`, or that is no layer.

    Example:

    >>> import numpy as np
    >>> from keras_attention import AttentionPooling
    >>> pooling = AttentionPooling(num_heads=2)
    >>> output, weights = pooling(
    ...     np.ones((3, 5, 14)), return_attention_scores=True
    ... )
    >>> output.shape, weights.shape
    (TensorShape([3, 14]), TensorShape([3, 2, 5]))
    """

    def __init__(
        self,
        num_queries: int = 1,
        num_heads: int = 1,
        dropout: float = 0.0,
        seed: int | None = None,
        *,
        attention: keras.layers.Layer | None = None,
        initializer: Any = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_queries = validation.check_positive_integer(
            "num_queries", num_queries
        )
        self.num_heads = validation.check_positive_integer(
            "num_heads", num_heads
        )
        self.dropout = validation.check_rate("dropout", dropout)
        self.seed = seed
        is_layer = isinstance(attention, keras.layers.Layer)
        if attention is not None and not is_layer:
            raise validation.invalid(
                "attention",
                "an attention layer, such as AdditiveAttention(7), or None",
                repr(attention),
            )
        if attention is not None and (num_heads, dropout, seed) != (1, 0, None):
            raise validation.invalid(
                "attention",
                "None where `num_heads`, `dropout` or `seed` are given",
                attention,
                "Give them to the attention itself.",
            )
        self.attention = attention
        self.initializer = keras.initializers.get(initializer)

    def build(self, inputs_shape: tuple) -> None:
        key_dim = head_width(inputs_shape, self.num_heads)
        width = inputs_shape[-1]
        self.queries = self.add_weight(
            name="queries",
            shape=(self.num_queries, width),
            initializer=cloned(self.initializer),
        )
        if self.attention is None:
            self._multi_head = MultiHeadAttention(
                self.num_heads,
                key_dim,
                dropout=self.dropout,
                seed=self.seed,
                dtype=self.dtype_policy,
                name="attention",
            )
        if not self._attend.built:
            self._attend.build(self._query_shape(inputs_shape), inputs_shape)
        self.built = True

    @property
    def _attend(self):
        return self._multi_head if self.attention is None else self.attention

    def _query_shape(self, inputs_shape):
        return (inputs_shape[0], self.num_queries, inputs_shape[-1])

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        result = self._attend(
            for_each_row(self.queries, inputs),
            inputs,
            value_mask=mask,
            return_attention_scores=return_attention_scores,
            training=training,
        )
        return without_single(result, self.num_queries)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        axes = inputs_shape[-1:]
        if self.attention is not None:
            query_shape = self._query_shape(inputs_shape)
            axes = self.attention.compute_output_shape(
                query_shape, inputs_shape
            )[2:]
        return pooled_shape(inputs_shape, self.num_queries, *axes)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        query = keras.KerasTensor(
            self._query_shape(inputs.shape), dtype=inputs.dtype
        )
        result = self._attend.compute_output_spec(
            query, inputs, return_attention_scores=return_attention_scores
        )
        return without_single(result, self.num_queries)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "num_queries": self.num_queries,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "seed": self.seed,
            "attention": shared_config(self.attention),
            "initializer": serialize(self.initializer),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionPooling":
        return super().from_config(with_objects(config, "attention"))
