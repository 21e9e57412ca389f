"""A set in a few vectors, with an attention block."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.pooling.learned_queries import PoolingLayer
from keras_attention.layers.pooling.learned_queries import for_each_row
from keras_attention.layers.pooling.learned_queries import head_width
from keras_attention.layers.pooling.learned_queries import pooled_shape
from keras_attention.layers.pooling.learned_queries import without_single
from keras_attention.layers.pooling.set_block import SetBlock
from keras_attention.layers.transformer.block import without_padding


@keras.saving.register_keras_serializable(package="keras_attention")
class PoolingByMultiHeadAttention(PoolingLayer, SetBlock):
    """Learned seeds attend to a set through an attention block.

        PMA(Z) = MAB(S, rFF(Z))

    (Set Transformer, Lee et al. 2019, arXiv 1810.00825, equation 11; MAB is
    `MultiHeadAttentionBlock`, S the seeds, rFF a feed-forward layer on each
    element.) The output does not depend on the order of the elements.
    `AttentionPooling` is the attention of it alone.

    Args:
        num_seeds: number of vectors that come out.
        num_heads: attention heads; they share the width of the input.
        feed_forward_units: width of the hidden feed-forward layers. Defaults
            to the width of the input.
        dropout: share of attention weights, and of each sublayer's output,
            dropped in training.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, width).
        mask: boolean (batch, length), True = real. Defaults to the Keras mask
            of `inputs`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        (batch, num_seeds, width) and, if asked for, the weights (batch,
        num_heads, num_seeds, length). With one seed its axis is left out of
        both.

    Masking:
        Padding gets no weight. The mask is used up: none is passed on.

    Raises:
        ValueError: if the width does not divide by `num_heads`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import PoolingByMultiHeadAttention
    >>> pooling = PoolingByMultiHeadAttention(num_seeds=2, num_heads=7)
    >>> pooling(np.ones((3, 5, 14))).shape
    TensorShape([3, 2, 14])
    """

    def __init__(
        self,
        num_seeds: int,
        num_heads: int,
        feed_forward_units: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(num_heads, feed_forward_units, dropout, seed, **kwargs)
        self.num_seeds = validation.check_positive_integer(
            "num_seeds", num_seeds
        )

    def build(self, inputs_shape: tuple) -> None:
        head_width(inputs_shape, self.num_heads)
        batch, _, width = inputs_shape
        seeds = (self.num_seeds, width)
        self.seeds = self.add_weight(
            name="seeds", shape=seeds, initializer="glorot_uniform"
        )
        units = self.feed_forward_units or width
        self.hidden_dense = keras.layers.Dense(
            units, "relu", dtype=self.dtype_policy, name="hidden"
        )
        self.hidden_dense.build(inputs_shape)
        self.element_dense = keras.layers.Dense(
            width, dtype=self.dtype_policy, name="element"
        )
        self.element_dense.build((*inputs_shape[:-1], units))
        self.block = self._new_block("block", (batch, *seeds), inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        inputs, mask = without_padding("mask", inputs, mask)
        elements = self.element_dense(self.hidden_dense(inputs))  # rFF(Z)
        result = self.block(
            for_each_row(self.seeds, inputs),
            elements,
            value_mask=mask,
            return_attention_scores=return_attention_scores,
            training=training,
        )
        return without_single(result, self.num_seeds)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return pooled_shape(inputs_shape, self.num_seeds, inputs_shape[-1])

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        shape = (inputs.shape[0], self.num_seeds, inputs.shape[-1])
        query = keras.KerasTensor(shape, dtype=inputs.dtype)
        result = self.block.compute_output_spec(
            query, inputs, return_attention_scores=return_attention_scores
        )
        return without_single(result, self.num_seeds)

    def get_config(self) -> dict[str, Any]:
        config = {"num_seeds": self.num_seeds}
        return {**super().get_config(), **config}
