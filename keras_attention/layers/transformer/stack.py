"""A stack of Transformer blocks."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers.dropout import child_seed
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.mask_carrier import MaskCarrier
from keras_attention.layers.positions.position import checked_any_position
from keras_attention.layers.positions.position import is_added
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.transformer.block import output_spec
from keras_attention.layers.transformer.decoder_block import (
    TransformerDecoderBlock,
)
from keras_attention.layers.transformer.encoder_block import (
    TransformerEncoderBlock,
)
from keras_attention.layers.transformer.options import AttentionOptions
from keras_attention.layers.transformer.options import joined_options
from keras_attention.layers.transformer.options import objects_of


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerStack(MaskCarrier, StaysFrozen, keras.layers.Layer):
    """Blocks one after the other, their positions, and a last normalisation.

    Vaswani et al. 2017, 3.1. What encoder, decoder and language model share:
    without cross-attention the blocks are `TransformerEncoderBlock`, which
    `use_causal_mask` makes those of a language model; with it they are
    `TransformerDecoderBlock`. Pre-norm blocks leave a sum that nobody has
    normalised, so a last normalisation closes their stack.

    Args:
        num_layers: number of blocks.
        num_heads: number of attention heads.
        feed_forward_units: hidden width of the feed-forward layers. Defaults
            to 4 times the input width.
        key_dim: width of a head. Defaults to the input width / num_heads.
        dropout: rate of the dropouts of the blocks.
        activation: activation of the feed-forward layers.
        normalize_first: pre-norm blocks if True, post-norm if False.
        layer_norm_epsilon: added to the variance in the normalisations.
        seed: integer seed of the dropouts.
        cross_attention: whether the blocks attend to `encoded`.
        position: `PositionalEncoding()` or `LearnedPositionalEncoding(...)`,
            added to the inputs; or what acts in the self-attention of all
            blocks, such as `RotaryEmbedding()`. None: no positions.
        attention_options: an `AttentionOptions` for all blocks.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, width).
        encoded: float tensor (batch, source_length, encoded_width), with
            cross-attention only.
        inputs_mask: boolean (batch, length), True = real. Defaults to the
            Keras mask of `inputs`.
        encoded_mask: boolean (batch, source_length). Defaults to the Keras
            mask of `encoded`.
        attention_mask: a further mask of the self-attention, as
            `MultiHeadAttention` takes it; without cross-attention only.
        return_attention_scores: whether to return the weights of the last
            block too: of its cross-attention, where it has one.
        training: whether dropout is on.
        use_causal_mask: whether a position sees only those up to itself;
            with cross-attention that is so in any case.

    Returns:
        Tensor of the shape of `inputs` and, if asked for, the weights (batch,
        num_heads, length, length or source_length).

    Masking:
        That of the blocks. The Keras mask of `inputs` is passed on.

    Raises:
        ValueError: if an argument is out of range, or `encoded` is given
            without cross-attention or missing with it.

    Example:

    >>> import numpy as np
    >>> from keras_attention import RotaryEmbedding, TransformerStack
    >>> stack = TransformerStack(2, num_heads=3, position=RotaryEmbedding())
    >>> stack(np.ones((2, 5, 12)), use_causal_mask=True).shape
    TensorShape([2, 5, 12])
    """

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        feed_forward_units: int | None = None,
        key_dim: int | None = None,
        dropout: float = 0.0,
        activation: Any = "relu",
        normalize_first: bool = True,
        layer_norm_epsilon: float = 1e-6,
        seed: int | None = None,
        *,
        cross_attention: bool = False,
        position: Any = None,
        attention_options: AttentionOptions | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_layers = validation.check_positive_integer(
            "num_layers", num_layers
        )
        self.num_heads = validation.check_positive_integer(
            "num_heads", num_heads
        )
        self.feed_forward_units = validation.check_positive_integer(
            "feed_forward_units", feed_forward_units, optional=True
        )
        self.key_dim = key_dim
        self.dropout = validation.check_rate("dropout", dropout)
        self.activation = keras.activations.get(activation)
        self.normalize_first = normalize_first
        self.layer_norm_epsilon = layer_norm_epsilon
        self.seed = seed
        self.cross_attention = cross_attention
        self.position = checked_any_position(position)
        self.attention_options = attention_options
        joined_options(attention_options, None, self._position_inside)

    @property
    def _position_inside(self):
        return None if is_added(self.position) else self.position

    def build(
        self, inputs_shape: tuple, encoded_shape: tuple | None = None
    ) -> None:
        self._check_encoded(encoded_shape)
        shapes = [inputs_shape]
        block_class = TransformerEncoderBlock
        if self.cross_attention:
            shapes.append(encoded_shape)
            block_class = TransformerDecoderBlock
        if is_added(self.position) and not self.position.built:
            self.position.build(inputs_shape)
        self.blocks = []
        for number in range(self.num_layers):
            block = block_class(
                num_heads=self.num_heads,
                feed_forward_units=(
                    self.feed_forward_units or 4 * inputs_shape[-1]
                ),
                key_dim=self.key_dim,
                dropout=self.dropout,
                activation=self.activation,
                normalize_first=self.normalize_first,
                layer_norm_epsilon=self.layer_norm_epsilon,
                seed=child_seed(self.seed, f"block_{number}"),
                position=self._position_inside,
                attention_options=self.attention_options,
                dtype=self.dtype_policy,
                name=f"block_{number}",
            )
            block.build(*shapes)
            self.blocks.append(block)
        self.normalization = None
        if self.normalize_first:
            self.normalization = keras.layers.LayerNormalization(
                epsilon=self.layer_norm_epsilon,
                dtype=self.dtype_policy,
                name="normalization",
            )
            self.normalization.build(inputs_shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        encoded: Any = None,
        inputs_mask: Any = None,
        encoded_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        mask: Any = None,
    ) -> Any:
        self._check_encoded(_shape_of(encoded))
        # The name under which Keras passes the mask of a single input.
        inputs_mask = mask if inputs_mask is None else inputs_mask
        if self.cross_attention and attention_mask is not None:
            raise validation.invalid(
                "attention_mask",
                "None with cross_attention=True",
                type(attention_mask).__name__,
            )
        options = {"inputs_mask": inputs_mask, "training": training}
        if self.cross_attention:
            options["encoded_mask"] = encoded_mask
        else:
            options["attention_mask"] = attention_mask
            options["use_causal_mask"] = use_causal_mask
        return self.run(
            self.enter(inputs), encoded, return_attention_scores, **options
        )

    def enter(self, inputs: Any, start_index: Any = 0) -> Any:
        """Returns the inputs with positions, where positions are added.

        Args:
            inputs: (batch, length, width).
            start_index: position of the first, as `PositionalEncoding` has
                it.
        """
        if not is_added(self.position):
            return inputs
        return self.position(inputs, start_index=start_index)

    def run(
        self,
        inputs: Any,
        encoded: Any = None,
        return_attention_scores: bool = False,
        **options,
    ) -> Any:
        """Runs the blocks on what `enter` returned.

        So a caller may have a dropout of its own between the two. Arguments
        are those of the call, as far as the blocks take them.
        """
        sources = () if encoded is None else (encoded,)
        x = inputs
        for block in self.blocks[:-1]:
            x = block(x, *sources, **options)
        if not return_attention_scores:
            return self._normalize(self.blocks[-1](x, *sources, **options))
        x, weights = self.blocks[-1](
            x, *sources, return_attention_scores=True, **options
        )
        return self._normalize(x), weights

    def compute_output_shape(
        self, inputs_shape: tuple, encoded_shape: tuple | None = None
    ) -> tuple:
        return inputs_shape

    def compute_output_spec(
        self,
        inputs: Any,
        encoded: Any = None,
        inputs_mask: Any = None,
        encoded_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        mask: Any = None,
    ) -> Any:
        self._check_encoded(_shape_of(encoded))
        source = inputs if encoded is None else encoded
        length = source.shape[1]
        return output_spec(self, inputs, return_attention_scores, length)

    def start(
        self,
        max_length: Any,
        slots: int = 1,
        *,
        encoded: Any = None,
        batch_size: Any = None,
    ) -> list[dict[str, Any]]:
        """Returns the state before the first step, one dict per block.

        Args:
            max_length: the number of positions to make room for, an integer
                or a scalar tensor.
            slots: integer, sequences of a row (beams).
            encoded: (batch, source_length, encoded_width), finite at padding
                too; with cross-attention.
            batch_size: number of rows, without cross-attention.

        Raises:
            ValueError: if it is the other one of the last two that is given.
        """
        name, first, other = "batch_size", batch_size, encoded
        if self.cross_attention:
            name, first, other = "encoded", encoded, batch_size
        if first is None or other is not None:
            others = "batch_size" if self.cross_attention else "encoded"
            raise validation.invalid(
                name,
                f"given, and `{others}` not, with "
                f"cross_attention={self.cross_attention}",
                None if first is None else f"..., {others}=...",
            )
        return [block.start(first, max_length, slots) for block in self.blocks]

    def extend(
        self,
        inputs: Any,
        state: list[dict[str, Any]],
        index: Any = 0,
        inputs_mask: Any = None,
    ) -> tuple:
        """Runs several positions at once, and keeps their keys and values.

        Without cross-attention only.

        Args:
            inputs: (batch, length, width), what `enter` returned.
            state: what `start` or the last step returned, of one slot.
            index: position of the first, an integer, a scalar tensor or one
                per row (batch,).
            inputs_mask: boolean (batch, length), True = real.

        Returns:
            The output (batch, length, width), and the new state.

        Raises:
            ValueError: if the blocks attend to `encoded`.
        """
        if self.cross_attention:
            raise validation.invalid(
                "cross_attention",
                "False to run several positions at once",
                True,
                "Run them one by one, with `step`.",
            )
        x, new_state = inputs, []
        for block, block_state in zip(self.blocks, state, strict=True):
            x, block_state = block.extend(x, block_state, index, inputs_mask)
            new_state.append(block_state)
        return self._normalize(x), new_state

    def step(
        self,
        inputs: Any,
        state: list[dict[str, Any]],
        index: Any,
        source_mask: Any = None,
        ancestors: Any = None,
        padding: Any = None,
    ) -> tuple:
        """Runs one position of each slot.

        Args:
            inputs: (batch, slots, width), without positions.
            state: what `start` or the last `step` returned.
            index: scalar integer tensor, the position.
            source_mask: boolean (batch, source_length), with cross-attention.
            ancestors: integer tensor (batch, slots, max_length): the slot
                that holds a slot's history at each position. None: its own.
            padding: integer tensor (batch,), how many positions at the
                beginning of each row are padding: they are not counted where
                positions are added. Without cross-attention only.

        Returns:
            The output (batch, slots, width), the new state, and the weights
            of the last cross-attention (batch, num_heads, slots,
            source_length), or None.
        """
        if self.cross_attention:
            options = {"source_mask": source_mask}
        else:
            options = {"padding": padding}
        # All slots are at one position, so each is a sequence of length 1.
        shape, position = ops.shape(inputs), index
        if padding is not None:
            position = ops.repeat(index - padding, shape[1])  # (B * Q,)
        rows = ops.reshape(inputs, (-1, 1, shape[-1]))  # (B * Q, 1, U)
        x = ops.reshape(self.enter(rows, position), shape)  # (B, Q, U)
        new_state, weights = [], None
        for block, block_state in zip(self.blocks, state, strict=True):
            x, block_state, *weights = block.step(
                x, block_state, index, ancestors=ancestors, **options
            )
            new_state.append(block_state)
        return self._normalize(x), new_state, weights[0] if weights else None

    def reorder(
        self, state: list[dict[str, Any]], parents: Any
    ) -> list[dict[str, Any]]:
        """Returns the state whose slot k holds what parents[:, k] held."""
        return [
            block.reorder(block_state, parents)
            for block, block_state in zip(self.blocks, state, strict=True)
        ]

    def repeat(
        self, state: list[dict[str, Any]], slots: int
    ) -> list[dict[str, Any]]:
        """Returns the state of one slot as that of `slots` equal ones."""
        return [
            block.repeat(block_state, slots)
            for block, block_state in zip(self.blocks, state, strict=True)
        ]

    def _check_encoded(self, shape):
        """Raises a ValueError unless `encoded` is there where it is read."""
        if self.cross_attention != (shape is not None):
            wanted = "given" if self.cross_attention else "None"
            raise validation.invalid(
                "encoded",
                f"{wanted} with cross_attention={self.cross_attention}",
                shape if shape is None else f"a tensor of shape {shape}",
            )

    def _normalize(self, x):
        return x if self.normalization is None else self.normalization(x)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "feed_forward_units": self.feed_forward_units,
            "key_dim": self.key_dim,
            "dropout": self.dropout,
            "activation": keras.activations.serialize(self.activation),
            "normalize_first": self.normalize_first,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "seed": self.seed,
            "cross_attention": self.cross_attention,
            "position": shared_config(self.position),
            "attention_options": serialize(self.attention_options),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TransformerStack":
        return super().from_config(objects_of(config))


def _shape_of(encoded):
    return None if encoded is None else tuple(encoded.shape)
