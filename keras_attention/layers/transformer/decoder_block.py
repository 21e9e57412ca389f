"""The Transformer decoder block."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers.attention import cached_call
from keras_attention.layers.transformer.block import TransformerBlock
from keras_attention.layers.transformer.block import output_spec
from keras_attention.layers.transformer.block import without_padding


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerDecoderBlock(TransformerBlock):
    """Causal self-attention, cross-attention, feed-forward layer.

    The decoder block of Vaswani et al. 2017, 3.1. `call` runs a whole target
    sequence; `step` runs one position with cached keys and values and gives
    the same numbers.

    Args:
        num_heads: number of attention heads.
        feed_forward_units: width of the hidden feed-forward layer.
        key_dim: width of a head. Defaults to the input width / num_heads.
        dropout: share of attention weights, and of each sublayer's output,
            dropped in training.
        activation: activation of the feed-forward layer.
        normalize_first: pre-norm if True, post-norm as in the paper if False.
        layer_norm_epsilon: added to the variance in the normalisation.
        seed: integer seed of the dropouts.
        flash_attention: as that of `MultiHeadAttention`, for the
            self-attention; the cross-attention picks by size.
        position: as that of `MultiHeadAttention`, for the self-attention.
        attention_options: an `AttentionOptions`, for both attentions.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, target_length, width).
        encoded: float tensor (batch, source_length, encoded_width).
        inputs_mask: boolean (batch, target_length), True = real. Defaults to
            the Keras mask of `inputs`.
        encoded_mask: boolean (batch, source_length). Defaults to the Keras
            mask of `encoded`.
        return_attention_scores: whether to return the cross-attention
            weights too.
        training: whether dropout is on.

    Returns:
        Tensor of the shape of `inputs` and, if asked for, the weights of the
        cross-attention (batch, num_heads, target_length, source_length).

    Masking:
        A position sees real target positions up to itself, and real source
        positions; a padded one sees nothing and is read as zeros, whatever
        it holds. The Keras mask of `inputs` is passed on.

    Raises:
        ValueError: if the width does not divide by `num_heads`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import TransformerDecoderBlock
    >>> block = TransformerDecoderBlock(num_heads=2, feed_forward_units=11)
    >>> block(np.ones((3, 5, 14)), np.ones((3, 7, 13))).shape
    TensorShape([3, 5, 14])
    """

    def build(self, inputs_shape: tuple, encoded_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        validation.check_sequence_shape("encoded", encoded_shape)
        self.self_attention = self._build_attention(
            "self_attention",
            inputs_shape,
            inputs_shape,
            **self._options.of_self_attention(),
        )
        self.cross_attention = self._build_attention(
            "cross_attention",
            inputs_shape,
            encoded_shape,
            **self._options.of_cross_attention(),
        )
        self._build_feed_forward(inputs_shape)
        names = ("self_attention", "cross_attention", "feed_forward")
        self._build_residuals(names, inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        encoded: Any,
        inputs_mask: Any = None,
        encoded_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        inputs, inputs_mask = without_padding(
            "inputs_mask", inputs, inputs_mask
        )

        def attend_to_self(x):
            return self.self_attention(
                x,
                x,
                query_mask=inputs_mask,
                value_mask=inputs_mask,
                training=training,
                use_causal_mask=True,
            )

        scores = None

        def attend_to_source(x):
            nonlocal scores
            result = self.cross_attention(
                x,
                encoded,
                query_mask=inputs_mask,
                value_mask=encoded_mask,
                return_attention_scores=return_attention_scores,
                training=training,
            )
            if return_attention_scores:
                result, scores = result
            return result

        x = self._residual(0, inputs, attend_to_self, training)
        x = self._residual(1, x, attend_to_source, training)
        x = self._residual(2, x, self._feed_forward, training)
        return (x, scores) if return_attention_scores else x

    def compute_output_spec(
        self,
        inputs: Any,
        encoded: Any,
        inputs_mask: Any = None,
        encoded_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        length = encoded.shape[1]
        return output_spec(self, inputs, return_attention_scores, length)

    def start(
        self, encoded: Any, max_length: Any, slots: int = 1
    ) -> dict[str, Any]:
        """Returns what a step-by-step pass carries along.

        Args:
            encoded: (batch, source_length, encoded_width), finite at padding
                too.
            max_length: the number of positions to make room for, an integer
                or a scalar tensor.
            slots: integer, how many sequences share one source (beams).

        Returns:
            A dict, without an axis of slots where the source is all that
            counts; see `cached_call` for its tensors.
        """
        batch = ops.shape(encoded)[0]
        return {
            **cached_call.start(self.self_attention, batch, max_length, slots),
            **cached_call.start_source(self.cross_attention, encoded),
        }

    def step(
        self,
        inputs: Any,
        state: dict[str, Any],
        index: Any,
        source_mask: Any,
        ancestors: Any = None,
    ) -> tuple:
        """Runs one position of each slot.

        Args:
            inputs: (batch, slots, width).
            state: what `start` or the last `step` returned.
            index: scalar integer tensor, the position.
            source_mask: boolean (batch, source_length).
            ancestors: integer tensor (batch, slots, max_length): the slot
                that holds a slot's history at each position. None: its own.

        Returns:
            The output (batch, slots, width), the new state, and the weights
            of the cross-attention (batch, num_heads, slots, source_length).
        """
        weights = None

        def attend_to_self(x):
            nonlocal state
            output, state = cached_call.step(
                self.self_attention, x, state, index, ancestors
            )
            return output

        def attend_to_source(x):
            nonlocal weights
            output, weights = cached_call.step_source(
                self.cross_attention, x, state, source_mask
            )
            return output

        x = self._residual(0, inputs, attend_to_self, training=False)
        x = self._residual(1, x, attend_to_source, training=False)
        x = self._residual(2, x, self._feed_forward, training=False)
        return x, state, weights
