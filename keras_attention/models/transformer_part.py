"""What encoder, decoder and language model have around a Transformer stack."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers import AttentionOptions
from keras_attention.layers import PositionalEncoding
from keras_attention.layers import TransformerStack
from keras_attention.layers.positions.position import checked_any_position
from keras_attention.layers.transformer.options import joined_options
from keras_attention.layers.transformer.options import objects_of


class TransformerPart:
    """Mixin of a part of a model: its stack, and the arguments of the stack.

    It stands before the other base, an encoder or a decoder, which has the
    dropout, the seed and the embeddings.
    """

    def _set_stack_arguments(
        self,
        *,
        units: int,
        num_layers: int,
        num_heads: int,
        feed_forward_units: int | None,
        activation: Any,
        normalize_first: bool,
        position: Any,
        attention_options: AttentionOptions | None,
        flash_attention: bool | None = None,
    ) -> None:
        self.units = units
        self.num_layers = validation.check_positive_integer(
            "num_layers", num_layers
        )
        self.num_heads = validation.check_divisor(
            "num_heads", num_heads, "units", units
        )
        self.feed_forward_units = validation.check_positive_integer(
            "feed_forward_units", feed_forward_units, optional=True
        )
        self.activation = keras.activations.get(activation)
        self.normalize_first = normalize_first
        self.position = checked_any_position(position)
        self.attention_options = attention_options
        self.flash_attention = flash_attention
        self._options = joined_options(attention_options, flash_attention, None)

    def _build_stack(
        self, ids_shape: tuple, encoded_shape: tuple | None = None
    ) -> None:
        """Makes the stack, with cross-attention where something is encoded."""
        position = self.position
        if position is None:
            position = PositionalEncoding(dtype=self.dtype_policy)
        self.stack = TransformerStack(
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            feed_forward_units=self.feed_forward_units,
            dropout=self.dropout,
            activation=self.activation,
            normalize_first=self.normalize_first,
            seed=self.seed,
            cross_attention=encoded_shape is not None,
            position=position,
            attention_options=self._options,
            dtype=self.dtype_policy,
            name="stack",
        )
        self.stack.build((*ids_shape, self.units), encoded_shape)

    @property
    def blocks(self) -> list[keras.layers.Layer]:
        """The blocks of the stack; weight files have them under this name."""
        return self.stack.blocks

    @property
    def normalization(self) -> keras.layers.LayerNormalization | None:
        """The last normalisation, or None; in weight files as `blocks`."""
        return self.stack.normalization

    @property
    def max_positions(self) -> int | None:
        """How many positions it tells apart; None for any number."""
        inside = getattr(self.attention_options, "position", None)
        positions = self.position, inside
        found = [getattr(p, "max_positions", None) for p in positions]
        return min((most for most in found if most is not None), default=None)

    def _embed(self, tokens: Any) -> Any:
        """Returns embeddings times sqrt(units): Vaswani et al. 2017, 3.4."""
        return self.embedding(tokens) * self.units**0.5

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "units": self.units,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "feed_forward_units": self.feed_forward_units,
            "activation": keras.activations.serialize(self.activation),
            "normalize_first": self.normalize_first,
            "flash_attention": self.flash_attention,
            "position": serialize(self.position),
            "attention_options": serialize(self.attention_options),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TransformerPart":
        return super().from_config(objects_of(config))
