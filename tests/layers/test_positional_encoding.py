import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import run_layer_checks

from keras_attention import PositionalEncoding
from keras_attention import RotaryEmbedding


def formula(position, width, max_wavelength=10000.0):
    """One row of the table, one number at a time, in float64."""
    row = []
    for column in range(width):
        i = column // 2
        angle = position / max_wavelength ** (2 * i / width)
        row.append(np.cos(angle) if column % 2 else np.sin(angle))
    return np.array(row)


def table(positions, width, max_wavelength=10000.0):
    return np.stack([formula(p, width, max_wavelength) for p in positions])


def encoding(width, start_index=0, length=1, dtype="float32", **arguments):
    """What the layer adds, (length, width) in float64."""
    layer = PositionalEncoding(dtype=dtype, **arguments)
    zeros = np.zeros((1, length, width), "float32")
    return as_float64(layer(zeros, start_index=start_index))[0]


def test_positional_encoding_passes_the_layer_checks(tmp_path):
    inputs = np.random.default_rng(3).normal(size=(2, 5, 7))
    run_layer_checks(
        PositionalEncoding,
        {"max_wavelength": 1000.0},
        {"inputs": inputs},
        (2, 5, 7),
        tmp_path=tmp_path,
    )


def test_positional_encoding_with_a_start_passes_the_layer_checks(tmp_path):
    generator = np.random.default_rng(3)
    run_layer_checks(
        PositionalEncoding,
        {},
        {"inputs": generator.normal(size=(2, 5, 7)), "start_index": 11},
        (2, 5, 7),
        tmp_path=tmp_path,
    )


# --- against the formula -----------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 3, 6, 7, 32])
@pytest.mark.parametrize("max_wavelength", [10000.0, 29])
def test_positional_encoding_agrees_with_the_formula(width, max_wavelength):
    found = encoding(width, length=13, max_wavelength=max_wavelength)
    wanted = table(range(13), width, max_wavelength)
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_positional_encoding_of_the_first_positions_by_hand():
    # Width 4: wavelengths 1 and 100.
    wanted = [
        [0.0, 1.0, 0.0, 1.0],
        [np.sin(1), np.cos(1), np.sin(0.01), np.cos(0.01)],
        [np.sin(2), np.cos(2), np.sin(0.02), np.cos(0.02)],
    ]
    np.testing.assert_allclose(encoding(4, length=3), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "rounding"),
    # At 5,000 a float32 angle has an error of 2^-12 at most.
    [("float32", 0.0), ("float16", 2.0**-11), ("bfloat16", 2.0**-8)],
)
def test_positional_encoding_at_position_5000(dtype, rounding):
    found = encoding(32, start_index=4999, length=3, dtype=dtype)
    wanted = table(range(4999, 5002), 32)
    np.testing.assert_allclose(found, wanted, atol=rounding + 2.0**-12)


def test_positional_encoding_is_added_to_the_input():
    inputs = np.random.default_rng(3).normal(size=(2, 5, 7))
    output = PositionalEncoding()(inputs)
    np.testing.assert_allclose(output, inputs + table(range(5), 7), atol=1e-6)


# --- start_index -------------------------------------------------------------


def start_of(kind, start):
    return {
        "integer": start,
        "numpy": np.int32(start),
        "tensor": ops.convert_to_tensor(np.int32(start)),
    }[kind]


@pytest.mark.parametrize("kind", ["integer", "numpy", "tensor"])
def test_start_index_is_a_slice_of_the_whole(kind):
    inputs = np.random.default_rng(3).normal(size=(2, 11, 7))
    layer = PositionalEncoding()
    whole = layer(inputs)
    part = layer(inputs[:, 4:7], start_index=start_of(kind, 4))
    np.testing.assert_allclose(part, whole[:, 4:7], atol=1e-6)


def test_start_index_per_row_is_a_slice_of_each_row():
    inputs = np.random.default_rng(3).normal(size=(3, 11, 7))
    layer = PositionalEncoding()
    whole = layer(inputs)
    starts = np.array([0, 5, 8], "int32")
    parts = np.stack([inputs[b, s : s + 3] for b, s in enumerate(starts)])
    found = layer(parts, start_index=starts)
    for row, start in enumerate(starts):
        np.testing.assert_allclose(
            found[row], whole[row, start : start + 3], atol=1e-6
        )


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_start_index_is_dynamic_in_a_graph(jit_compile):
    import tensorflow as tf

    layer = PositionalEncoding()

    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(inputs, start):
        return layer(inputs, start_index=start)

    zeros = tf.zeros((2, 3, 7))
    for starts in ([0, 5], [4, 700]):
        found = run(zeros, tf.constant(starts))
        for row, start in enumerate(starts):
            wanted = table(range(start, start + 3), 7)
            np.testing.assert_allclose(found[row], wanted, atol=1e-4)
    assert run.experimental_get_tracing_count() == 1


def test_start_index_as_an_input_of_a_functional_model():
    inputs = keras.Input((None, 7))
    start = keras.Input((), dtype="int32")
    model = keras.Model(
        [inputs, start], PositionalEncoding()(inputs, start_index=start)
    )
    found = model([np.zeros((2, 3, 7)), np.array([2, 9], "int32")])
    np.testing.assert_allclose(found[1], table(range(9, 12), 7), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(PositionalEncoding, (2, 3, 7)), (RotaryEmbedding, (2, 3, 5, 4))],
)
@pytest.mark.parametrize(
    ("start", "message"),
    [
        (2.5, "of an integer dtype"),
        (np.array([1.0, 2.0]), "of an integer dtype"),
        (np.array([[1], [2]]), "one per row .*shape .2, 1."),
    ],
    ids=["float", "floats", "matrix"],
)
def test_start_index_counts_in_integers(layer, shape, start, message):
    with pytest.raises(ValueError, match=f"`start_index` must be .*{message}"):
        layer()(np.zeros(shape), start_index=start)


# --- bugs of peers -----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_keras_hub_sine_position_encoding_collides_in_half_precision(dtype):
    """There positions are counted in the compute dtype: 2049 is 2048."""
    found = encoding(32, start_index=2040, length=17, dtype=dtype)
    steps = np.abs(np.diff(found, axis=0)).max(axis=1)
    wanted = np.abs(np.diff(table(range(2040, 2057), 32), axis=0)).max(axis=1)
    np.testing.assert_allclose(steps, wanted, atol=1e-2)
    assert steps.min() > 0.5


@pytest.mark.parametrize("width", [1, 2])
def test_opennmt_tf_sinusoid_of_depth_two_divides_by_zero(width):
    found = encoding(width, length=5)
    wanted = [[np.sin(p), np.cos(p)][:width] for p in range(5)]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


# --- bad input ---------------------------------------------------------------


@pytest.mark.parametrize("wavelength", [0, -1.0, "10", None, True])
def test_bad_max_wavelength_is_an_error(wavelength):
    message = "`max_wavelength` must be a number above 0. Received: max_wave"
    with pytest.raises(ValueError, match=message):
        PositionalEncoding(max_wavelength=wavelength)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5, 7)], ids=["2d", "4d"])
def test_bad_rank_is_an_error(shape):
    message = r"`inputs` must have shape \(batch, length, width\). Received: "
    with pytest.raises(ValueError, match=message):
        PositionalEncoding()(np.zeros(shape))
