"""The convolutional encoder."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers import PositionalEncoding
from keras_attention.models.encoder import Encoder


@keras.saving.register_keras_serializable(package="keras_attention")
class CNNEncoder(Encoder):
    """Convolutional encoder with gated linear units and residuals.

    Each layer is a convolution over neighbouring positions, a gated linear
    unit and a residual sum scaled by sqrt(1/2) (Gehring et al. 2017, arXiv
    1705.03122, 3.2 and 3.4); sinusoids give the positions.

    Args:
        vocabulary_size: number of source ids, padding and specials included.
        units: width of the model.
        num_layers: number of convolutions.
        kernel_size: odd number of positions that a convolution sees.
        dropout: share of values dropped between layers in training.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        source: integer tensor (batch, source_length), 0 = padding.
        training: whether dropout is on.

    Returns:
        Tensor (batch, source_length, units).

    Masking:
        Id 0 is padding: it reads as zeros, whatever the padded length, and
        sets the Keras mask of the output.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention import CNNEncoder
    >>> encoder = CNNEncoder(vocabulary_size=11, units=6)
    >>> encoder(np.array([[5, 4, 2], [6, 2, 0]])).shape
    TensorShape([2, 3, 6])
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int,
        num_layers: int = 3,
        kernel_size: int = 3,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(vocabulary_size, units, dropout, seed, **kwargs)
        self.units = self.output_width = self.embedding_dim
        self.num_layers = validation.check_positive_integer(
            "num_layers", num_layers
        )
        self.kernel_size = validation.check_positive_integer(
            "kernel_size", kernel_size
        )
        if kernel_size % 2 == 0:
            raise validation.invalid("kernel_size", "odd", kernel_size)

    def build(self, source_shape: tuple) -> None:
        super().build(source_shape)
        self.positions = PositionalEncoding(dtype=self.dtype_policy)
        self.convolutions, self.dropouts = [], []
        for number in range(self.num_layers):
            convolution = keras.layers.Conv1D(
                2 * self.units,
                self.kernel_size,
                padding="same",
                dtype=self.dtype_policy,
                name=f"convolution_{number}",
            )
            convolution.build((*source_shape, self.units))
            self.convolutions.append(convolution)
            self.dropouts.append(self._dropout_layer(f"dropout_{number}"))

    def call(self, source: Any, training: bool | None = None) -> Any:
        real = ops.expand_dims(self.compute_mask(source), -1)  # (B, S, 1)
        x = self.positions(self.embedding(source))
        x = self.embedding_dropout(x, training=training)
        layers = zip(self.convolutions, self.dropouts, strict=True)
        for convolution, dropout in layers:
            # Padding must read as the zeros that lie past the last position.
            values = convolution(ops.where(real, x, ops.zeros_like(x)))
            values, gate = ops.split(values, 2, axis=-1)  # (B, S, U) each
            values = dropout(values * ops.sigmoid(gate), training=training)
            x = (x + values) * 0.5**0.5
        return x

    def get_config(self) -> dict[str, Any]:
        config = {
            "units": self.units,
            "num_layers": self.num_layers,
            "kernel_size": self.kernel_size,
        }
        return {**super().get_config(), **config}
