"""Attention on a large set, through a few learned points."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.pooling.learned_queries import for_each_row
from keras_attention.layers.pooling.set_block import SetBlock


@keras.saving.register_keras_serializable(package="keras_attention")
class InducedSetAttentionBlock(SetBlock):
    """Elements of a set attend to each other through learned points.

        ISAB(X) = MAB(X, H)   with   H = MAB(I, X)

    (Set Transformer, Lee et al. 2019, arXiv 1810.00825, equations 9 and 10;
    MAB is `MultiHeadAttentionBlock`, I the inducing points.) The cost is
    length times `num_inducing_points`, not length squared. The elements of
    the output are permuted as those of the input are.

    Args:
        num_inducing_points: number of learned points.
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
        training: whether dropout is on.

    Returns:
        Tensor of the shape of `inputs`.

    Masking:
        The inducing points do not attend to padding, so no element depends
        on it. The Keras mask is passed on.

    Raises:
        ValueError: if the width does not divide by `num_heads`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import InducedSetAttentionBlock
    >>> block = InducedSetAttentionBlock(num_inducing_points=3, num_heads=2)
    >>> block(np.ones((3, 5, 14))).shape
    TensorShape([3, 5, 14])
    """

    def __init__(
        self,
        num_inducing_points: int,
        num_heads: int,
        feed_forward_units: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(num_heads, feed_forward_units, dropout, seed, **kwargs)
        self.num_inducing_points = validation.check_positive_integer(
            "num_inducing_points", num_inducing_points
        )

    def build(self, inputs_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        batch, _, width = inputs_shape
        points = (self.num_inducing_points, width)
        self.inducing_points = self.add_weight(
            name="inducing_points", shape=points, initializer="glorot_uniform"
        )
        shape = (batch, *points)
        self.inducing_block = self._new_block("inducing", shape, inputs_shape)
        self.block = self._new_block("block", inputs_shape, shape)
        self.built = True

    def call(
        self, inputs: Any, mask: Any = None, training: bool | None = None
    ) -> Any:
        points = for_each_row(self.inducing_points, inputs)  # (B, M, D)
        points = self.inducing_block(
            points, inputs, value_mask=mask, training=training
        )
        return self.block(inputs, points, query_mask=mask, training=training)

    def compute_output_spec(
        self, inputs: Any, mask: Any = None, training: bool | None = None
    ) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return inputs_shape

    def get_config(self) -> dict[str, Any]:
        config = {"num_inducing_points": self.num_inducing_points}
        return {**super().get_config(), **config}
