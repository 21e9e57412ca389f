"""Angles and rotations against complex numbers, in float64."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.functional import positions

BATCH, LENGTH, HEADS, WIDTH = 2, 5, 3, 14
each_pairing = pytest.mark.parametrize("interleaved", [True, False])


def heads(dtype="float32"):
    values = np.random.default_rng(7).normal(size=(BATCH, LENGTH, HEADS, WIDTH))
    return values.astype(dtype)


def rotated(x, position, rotary_dim, interleaved, max_wavelength):
    """Equation 34 as products of complex numbers."""
    half = rotary_dim // 2
    rate = max_wavelength ** (-2.0 * np.arange(half) / rotary_dim)
    turn = np.exp(1j * position[..., None] * rate)[..., None, :]
    if interleaved:
        first, second = np.s_[..., 0:rotary_dim:2], np.s_[..., 1:rotary_dim:2]
    else:
        first, second = np.s_[..., :half], np.s_[..., half:rotary_dim]
    result = np.array(x, "float64")
    product = (result[first] + 1j * result[second]) * turn
    result[first], result[second] = product.real, product.imag
    return result


@each_pairing
@pytest.mark.parametrize("rotary_dim", [WIDTH, 6])
@pytest.mark.parametrize("start", [0, 11, np.array([3, 4000])], ids=str)
def test_rotation_is_a_product_of_complex_numbers(
    start, rotary_dim, interleaved
):
    position = positions.positions_from(start, LENGTH)
    angle = positions.angles(
        position, positions.rotary_rates(rotary_dim, 500.0)
    )
    found = positions.rotate(heads(), angle, interleaved)
    wanted = rotated(
        heads(),
        np.array(np.reshape(start, (-1, 1)) + np.arange(LENGTH), "float64"),
        rotary_dim,
        interleaved,
        500.0,
    )
    # The rounding of an angle grows with the position.
    tolerance = 1e-6 + 5e-7 * np.max(start)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


def test_rotation_wants_heads():
    angle = np.zeros((LENGTH, WIDTH // 2), "float32")
    with pytest.raises(ValueError, match=r"`heads` must have.*\(2, 5, 14\)"):
        positions.rotate(heads()[:, :, 0], angle)


def test_angles_are_float32_where_heads_are_half():
    position = positions.positions_from(5000, LENGTH)
    angle = positions.angles(position, positions.rotary_rates(WIDTH))
    assert keras.backend.standardize_dtype(angle.dtype) == "float32"
    half = ops.cast(heads(), "bfloat16")
    found = positions.rotate(half, angle)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    exact = ops.convert_to_numpy(ops.cast(half, "float32"))
    wanted = rotated(exact, 5000.0 + np.arange(LENGTH), WIDTH, False, 10000.0)
    np.testing.assert_allclose(ops.cast(found, "float32"), wanted, atol=2e-2)


@each_pairing
def test_products_depend_on_the_distance_alone(interleaved):
    """The property that RoFormer is derived from (3.2.1)."""
    query, key = heads()[:1, :1], heads()[1:, 1:2]

    def product(m, n):
        turned = [
            positions.rotate(
                x,
                positions.angles([p], positions.rotary_rates(WIDTH)),
                interleaved,
            )
            for x, p in ((query, m), (key, n))
        ]
        return np.sum(np.multiply(*turned), axis=-1)

    for far in (1, 13, 101):
        np.testing.assert_allclose(
            product(7 + far, 3 + far), product(7, 3), atol=2e-4
        )
    assert np.abs(product(7, 3) - product(7, 4)).max() > 0.1


def test_sinusoid_of_the_first_positions():
    found = positions.sinusoid(positions.positions_from(0, 2), 3, 10000.0)
    second = [np.sin(1), np.cos(1), np.sin(10000 ** (-2 / 3))]
    np.testing.assert_allclose(found, [[0, 1, 0], second], atol=1e-6)


def test_positions_start_where_each_row_is():
    np.testing.assert_array_equal(positions.positions_from(3, 4), [3, 4, 5, 6])
    found = positions.positions_from(np.array([3, 7]), 2)
    np.testing.assert_array_equal(found, [[3, 4], [7, 8]])
