"""The decoder-only Transformer."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers import AttentionOptions
from keras_attention.layers.cache import NAMES as CACHE_NAMES
from keras_attention.models.decoder import Decoder
from keras_attention.models.transformer_part import TransformerPart
from keras_attention.special_ids import PAD_ID


@keras.saving.register_keras_serializable(package="keras_attention")
class DecoderOnlyTransformer(TransformerPart, Decoder):
    """Stack of causal Transformer blocks over embeddings and positions.

    Radford et al. 2018: the Transformer decoder of Vaswani et al. 2017
    without cross-attention. (Theirs has `normalize_first=False`,
    `activation="gelu"`, a `LearnedPositionalEncoding` and `tie_embeddings`.)
    It is what `LanguageModel` trains; in `generate` the prompt is read in one
    pass, and each step reads the cached keys and values. In a beam search
    these stay where they were written: each beam looks its own history up in
    the table of ancestors.

    Args:
        vocabulary_size: number of ids, padding and specials included.
        units: width of the model, a multiple of `num_heads`.
        num_layers: number of blocks.
        num_heads: number of attention heads.
        feed_forward_units: hidden width of the feed-forward layers. Defaults
            to 4 * units.
        dropout: rate of all dropouts in training.
        activation: activation of the feed-forward layers.
        normalize_first: pre-norm blocks if True, post-norm if False.
        tie_embeddings: whether the logits reuse the embedding matrix.
        seed: integer seed of the dropouts.
        flash_attention: True keeps the self-attention from ever building its
            score matrix, False makes it always do so. None: the size decides.
        position: as that of `TransformerStack`, such as `RotaryEmbedding()`.
            Defaults to `PositionalEncoding()`.
        attention_options: an `AttentionOptions` for all blocks: a sliding
            window, grouped heads and more.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        target: integer tensor (batch, length), begins with BOS, 0 = padding.
        training: whether dropout is on.

    Returns:
        Logits (batch, length, vocabulary_size), float32: entry t predicts
        token t + 1.

    Masking:
        A position sees real positions up to itself. The Keras mask of the
        logits marks where a token follows: where `target` is neither padding
        nor EOS.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention import DecoderOnlyTransformer
    >>> decoder = DecoderOnlyTransformer(11, units=6, num_heads=2)
    >>> decoder(np.array([[1, 5, 4]])).shape
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

    def build(self, target_shape: tuple) -> None:
        if len(target_shape) != 2:
            raise validation.invalid(
                "target",
                "of shape (batch, length)",
                f"shape {tuple(target_shape)}",
            )
        self._build_ends(target_shape)
        self._build_stack(target_shape)

    def call(self, target: Any, training: bool | None = None) -> Any:
        x = self.stack.enter(self._embed(target))
        x = self.embedding_dropout(x, training=training)
        output = self.stack.run(
            x,
            inputs_mask=ops.not_equal(target, PAD_ID),
            use_causal_mask=True,
            training=training,
        )
        return self.logits(output)

    def compute_output_shape(self, target_shape: tuple) -> tuple:
        return (*target_shape, self.vocabulary_size)

    def compute_output_spec(
        self, target: Any, training: bool | None = None
    ) -> Any:
        shape = self.compute_output_shape(target.shape)
        return keras.KerasTensor(shape, dtype="float32")

    def start(
        self, prompt: Any, prompt_mask: Any, max_length: int, beams: int = 1
    ) -> dict[str, Any]:
        """Reads the prompts in one pass, and returns the state after them.

        Args:
            prompt: integer tensor (batch, prompt_length), padded at the
                beginning.
            prompt_mask: boolean (batch, prompt_length), True = a real id.
            max_length: integer, how many steps follow at most.
            beams: integer, how many sequences share a prompt.

        Returns:
            A dict: `blocks`, a list of caches, and `prompt_mask`.
        """
        batch, length = ops.shape(prompt)
        empty = self.stack.start(length + max_length, batch_size=batch)
        x = self.stack.enter(self._embed(prompt), -_padding(prompt_mask))
        _, blocks = self.stack.extend(x, empty, inputs_mask=prompt_mask)
        blocks = self.stack.repeat(blocks, beams)
        return {"blocks": blocks, "prompt_mask": prompt_mask}

    def step(
        self,
        tokens: Any,
        state: dict[str, Any],
        index: Any,
        ancestors: Any = None,
    ) -> tuple[Any, dict[str, Any], None]:
        """Runs a position of each beam, the `index`-th after the prompt.

        Args:
            tokens: integer tensor (batch, beams).
            state: what `start` or `step` returned.
            index: scalar integer tensor.
            ancestors: integer tensor (batch, beams, max_length): the slot
                that holds a beam's history at each position after the prompt.

        Returns:
            Logits (batch, beams, vocabulary_size), the new state, and None,
            since there is no source to be aligned with.
        """
        length = ops.shape(state["prompt_mask"])[1]
        x, blocks, _ = self.stack.step(
            self._embed(tokens),  # (B, K, U)
            state["blocks"],
            length + index,
            ancestors=_with_prompt(ancestors, length),
            padding=_padding(state["prompt_mask"]),
        )
        return self.logits(x), {**state, "blocks": blocks}, None

    def start_rows(
        self, prompt: Any, prompt_mask: Any, max_length: int
    ) -> dict[str, Any]:
        """Reads the prompts; then each row goes on at a position of its own.

        So a server may join rows that are at different steps: in every tensor
        of the state the batch comes first.

        Args:
            prompt: integer tensor (batch, prompt_length), padded at the
                beginning.
            prompt_mask: boolean (batch, prompt_length), True = a real id.
            max_length: integer, the number of positions to make room for.

        Returns:
            A dict: `position` (batch,), that of the next id, and of each
            block `key_0`, `value_0` and so on (batch, positions, heads,
            width).
        """
        padding = _padding(prompt_mask)
        empty = self.stack.start(max_length, batch_size=ops.shape(prompt)[0])
        x = self.stack.enter(self._embed(prompt), -padding)
        # Padding has positions below 0, which no position ever sees.
        _, blocks = self.stack.extend(x, empty, -padding, prompt_mask)
        return {
            "position": ops.shape(prompt)[1] - padding,
            **rows_of_blocks(blocks),
        }

    def step_rows(
        self, tokens: Any, state: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Runs one position of each row.

        Args:
            tokens: integer tensor (batch,).
            state: what `start_rows` or the last step returned.

        Returns:
            Logits (batch, vocabulary_size), and the new state.
        """
        position = state["position"]
        x = self.stack.enter(self._embed(tokens[:, None]), position)
        blocks = blocks_of_rows(state)
        x, blocks = self.stack.extend(x, blocks, position)  # (B, 1, U)
        state = {"position": position + 1, **rows_of_blocks(blocks)}
        return self.logits(x[:, 0]), state

    def reorder(self, state: dict[str, Any], parents: Any) -> dict[str, Any]:
        """Returns the state, since `step` finds histories by the ancestors."""
        return state


def rows_of_blocks(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns caches of one slot by name, each (batch, positions, ...)."""
    return {
        f"{name}_{number}": ops.swapaxes(block[name][:, :, 0], 0, 1)
        for number, block in enumerate(blocks)
        for name in CACHE_NAMES
    }


def blocks_of_rows(rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the caches that `rows_of_blocks` named."""
    count = sum(name.startswith("key_") for name in rows)
    return [
        {
            name: ops.swapaxes(rows[f"{name}_{number}"], 0, 1)[:, :, None]
            for name in CACHE_NAMES
        }
        for number in range(count)
    ]


def _padding(prompt_mask):
    """Returns how many positions at the beginning are padding, (batch,)."""
    padding = ops.logical_not(prompt_mask)
    return ops.sum(ops.cast(padding, "int32"), axis=1)


def _with_prompt(ancestors, length):
    """Returns the ancestors (B, K, length + T) at prompt and steps.

    All slots hold the same prompt, so any of them will do.
    """
    if ancestors is None or ancestors.shape[1] == 1:
        return None  # each slot holds its own history
    batch, slots = ops.shape(ancestors)[:2]
    prompt = ops.zeros((batch, slots, length), dtype=ancestors.dtype)
    return ops.concatenate([prompt, ancestors], axis=-1)
