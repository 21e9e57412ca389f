"""Sinusoidal positional encoding of images."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.positions import positions_from
from keras_attention.functional.positions import sinusoid
from keras_attention.functional.precision import as_float


@keras.saving.register_keras_serializable(package="keras_attention")
class PositionalEncoding2D(keras.layers.Layer):
    """Adds to each patch of an image the waves of its row and its column.

    The first half of the depth has the sinusoids of the row, the second those
    of the column (Image Transformer, Parmar et al. 2018, arXiv 1802.05751,
    3.1), each as `PositionalEncoding` has them:

        PE(p, 2i) = sin(p / max_wavelength^(2i / half)),  half = depth / 2
        PE(p, 2i + 1) = cos(p / max_wavelength^(2i / half))

    There are no weights and no largest image. The result goes to
    `MultiHeadAttention(attention_axes=(1, 2))`, or is flattened.

    Args:
        max_wavelength: the base of the wavelengths.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, height, width, depth).

    Returns:
        inputs + PE, of the shape of `inputs` and the compute dtype. PE is
        float32 inside.

    Masking:
        The Keras mask of the input is passed on; padded patches are encoded
        like any other.

    Raises:
        ValueError: if `max_wavelength` is not above 0, if the input does not
            have four axes, or if its depth is odd.

    Example:

    >>> import numpy as np
    >>> from keras_attention import PositionalEncoding2D
    >>> PositionalEncoding2D()(np.zeros((2, 3, 5, 14))).shape
    TensorShape([2, 3, 5, 14])
    """

    def __init__(self, max_wavelength: float = 10000.0, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.max_wavelength = validation.check_positive_number(
            "max_wavelength", max_wavelength
        )

    def build(self, inputs_shape: tuple) -> None:
        if len(inputs_shape) != 4 or inputs_shape[-1] % 2:
            raise ValueError(
                "`inputs` must have shape (batch, height, width, depth), with "
                "an even depth. Received: inputs.shape="
                f"{tuple(inputs_shape)}."
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        _, height, width, depth = ops.shape(inputs)
        rows, columns = (
            sinusoid(positions_from(0, size), depth // 2, self.max_wavelength)
            for size in (height, width)
        )
        shape = (height, width, depth // 2)
        encoding = [
            ops.broadcast_to(rows[:, None], shape),
            ops.broadcast_to(columns[None], shape),
        ]
        encoding = ops.concatenate(encoding, axis=-1)  # (height, width, depth)
        inputs = as_float(inputs, self.compute_dtype)
        return inputs + ops.cast(encoding, inputs.dtype)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return inputs_shape

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config = {"max_wavelength": self.max_wavelength}
        return {**super().get_config(), **config}
