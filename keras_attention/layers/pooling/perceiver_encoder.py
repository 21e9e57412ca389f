"""A long input read by a few learned latents."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.dropout import child_seed
from keras_attention.layers.pooling.learned_queries import PoolingLayer
from keras_attention.layers.pooling.learned_queries import for_each_row
from keras_attention.layers.pooling.set_block import SetBlock
from keras_attention.layers.transformer.stack import TransformerStack


@keras.saving.register_keras_serializable(package="keras_attention")
class PerceiverEncoder(PoolingLayer, SetBlock):
    """Learned latents attend to a long input, then to each other.

        latents = MAB(latents, inputs)
        output  = TransformerStack(latents)

    (Perceiver, Jaegle et al. 2021, arXiv 2103.03206, with one cross-attention
    as in Perceiver IO, arXiv 2107.14795; MAB is a pre-norm
    `MultiHeadAttentionBlock`.) The cost is length times `num_latents`, plus
    that of a Transformer on `num_latents` positions, however long the input.
    The input has no order unless positions are added to it before, as by
    `PositionalEncoding`.

    Args:
        num_latents: number of latents, the length of the output.
        num_layers: number of self-attention blocks on the latents.
        num_heads: attention heads; they share `latent_width`.
        latent_width: width of the latents. Defaults to that of the input.
        feed_forward_units: width of the hidden feed-forward layers. Defaults
            to `latent_width`, as in the paper.
        dropout: share of attention weights, and of each sublayer's output,
            dropped in training.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, width).
        mask: boolean (batch, length), True = real. Defaults to the Keras mask
            of `inputs`.
        return_attention_scores: whether to return the weights of the latents
            on the input too.
        training: whether dropout is on.

    Returns:
        (batch, num_latents, latent_width) and, if asked for, the weights
        (batch, num_heads, num_latents, length).

    Masking:
        Padding gets no weight. The mask is used up: none is passed on.

    Raises:
        ValueError: if `latent_width` does not divide by `num_heads`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import PerceiverEncoder
    >>> encoder = PerceiverEncoder(num_latents=5, num_layers=1, num_heads=2)
    >>> encoder(np.ones((3, 101, 14))).shape
    TensorShape([3, 5, 14])
    """

    def __init__(
        self,
        num_latents: int,
        num_layers: int,
        num_heads: int,
        latent_width: int | None = None,
        feed_forward_units: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(num_heads, feed_forward_units, dropout, seed, **kwargs)
        self.num_latents = validation.check_positive_integer(
            "num_latents", num_latents
        )
        self.num_layers = validation.check_positive_integer(
            "num_layers", num_layers
        )
        self.latent_width = validation.check_positive_integer(
            "latent_width", latent_width, optional=True
        )

    def build(self, inputs_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        width = self.latent_width or inputs_shape[-1]
        shape = (inputs_shape[0], self.num_latents, width)
        self.latents = self.add_weight(
            name="latents",
            shape=shape[1:],
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        )
        self.reading_block = self._new_block(
            "reading", shape, inputs_shape, normalize_first=True
        )
        self.stack = TransformerStack(
            self.num_layers,
            self.num_heads,
            self.feed_forward_units or width,
            dropout=self.dropout,
            seed=child_seed(self.seed, "stack"),
            dtype=self.dtype_policy,
            name="stack",
        )
        self.stack.build(shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        latents = for_each_row(self.latents, inputs)  # (B, M, D)
        result = self.reading_block(
            latents,
            inputs,
            value_mask=mask,
            return_attention_scores=return_attention_scores,
            training=training,
        )
        if not return_attention_scores:
            return self.stack(result, training=training)
        latents, weights = result
        return self.stack(latents, training=training), weights

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        width = self.latent_width or inputs_shape[-1]
        return inputs_shape[0], self.num_latents, width

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        shape = self.compute_output_shape(inputs.shape)
        latents = keras.KerasTensor(shape, dtype=inputs.dtype)
        return self.reading_block.compute_output_spec(
            latents, inputs, return_attention_scores=return_attention_scores
        )

    def get_config(self) -> dict[str, Any]:
        config = {
            "num_latents": self.num_latents,
            "num_layers": self.num_layers,
            "latent_width": self.latent_width,
        }
        return {**super().get_config(), **config}
