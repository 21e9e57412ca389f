"""Scaled and two-dimensional rotary embeddings, against float64 formulas."""

import math

import keras
import layer_checks
import numpy as np
import pytest
from keras import ops

from keras_attention import LinearScaling
from keras_attention import MultiHeadAttention
from keras_attention import NTKScaling
from keras_attention import RotaryEmbedding
from keras_attention import RotaryEmbedding2D
from keras_attention import YaRNScaling

random = np.random.default_rng(3)
HEADS = random.normal(size=(2, 5, 3, 8)).astype("float32")
BASE = 10000.0


def yarn_rates(rotary_dim, base, factor, original_length, fast, slow):
    """`_compute_yarn_parameters` of Hugging Face Transformers, in float64."""

    def correction_dim(turns):
        ratio = original_length / (turns * 2 * math.pi)
        return rotary_dim * math.log(ratio) / (2 * math.log(base))

    low = max(math.floor(correction_dim(fast)), 0)
    high = min(math.ceil(correction_dim(slow)), rotary_dim - 1)
    high = high + 0.001 if low == high else high
    rates = []
    for pair in range(rotary_dim // 2):
        extrapolated = 1 / base ** (2 * pair / rotary_dim)
        ramp = min(max((pair - low) / (high - low), 0), 1)
        interpolated = extrapolated / factor
        rates.append(interpolated * ramp + extrapolated * (1 - ramp))
    return rates


def linear_rates(rotary_dim, base, factor):
    return [
        1 / base ** (2 * pair / rotary_dim) / factor
        for pair in range(rotary_dim // 2)
    ]


def ntk_rates(rotary_dim, base, factor):
    base = base * factor ** (rotary_dim / (rotary_dim - 2))
    return [
        1 / base ** (2 * pair / rotary_dim) for pair in range(rotary_dim // 2)
    ]


SCALINGS = {
    "linear": (LinearScaling(4.0), linear_rates, (4.0,), 1.0),
    "ntk": (NTKScaling(3.0), ntk_rates, (3.0,), 1.0),
    "yarn": (
        YaRNScaling(16.0, 4096),
        yarn_rates,
        (16.0, 4096, 32, 1),
        0.1 * math.log(16.0) + 1.0,
    ),
    "yarn, turns of one's own": (
        YaRNScaling(5.0, 700, fast=17.0, slow=3.0),
        yarn_rates,
        (5.0, 700, 17.0, 3.0),
        0.1 * math.log(5.0) + 1.0,
    ),
}


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("rotary_dim", [128, 6])
def test_rates_are_the_published_ones(name, rotary_dim):
    scaling, formula, arguments, magnitude = SCALINGS[name]
    expected = formula(rotary_dim, BASE, *arguments)
    found = scaling.rates(rotary_dim, BASE)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert math.isclose(scaling.magnitude, magnitude)


def test_a_single_pair_and_a_factor_of_one_are_not_scaled():
    np.testing.assert_array_equal(NTKScaling(7.0).rates(2, BASE), [1.0])
    for scaling in (LinearScaling(1.0), NTKScaling(1), YaRNScaling(1, 64)):
        found = scaling.rates(8, BASE)
        np.testing.assert_allclose(found, linear_rates(8, BASE, 1.0))
        assert scaling.magnitude == 1.0


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("interleaved", [True, False])
def test_scaled_rotation_is_a_product_of_complex_numbers(name, interleaved):
    scaling, formula, arguments, magnitude = SCALINGS[name]
    layer = RotaryEmbedding(
        rotary_dim=6, interleaved=interleaved, scaling=scaling
    )
    start = np.array([11, 3000])
    query, key = layer.rotate(HEADS, HEADS[:, :2], start, 7)
    position = (start[:, None] + np.arange(5))[..., None, None]
    angle = position * np.array(formula(6, BASE, *arguments))
    pairs = (0, 2, 4), (1, 3, 5)
    first, second = pairs if interleaved else ([0, 1, 2], [3, 4, 5])
    expected = np.array(HEADS, "float64")
    turned = HEADS[..., first] + 1j * HEADS[..., second]
    turned = magnitude * turned * np.exp(1j * angle)
    expected[..., first], expected[..., second] = turned.real, turned.imag
    np.testing.assert_allclose(query, expected, atol=2e-3)
    np.testing.assert_allclose(
        key, layer(HEADS[:, :2], start_index=7), atol=1e-6
    )
    # A product of a query and a key depends on their distance alone.
    products = []
    for moved in (0, 100):
        heads = layer.rotate(HEADS, HEADS[::-1], 11 + moved, 7 + moved)
        query, key = map(layer_checks.as_float64, heads)
        products.append(np.sum(query * key, axis=-1))
    np.testing.assert_allclose(*products, atol=2e-3)


def test_far_positions_are_distinct_in_bfloat16():
    layer = RotaryEmbedding(scaling=YaRNScaling(32.0, 4096), dtype="bfloat16")
    heads = ops.cast(np.ones((1, 1, 1, 64)), "bfloat16")
    near, far = (
        layer_checks.as_float64(layer(heads, start_index=start))
        for start in (99_999, 100_000)
    )
    assert np.abs(near - far).max() > 0.1
    rates = np.array(yarn_rates(64, BASE, 32.0, 4096, 32, 1))
    turned = np.exp(1j * 100_000 * rates) * (1 + 1j) * layer.magnitude
    expected = np.concatenate([turned.real, turned.imag])
    np.testing.assert_allclose(far[0, 0, 0], expected, atol=3e-2)


@pytest.mark.parametrize("scaling", [SCALINGS["ntk"][0], SCALINGS["yarn"][0]])
def test_scaling_goes_through_a_config(scaling):
    layer = MultiHeadAttention(
        2, 8, position=RotaryEmbedding(50.0, scaling=scaling)
    )
    again = MultiHeadAttention.from_config(layer.get_config())
    assert again.position.scaling == scaling
    assert again.position.get_config() == layer.position.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearScaling(0.5), "`factor` must be at least 1"),
        (lambda: NTKScaling(None), "`factor` must be a number above 0"),
        (lambda: YaRNScaling(2.0, 0), "`original_length` must be a positive"),
        (lambda: YaRNScaling(2.0, 9, 1, 2), "`fast` must be above slow=2.0"),
        (lambda: YaRNScaling(2.0, 9).rates(4, 1.0), "`max_wavelength` must be"),
        (lambda: RotaryEmbedding(scaling=2.0), "`scaling` must be an object"),
        (lambda: RotaryEmbedding2D(0), "`grid_width` must be a positive int"),
        (lambda: RotaryEmbedding2D(3)(HEADS[..., :6]), "a multiple of 4"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- images ------------------------------------------------------------------


def test_rotary_embedding_2d_is_a_good_layer():
    # All but the mask: heads have an axis more than it.
    case = layer_checks.Case(
        RotaryEmbedding2D,
        {"grid_width": 2, "max_wavelength": 50.0, "interleaved": True},
        {"inputs": HEADS},
        [HEADS.shape],
    )
    layer_checks.check_config_holds_every_argument(case)
    layer_checks.check_config_round_trip(case)
    layer_checks.check_symbolic_output(case)
    layer_checks.check_half_precision(case, layer_checks.HALF_TOLERANCE)


@pytest.mark.parametrize("interleaved", [True, False])
def test_half_turns_by_row_and_half_by_column(interleaved):
    layer = RotaryEmbedding2D(3, max_wavelength=50.0, interleaved=interleaved)
    found = layer(HEADS, start_index=4)
    rates = [1.0, 50.0 ** (-1 / 2)]  # 50^(-4i / 8)
    for patch in range(5):
        row, column = divmod(4 + patch, 3)
        angles = [row * rate for rate in rates]
        angles += [column * rate for rate in rates]
        for pair, angle in enumerate(angles):
            at = [2 * pair, 2 * pair + 1] if interleaved else [pair, pair + 4]
            x, y = np.moveaxis(HEADS[:, patch][..., at], -1, 0)
            x, y = (
                x * math.cos(angle) - y * math.sin(angle),
                x * math.sin(angle) + y * math.cos(angle),
            )
            expected = np.stack([x, y], axis=-1)
            got = ops.convert_to_numpy(found)[:, patch][..., at]
            np.testing.assert_allclose(got, expected, atol=1e-5)


def test_image_and_its_patches_in_a_row_attend_alike():
    random = np.random.default_rng(17)
    image = random.normal(size=(2, 5, 3, 7)).astype("float32")
    position = RotaryEmbedding2D(3)
    layer = MultiHeadAttention(
        2, 4, attention_axes=(1, 2), position=position, seed=1
    )
    whole = layer(image, image)
    flat = MultiHeadAttention(2, 4, position=position)
    rows = image.reshape(2, 15, 7)
    flat.build(rows.shape, rows.shape)
    flat.set_weights(layer.get_weights())
    np.testing.assert_allclose(
        flat(rows, rows), ops.reshape(whole, rows.shape), atol=1e-5
    )
    # Weights depend on how far apart patches are by row and by column: an
    # image of copies of one patch has the same weights after a shift.
    same = np.broadcast_to(image[:, :1, :1], image.shape)
    _, weights = layer(same, same, return_attention_scores=True)
    scores = np.log(ops.convert_to_numpy(weights))
    difference = scores[..., 1, 1, 2, 2] - scores[..., 1, 1, 3, 0]
    shifted = scores[..., 2, 1, 3, 2] - scores[..., 2, 1, 4, 0]
    np.testing.assert_allclose(difference, shifted, atol=1e-5)
    assert keras.ops.shape(weights) == (2, 2, 5, 3, 5, 3)
