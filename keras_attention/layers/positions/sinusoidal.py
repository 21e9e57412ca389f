"""Sinusoidal positional encoding."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.positions import positions_from
from keras_attention.functional.positions import sinusoid
from keras_attention.functional.precision import as_float


@keras.saving.register_keras_serializable(package="keras_attention")
class PositionalEncoding(keras.layers.Layer):
    """Adds to its input a wave for each position (Vaswani et al. 2017, 3.5).

        PE(p, 2i)     = sin(p / max_wavelength^(2i / width))
        PE(p, 2i + 1) = cos(p / max_wavelength^(2i / width))

    This is the paper's variant: sines and cosines interleaved, the first
    position is 0, and an odd width ends on a sine. It has no weights and no
    longest position; positions and angles are float32 whatever the dtype of
    the layer, so that positions do not collide in half precision.

    Args:
        max_wavelength: the base of the wavelengths.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, width).
        start_index: position of the first entry, an integer, a scalar tensor
            or one integer per row (batch,); for decoding step by step.

    Returns:
        inputs + PE, of the shape of `inputs` and the compute dtype.

    Masking:
        The Keras mask of the input is passed on; padded positions are
        encoded like any other.

    Raises:
        ValueError: if `max_wavelength` is not above 0, or if the input does
            not have three axes.

    Example:

    >>> import numpy as np
    >>> from keras_attention import PositionalEncoding
    >>> PositionalEncoding()(np.zeros((2, 3, 5))).shape
    TensorShape([2, 3, 5])
    """

    def __init__(self, max_wavelength: float = 10000.0, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.max_wavelength = validation.check_positive_number(
            "max_wavelength", max_wavelength
        )

    def build(self, inputs_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        self.built = True

    def call(self, inputs: Any, start_index: Any = 0) -> Any:
        position = positions_from(start_index, ops.shape(inputs)[1])
        encoding = sinusoid(position, inputs.shape[2], self.max_wavelength)
        inputs = as_float(inputs, self.compute_dtype)
        return inputs + ops.cast(encoding, inputs.dtype)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return inputs_shape

    def compute_output_spec(
        self, inputs: Any, start_index: Any = 0
    ) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config = {"max_wavelength": self.max_wavelength}
        return {**super().get_config(), **config}
