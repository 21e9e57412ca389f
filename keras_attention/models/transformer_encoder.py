"""The Transformer encoder."""

from typing import Any

import keras

from keras_attention.layers import AttentionOptions
from keras_attention.models.encoder import Encoder
from keras_attention.models.transformer_part import TransformerPart


@keras.saving.register_keras_serializable(package="keras_attention")
class TransformerEncoder(TransformerPart, Encoder):
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
        self.output_width = self.units

    def build(self, source_shape: tuple) -> None:
        super().build(source_shape)
        self._build_stack(source_shape)

    def call(self, source: Any, training: bool | None = None) -> Any:
        mask = self.compute_mask(source)
        x = self.stack.enter(self._embed(source))
        x = self.embedding_dropout(x, training=training)
        return self.stack.run(x, inputs_mask=mask, training=training)
