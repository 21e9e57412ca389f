"""The Transformer encoder."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers import AttentionOptions
from keras_attention.layers import PositionalEncoding
from keras_attention.layers import TransformerStack
from keras_attention.layers.transformer.options import joined_options
from keras_attention.layers.transformer.options import objects_of
from keras_attention.models.encoder import Encoder


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerEncoder(Encoder):
    """Stack of Transformer encoder blocks over embeddings and positions.

    Vaswani et al. 2017, 3.1 and 3.4. With `normalize_first` a last
    normalisation closes the stack.

    Args:
        vocabulary_size: number of source ids, padding and specials included.
        units: width of the model, a multiple of `num_heads`.
        num_layers: number of blocks.
        num_heads: number of attention heads.
        feed_forward_units: hidden width of the feed-forward layers. Defaults
            to 4 * units.
        dropout: rate of all dropouts in training.
        activation: activation of the feed-forward layers.
        normalize_first: pre-norm blocks if True, post-norm if False.
        seed: integer seed of the dropouts.
        flash_attention: as that of `MultiHeadAttention`, for the
            self-attention of all blocks.
        position: as that of `TransformerStack`. Defaults to
            `PositionalEncoding()`.
        attention_options: an `AttentionOptions` for all blocks.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        source: integer tensor (batch, source_length), 0 = padding.
        training: whether dropout is on.

    Returns:
        Tensor (batch, source_length, units).

    Masking:
        Id 0 is padding: nobody attends to it, and it sets the Keras mask of
        the output.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention import TransformerEncoder
    >>> encoder = TransformerEncoder(vocabulary_size=11, units=6, num_heads=2)
    >>> encoder(np.array([[5, 4, 2], [6, 2, 0]])).shape
    TensorShape([2, 3, 6])
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
        seed: int | None = None,
        flash_attention: bool | None = None,
        *,
        position: Any = None,
        attention_options: AttentionOptions | None = None,
        **kwargs,
    ):
        super().__init__(vocabulary_size, units, dropout, seed, **kwargs)
        self.units = self.output_width = self.embedding_dim
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
        self.flash_attention = flash_attention
        self.position = position
        self.attention_options = attention_options
        self._options = joined_options(attention_options, flash_attention, None)

    def build(self, source_shape: tuple) -> None:
        super().build(source_shape)
        shape = (*source_shape, self.units)
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
            position=position,
            attention_options=self._options,
            dtype=self.dtype_policy,
            name="stack",
        )
        self.stack.build(shape)

    @property
    def blocks(self) -> list[keras.layers.Layer]:
        """The blocks of the stack; weight files have them under this name."""
        return self.stack.blocks

    @property
    def normalization(self) -> keras.layers.LayerNormalization | None:
        """The last normalisation, or None; in weight files as `blocks`."""
        return self.stack.normalization

    def call(self, source: Any, training: bool | None = None) -> Any:
        mask = self.compute_mask(source)
        x = self.embedding(source) * self.units**0.5
        x = self.embedding_dropout(self.stack.enter(x), training=training)
        return self.stack.run(x, inputs_mask=mask, training=training)

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
    def from_config(cls, config: dict[str, Any]) -> "TransformerEncoder":
        return super().from_config(objects_of(config))
