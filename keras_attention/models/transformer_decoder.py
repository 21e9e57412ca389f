"""The Transformer decoder."""

from typing import Any

import keras
from keras import ops

from keras_attention.decoding import PAD
from keras_attention.functional import padding
from keras_attention.layers import AttentionOptions
from keras_attention.models.decoder import Decoder
from keras_attention.models.decoder import source_mask_of
from keras_attention.models.transformer_part import TransformerPart


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerDecoder(TransformerPart, Decoder):
    """Stack of Transformer decoder blocks over embeddings and positions.

    Vaswani et al. 2017, 3.1 and 3.4. With `normalize_first` a last
    normalisation closes the stack. In a beam search the cached keys and
    values stay where they were written and each beam looks its own history up
    in the table of ancestors, since moving them costs more than the step
    itself; `reorder_cache` moves them instead, with the same result.

    Args:
        vocabulary_size: number of target ids, padding and specials included.
        units: width of the model, a multiple of `num_heads`.
        num_layers: number of blocks.
        num_heads: number of attention heads.
        feed_forward_units: hidden width of the feed-forward layers. Defaults
            to 4 * units.
        dropout: rate of all dropouts in training.
        activation: activation of the feed-forward layers.
        normalize_first: pre-norm blocks if True, post-norm if False.
        tie_embeddings: whether the logits reuse the embedding matrix.
        reorder_cache: whether a beam search moves the caches.
        seed: integer seed of the dropouts.
        flash_attention: as that of `MultiHeadAttention`, for the
            self-attention of all blocks.
        position: as that of `TransformerStack`. Defaults to
            `PositionalEncoding()`.
        attention_options: an `AttentionOptions` for all blocks.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        target: integer tensor (batch, target_length), begins with BOS, 0 =
            padding.
        encoded: float tensor (batch, source_length, width).
        encoded_mask: boolean (batch, source_length), True = real. Defaults
            to the Keras mask of `encoded`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        Logits (batch, target_length, vocabulary_size), float32: entry t is
        the prediction of token t + 1. If asked for, also the weights of the
        last block's cross-attention, averaged over its heads, float32
        (batch, target_length, source_length).

    Masking:
        A position sees real target positions up to itself, and real source
        positions. The Keras mask of the logits marks where a token follows:
        where target is neither padding nor EOS.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention import TransformerDecoder
    >>> decoder = TransformerDecoder(vocabulary_size=11, units=6, num_heads=2)
    >>> decoder(np.array([[1, 5, 4]]), np.ones((1, 7, 13))).shape
    TensorShape([1, 3, 11])
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int,
        num_layers: int = 2,
        num_heads: int = 4,
        feed_forward_units: int | None = None,
        dropout: float = 0.0,
        activation: Any = "relu",
        normalize_first: bool = True,
        tie_embeddings: bool = False,
        reorder_cache: bool = False,
        seed: int | None = None,
        flash_attention: bool | None = None,
        *,
        position: Any = None,
        attention_options: AttentionOptions | None = None,
        **kwargs,
    ):
        super().__init__(
            vocabulary_size,
            embedding_dim=units,
            output_width=units,
            dropout=dropout,
            tie_embeddings=tie_embeddings,
            seed=seed,
            **kwargs,
        )
        self._set_stack_arguments(
            units=self.embedding_dim,
            num_layers=num_layers,
            num_heads=num_heads,
            feed_forward_units=feed_forward_units,
            activation=activation,
            normalize_first=normalize_first,
            position=position,
            attention_options=attention_options,
            flash_attention=flash_attention,
        )
        self.reorder_cache = reorder_cache

    def build(self, target_shape: tuple, encoded_shape: tuple) -> None:
        super().build(target_shape, encoded_shape)
        self._build_stack(target_shape, encoded_shape)

    def call(
        self,
        target: Any,
        encoded: Any,
        encoded_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        encoded_mask = source_mask_of(encoded, encoded_mask)
        x = self.stack.enter(self._embed(target))
        x = self.embedding_dropout(x, training=training)
        output = self.stack.run(
            x,
            encoded,
            inputs_mask=ops.not_equal(target, PAD),
            encoded_mask=encoded_mask,
            return_attention_scores=return_attention_scores,
            training=training,
        )
        if not return_attention_scores:
            return self.logits(output)
        output, weights = output
        return self.logits(output), _alignment(weights)

    def start(
        self, encoded: Any, source_mask: Any, max_length: int, beams: int = 1
    ) -> dict[str, Any]:
        """Returns the state before the first step; see `models.Decoder`."""
        mask = source_mask_of(encoded, source_mask)
        encoded = padding.keep(encoded, mask)
        blocks = self.stack.start(max_length, beams, encoded=encoded)
        return {"blocks": blocks, "source_mask": mask}

    def step(
        self,
        tokens: Any,
        state: dict[str, Any],
        index: Any,
        ancestors: Any = None,
    ) -> tuple[Any, dict[str, Any], Any]:
        """Runs position `index` of each beam.

        Args:
            tokens: integer tensor (batch, beams).
            state: what `start`, `step` or `reorder` returned.
            index: scalar integer tensor.
            ancestors: integer tensor (batch, beams, max_length): the slot
                that holds a beam's history at each position. Not used with
                `reorder_cache`, where that is the beam's own slot.

        Returns:
            Logits (batch, beams, vocabulary_size), the new state, and the
            alignment (batch, beams, source_length).
        """
        if self.reorder_cache or tokens.shape[1] == 1:
            ancestors = None  # each slot holds its own history
        x, blocks, weights = self.stack.step(
            self._embed(tokens),  # (B, K, U)
            state["blocks"],
            index,
            state["source_mask"],
            ancestors,
        )
        logits = self.logits(x)
        return logits, {**state, "blocks": blocks}, _alignment(weights)

    def reorder(self, state: dict[str, Any], parents: Any) -> dict[str, Any]:
        """Returns the state after each beam k took the place of a parent."""
        if not self.reorder_cache:
            return state  # `step` finds each history through the ancestors
        blocks = self.stack.reorder(state["blocks"], parents)
        return {**state, "blocks": blocks}

    def get_config(self) -> dict[str, Any]:
        config = {"reorder_cache": self.reorder_cache}
        return {**super().get_config(), **config}


def _alignment(weights):
    """Averages heads: (B, N, T, S) -> float32 (B, T, S)."""
    return ops.mean(ops.cast(weights, "float32"), axis=1)
