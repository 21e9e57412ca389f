"""The Transformer encoder block."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.attention import cached_call
from keras_attention.layers.transformer.block import TransformerBlock
from keras_attention.layers.transformer.block import output_spec
from keras_attention.layers.transformer.block import without_padding


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerEncoderBlock(TransformerBlock):
    """Self-attention and a feed-forward layer (Vaswani et al. 2017, 3.1).

    Each of the two sits in a residual connection with dropout and layer
    normalisation, before it (`normalize_first`) or after the sum.

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
            self-attention. With True, scores cannot be returned.
        position: as that of `MultiHeadAttention`, for the self-attention.
        attention_options: an `AttentionOptions`, what else can be chosen.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, width).
        inputs_mask: boolean (batch, length), True = real. Defaults to the
            Keras mask of `inputs`.
        attention_mask: a further mask, as `MultiHeadAttention` takes it.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        use_causal_mask: whether a position sees only those up to itself.

    Returns:
        Tensor of the shape of `inputs` and, if asked for, the attention
        weights (batch, num_heads, length, length).

    Masking:
        Padded positions are not attended to and attend to nothing; they are
        read as zeros, whatever they hold. The Keras mask is passed on.

    Raises:
        ValueError: if the width does not divide by `num_heads`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import TransformerEncoderBlock
    >>> block = TransformerEncoderBlock(num_heads=2, feed_forward_units=11)
    >>> block(np.ones((3, 5, 14))).shape
    TensorShape([3, 5, 14])
    """

    def build(self, inputs_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        self.self_attention = self._build_attention(
            "self_attention",
            inputs_shape,
            inputs_shape,
            **self._options.of_self_attention(),
        )
        self._build_feed_forward(inputs_shape)
        self._build_residuals(("self_attention", "feed_forward"), inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        mask: Any = None,
    ) -> Any:
        # The name under which Keras passes the mask of a single input.
        inputs_mask = mask if inputs_mask is None else inputs_mask
        scores = None
        inputs, inputs_mask = without_padding(
            "inputs_mask", inputs, inputs_mask
        )

        def attend(x):
            nonlocal scores
            result = self.self_attention(
                x,
                x,
                query_mask=inputs_mask,
                value_mask=inputs_mask,
                attention_mask=attention_mask,
                return_attention_scores=return_attention_scores,
                training=training,
                use_causal_mask=use_causal_mask,
            )
            if return_attention_scores:
                result, scores = result
            return result

        x = self._residual(0, inputs, attend, training)
        x = self._residual(1, x, self._feed_forward, training)
        return (x, scores) if return_attention_scores else x

    def compute_output_spec(
        self,
        inputs: Any,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        mask: Any = None,
    ) -> Any:
        length = inputs.shape[1]
        return output_spec(self, inputs, return_attention_scores, length)

    def start(
        self, batch_size: Any, max_length: Any, slots: int = 1
    ) -> dict[str, Any]:
        """Returns what a step-by-step pass carries along.

        Args:
            batch_size: number of rows.
            max_length: the number of positions to make room for, an integer
                or a scalar tensor.
            slots: integer, how many sequences a row has (beams).

        Returns:
            A dict; see `cached_call.start` for its tensors.
        """
        return cached_call.start(
            self.self_attention, batch_size, max_length, slots
        )

    def extend(
        self,
        inputs: Any,
        state: dict[str, Any],
        index: Any,
        inputs_mask: Any = None,
    ) -> tuple:
        """Runs several positions of one slot, as `use_causal_mask` in a call.

        Args:
            inputs: (batch, length, width).
            state: what `start` or the last step returned, of one slot.
            index: position of the first, an integer, a scalar tensor or one
                per row (batch,).
            inputs_mask: boolean (batch, length), True = real.

        Returns:
            The output (batch, length, width), and the new state.
        """
        inputs, inputs_mask = without_padding(
            "inputs_mask", inputs, inputs_mask
        )

        def attend(x):
            nonlocal state
            output, state = cached_call.extend(
                self.self_attention, x, state, index, inputs_mask
            )
            return output

        x = self._residual(0, inputs, attend, training=False)
        x = self._residual(1, x, self._feed_forward, training=False)
        return x, state

    def step(
        self,
        inputs: Any,
        state: dict[str, Any],
        index: Any,
        ancestors: Any = None,
        padding: Any = None,
    ) -> tuple:
        """Runs one position of each slot, as `use_causal_mask` in a call.

        Args:
            inputs: (batch, slots, width).
            state: what `start` or the last `step` returned.
            index: scalar integer tensor, the position.
            ancestors: integer tensor (batch, slots, max_length): the slot
                that holds a slot's history at each position. None: its own.
            padding: integer tensor (batch,), how many positions at the
                beginning of each row are padding. None: none.

        Returns:
            The output (batch, slots, width), and the new state.
        """

        def attend(x):
            nonlocal state
            output, state = cached_call.step(
                self.self_attention, x, state, index, ancestors, padding
            )
            return output

        x = self._residual(0, inputs, attend, training=False)
        x = self._residual(1, x, self._feed_forward, training=False)
        return x, state
