"""The maths of positions: sinusoids to add, angles to rotate by.

Letters: B batch, T length, N heads, H width, R rotary_dim.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.functional.precision import at_least_float32
from keras_attention.masks.integers import as_integers

HEAD_AXES = "(batch, length, num_heads, width)"


def positions_from(start_index: Any, length: Any) -> Any:
    """Returns the positions start_index, start_index + 1, ... of a sequence.

    Args:
        start_index: position of the first entry, an integer, a scalar tensor
            or one integer per row (batch,).
        length: how many positions, an integer or a scalar tensor.

    Returns:
        int32 tensor (length,), or (batch, length) for one start per row.

    Raises:
        ValueError: if `start_index` does not hold integers, or has more axes
            than that of the rows.
    """
    start = ops.cast(as_integers("start_index", start_index), "int32")
    if len(start.shape) > 1:
        raise validation.invalid(
            "start_index",
            "an integer, or one per row (batch,)",
            f"shape {validation.shape_of(start)}",
        )
    if len(start.shape) == 1:
        start = start[:, None]  # (B, 1)
    return start + ops.arange(length, dtype="int32")  # (T,) or (B, T)


def sinusoid(position: Any, width: int, max_wavelength: float = 10000.0) -> Any:
    """Returns the sinusoids of Vaswani et al. 2017, 3.5.

        PE(p, 2i)     = sin(p / max_wavelength^(2i / width))
        PE(p, 2i + 1) = cos(p / max_wavelength^(2i / width))

    Args:
        position: integer tensor (...).
        width: how many numbers encode a position; an odd width ends on a
            sine.
        max_wavelength: the base of the wavelengths.

    Returns:
        float32 tensor (..., width).
    """
    column = np.arange(width)
    rates = _rates(column // 2 * 2 / width, max_wavelength)
    angle = angles(position, rates)
    return ops.where(column % 2 == 0, ops.sin(angle), ops.cos(angle))


def rotary_rates(rotary_dim: int, max_wavelength: float = 10000.0) -> Any:
    """Returns max_wavelength^(-2i / rotary_dim): angles by position.

    The theta_i of RoFormer (arXiv 2104.09864, 3.2.2).

    Args:
        rotary_dim: even number of features that are rotated.
        max_wavelength: the base of the wavelengths.

    Returns:
        float64 array (rotary_dim / 2,).
    """
    return _rates(np.arange(0, rotary_dim, 2) / rotary_dim, max_wavelength)


def angles(position: Any, rates: Any) -> Any:
    """Returns position * rate for each rate.

    Args:
        position: integer tensor (...).
        rates: float64 array (count,).

    Returns:
        float32 tensor (..., count).
    """
    # Rates in float64 until here: an error in them grows with the position.
    rates = np.asarray(rates).astype("float32")
    return ops.expand_dims(ops.cast(position, "float32"), -1) * rates


def rotate(
    heads: Any, angle: Any, interleaved: bool = False, magnitude: float = 1.0
) -> Any:
    """Rotates pairs of features by an angle (RoFormer, equation 34).

        (x, y) -> magnitude * (x cos a - y sin a, x sin a + y cos a)

    Computed in at least float32.

    Args:
        heads: float tensor (batch, length, num_heads, width).
        angle: float32 tensor (length, R / 2) or (batch, length, R / 2), where
            R <= width. Features from R on stay as they are.
        interleaved: whether a pair is (2i, 2i + 1), or (i, i + R / 2).
        magnitude: number that multiplies what is rotated.

    Returns:
        Tensor of the shape and dtype of `heads`.

    Raises:
        ValueError: if `heads` has not four axes.
    """
    validation.check_rank("heads", heads, 4, HEAD_AXES)
    angle = angle[..., None, :]  # ((B,) T, 1, R / 2)
    half = angle.shape[-1]
    rotated = at_least_float32(heads[..., : 2 * half])
    angle = ops.cast(angle, rotated.dtype)
    cosine, sine = magnitude * ops.cos(angle), magnitude * ops.sin(angle)
    if interleaved:
        x, y = rotated[..., 0::2], rotated[..., 1::2]  # (B, T, N, R / 2)
    else:
        x, y = rotated[..., :half], rotated[..., half:]
    parts = [x * cosine - y * sine, x * sine + y * cosine]
    if interleaved:
        joined = ops.stack(parts, axis=-1)  # (B, T, N, R / 2, 2)
        shape = (*ops.shape(heads)[:-1], 2 * half)
        rotated = ops.reshape(joined, shape)  # (B, T, N, R)
    else:
        rotated = ops.concatenate(parts, axis=-1)  # (B, T, N, R)
    rotated = ops.cast(rotated, heads.dtype)
    if 2 * half == heads.shape[-1]:
        return rotated
    return ops.concatenate([rotated, heads[..., 2 * half :]], axis=-1)


def _rates(exponent, max_wavelength):
    return np.float64(max_wavelength) ** -exponent
