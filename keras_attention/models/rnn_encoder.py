"""The recurrent encoder."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.recurrent.recurrence import CELLS
from keras_attention.models.both_ways import Bidirectional
from keras_attention.models.encoder import Encoder


@keras.saving.register_keras_serializable(package="keras_attention")
class RNNEncoder(Encoder):
    """Recurrent encoder: stacked, in one direction or both.

    The annotations of Bahdanau et al. 2015 (3.2): with `bidirectional`, each
    position holds the forward state next to the backward state.

    Args:
        vocabulary_size: number of source ids, padding and specials included.
        units: width of a recurrent layer, per direction.
        embedding_dim: width of the embeddings. Defaults to `units`.
        num_layers: number of recurrent layers.
        cell: "lstm", "gru" or "simple".
        bidirectional: whether each layer reads both ways.
        dropout: share of values dropped between layers in training.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        source: integer tensor (batch, source_length), 0 = padding.
        training: whether dropout is on.

    Returns:
        Tensor (batch, source_length, units), or 2 * units if bidirectional.

    Masking:
        Id 0 is padding: it changes no state, and it sets the Keras mask of
        the output.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention import RNNEncoder
    >>> encoder = RNNEncoder(vocabulary_size=11, units=7)
    >>> encoder(np.array([[5, 4, 2], [6, 2, 0]])).shape
    TensorShape([2, 3, 14])
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int,
        embedding_dim: int | None = None,
        num_layers: int = 1,
        cell: str = "lstm",
        bidirectional: bool = True,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        self.units = validation.check_positive_integer("units", units)
        embedding_dim = units if embedding_dim is None else embedding_dim
        super().__init__(
            vocabulary_size, embedding_dim, dropout, seed, **kwargs
        )
        self.num_layers = validation.check_positive_integer(
            "num_layers", num_layers
        )
        self.cell = validation.check_choice("cell", cell, tuple(CELLS))
        self.bidirectional = bidirectional
        self.output_width = units * 2 if bidirectional else units

    def build(self, source_shape: tuple) -> None:
        super().build(source_shape)
        width = self.embedding_dim
        self.recurrent_layers, self.dropouts = [], []
        for number in range(self.num_layers):
            layer = self._recurrent_layer(f"layer_{number}")
            layer.build((*source_shape, width))
            self.recurrent_layers.append(layer)
            self.dropouts.append(self._dropout_layer(f"dropout_{number}"))
            width = self.output_width

    def _recurrent_layer(self, name):
        if not self.bidirectional:
            return _masked(self._one_way(name))
        forward = self._one_way(f"forward_{name}", zero_output_for_mask=True)
        backward = self._one_way(
            f"backward_{name}", zero_output_for_mask=True, go_backwards=True
        )
        return Bidirectional(
            _masked(forward),
            _masked(backward),
            name=f"both_{name}",
            dtype=self.dtype_policy,
        )

    def _one_way(self, name, **options):
        options |= {"return_sequences": True, "dtype": self.dtype_policy}
        if self.cell == "simple":
            return keras.layers.SimpleRNN(self.units, name=name, **options)
        # cuDNN kernels cannot be compiled or exported (no CPU kernel).
        kinds = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
        return kinds[self.cell](
            self.units, use_cudnn=False, name=name, **options
        )

    def call(self, source: Any, training: bool | None = None) -> Any:
        mask = self.compute_mask(source)
        x = self.embedding_dropout(self.embedding(source), training=training)
        layers = zip(self.recurrent_layers, self.dropouts, strict=True)
        for layer, dropout in layers:
            x = layer(x, mask=mask, training=training)
            x = dropout(x, training=training)
        return x

    def get_config(self) -> dict[str, Any]:
        config = {
            "units": self.units,
            "embedding_dim": self.embedding_dim,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "bidirectional": self.bidirectional,
        }
        return {**super().get_config(), **config}


def _masked(layer):
    """Returns a recurrent layer that passes its mask on, as all do.

    From 3.16 on, Keras warns that the mask is lost where this is not set.
    """
    layer.supports_masking = True
    return layer
