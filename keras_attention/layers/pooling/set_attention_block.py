"""Self-attention on a set."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.pooling.set_block import SetBlock
from keras_attention.layers.transformer.block import output_spec


@keras.saving.register_keras_serializable(package="keras_attention")
class SetAttentionBlock(SetBlock):
    """Each element of a set attends to all of them.

        SAB(X) = MAB(X, X)

    (Set Transformer, Lee et al. 2019, arXiv 1810.00825, equation 8; MAB is
    `MultiHeadAttentionBlock`.) Without positions: the elements of the output
    are permuted as those of the input are. Its cost is quadratic in their
    number; that of `InducedSetAttentionBlock` is linear.

    Args:
        num_heads: attention heads; they share the width of the input.
        feed_forward_units: width of the hidden feed-forward layer. Defaults
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
        Tensor of the shape of `inputs` and, if asked for, the weights (batch,
        num_heads, length, length).

    Masking:
        Padding is not attended to. The Keras mask is passed on.

    Raises:
        ValueError: if the width does not divide by `num_heads`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import SetAttentionBlock
    >>> SetAttentionBlock(num_heads=2)(np.ones((3, 5, 14))).shape
    TensorShape([3, 5, 14])
    """

    def build(self, inputs_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        self.block = self._new_block("block", inputs_shape, inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        return self.block(
            inputs,
            inputs,
            query_mask=mask,
            value_mask=mask,
            return_attention_scores=return_attention_scores,
            training=training,
        )

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return inputs_shape

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        length = inputs.shape[1]
        return output_spec(self, inputs, return_attention_scores, length)
