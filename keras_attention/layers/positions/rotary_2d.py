"""Rotary position embedding of images."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional import positions
from keras_attention.layers.positions.rotation import Rotation


@keras.saving.register_keras_serializable(package="keras_attention")
class RotaryEmbedding2D(Rotation):
    """Rotates half of the pairs by the row, half by the column of a patch.

    Axial rotary embedding (Heo et al. 2024, arXiv 2403.13298, 3.2): with H
    the width of a head, pair i < H / 4 turns by row * theta_i, and pair
    H / 4 + i by column * theta_i,

        theta_i = max_wavelength^(-4i / H).

    The code of the authors has the column first, so weights from there want
    the halves of each head exchanged.

    Patches are counted row by row, as `keras.layers.Reshape` flattens an image
    and as `MultiHeadAttention(attention_axes=(1, 2))` reads one of shape
    (batch, height, width, depth). So one number, the width of the grid, says
    where a patch is: images may be of any height, and patches may be drawn one
    by one with a cache.

    Args:
        grid_width: how many patches a row of the image has.
        max_wavelength: the base of the wavelengths. Images have few positions
            on a side, so the paper takes 100.
        interleaved: whether neighbours (2i, 2i + 1) are pairs, or the halves
            of a head (i, i + H / 2).
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, patches, num_heads, width).
        start_index: number of the first patch, an integer, a scalar tensor or
            one integer per row (batch,).

    Returns:
        Tensor of the shape of `inputs`. Angles are float32 whatever the
        dtype.

    Masking:
        Padded patches are rotated like any other. Padding at the beginning,
        as of prompts of several lengths, would move patches along the grid.

    Raises:
        ValueError: if the width of a head is no multiple of 4,
            or `inputs` has not four axes.

    Example:

    >>> import numpy as np
    >>> from keras_attention import MultiHeadAttention, RotaryEmbedding2D
    >>> layer = MultiHeadAttention(
    ...     2, 4, attention_axes=(1, 2), position=RotaryEmbedding2D(5)
    ... )
    >>> image = np.ones((2, 3, 5, 7))
    >>> layer(image, image).shape
    TensorShape([2, 3, 5, 7])
    """

    def __init__(
        self,
        grid_width: int,
        max_wavelength: float = 100.0,
        interleaved: bool = False,
        **kwargs,
    ):
        super().__init__(interleaved, **kwargs)
        self.grid_width = validation.check_positive_integer(
            "grid_width", grid_width
        )
        self.max_wavelength = validation.check_positive_number(
            "max_wavelength", max_wavelength
        )

    def angles(self, position: Any, width: int) -> Any:
        if width % 4:
            raise ValueError(
                "A head must have a width that is a multiple of 4: a pair "
                f"turns by row, another by column. Received: width={width}."
            )
        rates = positions.rotary_rates(width // 2, self.max_wavelength)
        row = ops.floor_divide(position, self.grid_width)
        column = ops.mod(position, self.grid_width)
        by_axis = [positions.angles(place, rates) for place in (row, column)]
        return ops.concatenate(by_axis, axis=-1)  # (..., H / 2)

    def get_config(self) -> dict[str, Any]:
        config = {
            "grid_width": self.grid_width,
            "max_wavelength": self.max_wavelength,
        }
        return {**super().get_config(), **config}
