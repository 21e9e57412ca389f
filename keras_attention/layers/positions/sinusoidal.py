"""Sinusoidal positional encoding."""

import keras
import numpy as np
from keras import ops

from keras_attention import validation


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
        inputs + PE, of the shape and dtype of `inputs`.

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

    def __init__(self, max_wavelength=10000.0, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.max_wavelength = validation.check_positive_number(
            "max_wavelength", max_wavelength
        )

    def build(self, inputs_shape):
        if len(inputs_shape) != 3:
            raise ValueError(
                "`inputs` must have shape (batch, length, width). "
                f"Received: inputs.shape={tuple(inputs_shape)}."
            )
        self.built = True

    def call(self, inputs, start_index=0):
        length, width = ops.shape(inputs)[1], inputs.shape[2]
        start = ops.cast(start_index, "int32")
        if len(start.shape) == 1:
            start = start[:, None]  # (B, 1)
        position = start + ops.arange(length, dtype="int32")  # (T,) or (B, T)
        encoding = sinusoid(position, width, self.max_wavelength)
        return inputs + ops.cast(encoding, inputs.dtype)

    def compute_output_spec(self, inputs, start_index=0):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self):
        config = {"max_wavelength": self.max_wavelength}
        return {**super().get_config(), **config}


def sinusoid(position, width, max_wavelength=10000.0):
    """Returns the encoding of each position, float32, shape (..., width)."""
    column = np.arange(width)
    # Rates in float64: a rounding error in them grows with the position.
    rate = max_wavelength ** (-(column // 2 * 2) / width)
    rate = ops.convert_to_tensor(rate.astype("float32"))  # (width,)
    angle = ops.cast(position, "float32")[..., None] * rate
    return ops.where(column % 2 == 0, ops.sin(angle), ops.cos(angle))
