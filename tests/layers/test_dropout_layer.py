import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import run_layer_checks

from keras_attention.layers import Dropout
from keras_attention.layers.dropout import child_seed

SHAPE = (2, 3, 5, 7)


def words_of(layer):
    """What the seed generator will hand out next, as integers."""
    return [int(word) for word in np.array(layer.seed_generator.state)]


def test_dropout_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        Dropout,
        {"rate": 0.3, "seed": 5},
        {"inputs": np.random.default_rng(3).normal(size=(2, 5, 7))},
        (2, 5, 7),
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_what_the_reference_keeps(rate):
    inputs = np.random.default_rng(3).normal(size=SHAPE)
    layer = Dropout(rate, seed=11)
    for _ in range(2):  # the second call draws other bits
        keep = numpy_reference.keep_bits(rate, words_of(layer), SHAPE)
        output = layer(inputs, training=True)
        np.testing.assert_allclose(
            output, np.where(keep, inputs / (1 - rate), 0), rtol=1e-6
        )


def test_dropout_calls_draw_anew():
    layer = Dropout(0.5, seed=11)
    first, second = (layer(np.ones(SHAPE), training=True) for _ in range(2))
    agree = np.mean(as_float64(first) == as_float64(second))
    assert 0.3 < agree < 0.7


def test_dropout_drops_its_rate():
    output = as_float64(
        Dropout(0.3, seed=1)(np.ones((101, 103)), training=True)
    )
    # Six standard deviations of the mean of 10,403 draws.
    assert abs(np.mean(output == 0) - 0.3) < 6 * (0.21 / output.size) ** 0.5
    np.testing.assert_allclose(output[output != 0], 1 / 0.7, rtol=1e-6)


@pytest.mark.parametrize("training", [False, None])
def test_dropout_is_the_identity_outside_training(training):
    inputs = np.random.default_rng(3).normal(size=SHAPE).astype("float32")
    output = Dropout(0.5)(inputs, training=training)
    np.testing.assert_array_equal(output, inputs)


def test_dropout_of_rate_zero_is_the_identity():
    layer = Dropout(0.0)
    output = layer(np.ones(SHAPE), training=True)
    np.testing.assert_array_equal(output, np.ones(SHAPE))
    assert layer.variables == []


def test_dropout_of_rate_one_drops_all():
    output = Dropout(1.0)(np.ones(SHAPE), training=True)
    np.testing.assert_array_equal(output, np.zeros(SHAPE))


def test_dropout_noise_shape_is_shared_along_its_ones():
    layer = Dropout(0.5, noise_shape=(None, 1, 5, 1), seed=11)
    keep = numpy_reference.keep_bits(0.5, words_of(layer), (2, 1, 5, 1))
    output = layer(np.ones(SHAPE), training=True)
    np.testing.assert_allclose(output, np.broadcast_to(2.0 * keep, SHAPE))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dropout_drops_the_same_in_half_precision(dtype):
    layers = [Dropout(0.5, seed=11, dtype=d) for d in (dtype, "float32")]
    half, single = (layer(np.ones(SHAPE), training=True) for layer in layers)
    assert keras.backend.standardize_dtype(half.dtype) == dtype
    np.testing.assert_array_equal(as_float64(half), as_float64(single))


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_dropout_drops_the_same_eager_and_in_a_graph(jit_compile):
    import tensorflow as tf

    eager = Dropout(0.5, seed=11)(np.ones(SHAPE), training=True)
    layer = Dropout(0.5, seed=11)
    layer.build(SHAPE)
    run = tf.function(
        lambda x: layer(x, training=True), jit_compile=jit_compile
    )
    np.testing.assert_array_equal(run(tf.ones(SHAPE)), eager)


def test_dropout_is_in_the_gradient_too():
    layer = Dropout(0.5, seed=11)
    keep = numpy_reference.keep_bits(0.5, words_of(layer), (2, 3, 5))
    model = keras.Sequential([keras.Input((3, 5)), layer])
    weights = keras.Variable(np.ones((2, 3, 5)))
    state = [ops.convert_to_tensor(np.array(layer.seed_generator.state))]

    def loss(x):
        outputs, _ = model.stateless_call([], state, x, training=True)
        return ops.sum(outputs)

    if keras.backend.backend() == "jax":
        import jax

        gradient = jax.grad(loss)(weights.value)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            result = loss(weights.value)
        gradient = tape.gradient(result, weights.value)
    np.testing.assert_allclose(gradient, 2.0 * keep)


def test_child_seeds_differ_by_name_and_by_parent():
    seeds = {child_seed(s, name) for s in (0, 1) for name in ("a", "b")}
    assert len(seeds) == 4
    assert child_seed(7, "a") == child_seed(7, "a")
    assert child_seed(None, "a") is None


def test_dropout_rate_out_of_range_is_an_error():
    with pytest.raises(ValueError, match="between 0 and 1. Received: rate=1.5"):
        Dropout(1.5)
