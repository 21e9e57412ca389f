"""What all encoders share: from source ids to one vector per position.

Encoders differ in how positions exchange information and in nothing else, so
any of them can stand before any decoder.
"""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers import Dropout
from keras_attention.layers.dropout import child_seed
from keras_attention.layers.frozen import StaysFrozen


class Encoder(StaysFrozen, keras.layers.Layer):
    """Base of the encoders: embedding, dropout and the mask of the source.

    Args:
        vocabulary_size: number of source ids, padding and specials included.
        embedding_dim: width of the embeddings.
        dropout: share of values dropped between layers in training.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.vocabulary_size = validation.check_positive_integer(
            "vocabulary_size", vocabulary_size
        )
        self.embedding_dim = validation.check_positive_integer(
            "embedding_dim", embedding_dim
        )
        self.dropout = validation.check_rate("dropout", dropout)
        self.seed = seed

    def build(self, source_shape: tuple) -> None:
        if len(source_shape) != 2:
            raise ValueError(
                "`source` must have shape (batch, source_length). "
                f"Received: source.shape={tuple(source_shape)}."
            )
        self.embedding = keras.layers.Embedding(
            self.vocabulary_size,
            self.embedding_dim,
            dtype=self.dtype_policy,
            name="embedding",
        )
        self.embedding.build(source_shape)
        self.embedding_dropout = self._dropout_layer("embedding_dropout")
        self.built = True

    def compute_mask(self, source: Any, previous_mask: Any = None) -> Any:
        return ops.not_equal(source, 0)  # (B, S)

    def compute_output_shape(self, source_shape: tuple) -> tuple:
        return (*source_shape, self.output_width)

    def compute_output_spec(
        self, source: Any, training: bool | None = None
    ) -> Any:
        shape = self.compute_output_shape(source.shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def _dropout_layer(self, name):
        return Dropout(
            self.dropout,
            seed=child_seed(self.seed, name),
            dtype=self.dtype_policy,
            name=name,
        )

    def get_config(self) -> dict[str, Any]:
        config = {
            "vocabulary_size": self.vocabulary_size,
            "dropout": self.dropout,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}
