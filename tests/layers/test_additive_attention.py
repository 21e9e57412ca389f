import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import loss_gradients
from layer_checks import run_layer_checks

from keras_attention import AdditiveAttention
from keras_attention import masks

BATCH, QUERIES, KEYS, UNITS = 2, 3, 7, 11
QUERY_WIDTH, VALUE_WIDTH, KEY_WIDTH = 5, 13, 17
# The finest dtype the backend computes in by default.
PRECISE = "float32" if keras.backend.backend() == "jax" else "float64"
WEIGHTS = {
    "query_kernel": (QUERY_WIDTH, UNITS),
    "key_kernel": (KEY_WIDTH, UNITS),
    "vector": (UNITS,),
}
NORMALIZE_WEIGHTS = {"scale": (), "bias": (UNITS,)}

both_kinds = pytest.mark.parametrize(
    "normalize", [False, True], ids=["plain", "normalize"]
)


def inputs(dtype="float32"):
    generator = np.random.default_rng(11)
    shapes = {
        "query": (BATCH, QUERIES, QUERY_WIDTH),
        "value": (BATCH, KEYS, VALUE_WIDTH),
        "key": (BATCH, KEYS, KEY_WIDTH),
    }
    return {
        name: generator.normal(size=shape).astype(dtype)
        for name, shape in shapes.items()
    }


def layer_with_known_weights(normalize, **arguments):
    """A built layer whose weights are all far from their initial values."""
    layer = AdditiveAttention(UNITS, normalize=normalize, **arguments)
    layer(**inputs())
    generator = np.random.default_rng(23)
    layer.set_weights([generator.normal(size=w.shape) for w in layer.weights])
    return layer


def expected(
    query,
    key,
    value,
    query_kernel,
    key_kernel,
    vector,
    scale=None,
    bias=0.0,
    mask=None,
):
    """Output and weights by the loops of the reference, in float64."""
    if scale is not None:
        vector = scale * vector / np.sqrt(sum(vector**2))
    query, key, value = (np.asarray(x, "float64") for x in (query, key, value))
    output, weights = numpy_reference.attend(
        (query @ query_kernel + bias)[:, :, None],
        (key @ key_kernel)[:, :, None],
        value[:, :, None],
        score=numpy_reference.additive(vector),
        mask=mask,
    )
    return output[:, :, 0], weights[:, 0]


def weights_of(layer):
    return {w.name: np.array(w, "float64") for w in layer.weights}


@both_kinds
def test_additive_attention_passes_the_layer_checks(normalize, tmp_path):
    run_layer_checks(
        AdditiveAttention,
        {"units": UNITS, "normalize": normalize, "dropout": 0.1, "seed": 3},
        {**inputs(), "return_attention_scores": True},
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        {**WEIGHTS, **(NORMALIZE_WEIGHTS if normalize else {})},
        tmp_path=tmp_path,
    )


# --- against the definition --------------------------------------------------

SOME = np.random.default_rng(3).random((BATCH, QUERIES, KEYS)) < 0.6
SOME[1, 2] = False  # nothing to attend to
MASKS = {
    "none": None,
    "causal": masks.Causal(offset=1),
    "lengths": masks.Lengths(np.array([3, 0])),
    "array with an empty row": masks.Array(SOME),
}


@both_kinds
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_additive_attention_agrees_with_its_definition(normalize, mask):
    arrays = inputs()
    layer = layer_with_known_weights(normalize)
    output, weights = layer(
        **arrays, attention_mask=mask, return_attention_scores=True
    )
    wanted = expected(**arrays, **weights_of(layer), mask=mask)
    np.testing.assert_allclose(output, wanted[0], atol=1e-5)
    np.testing.assert_allclose(weights, wanted[1], atol=5e-6)


def test_additive_attention_of_a_case_by_hand():
    # Scores 2 tanh(0) = 0 and 2 tanh(artanh(ln(3) / 2)) = ln 3, so the
    # weights are 1/4 and 3/4 and the output is 4/4 + 3/4 * 8.
    layer = AdditiveAttention(1)
    key = np.array([[[0.0], [np.arctanh(np.log(3) / 2)]]])
    value = np.array([[[4.0], [8.0]]])
    layer.build((1, 1, 1), value.shape, key.shape)
    layer.set_weights([np.ones((1, 1)), np.ones((1, 1)), np.array([2.0])])
    output, weights = layer(
        np.zeros((1, 1, 1)), value, key, return_attention_scores=True
    )
    np.testing.assert_allclose(weights, [[[0.25, 0.75]]], atol=1e-6)
    np.testing.assert_allclose(output, [[[7.0]]], atol=1e-5)


@both_kinds
def test_gradients_agree_with_finite_differences(normalize):
    arrays = inputs(PRECISE)
    generator = np.random.default_rng(17)
    cotangent = generator.normal(size=(BATCH, QUERIES, VALUE_WIDTH))
    layer = layer_with_known_weights(normalize, dtype=PRECISE)
    mask = masks.Causal(offset=1)
    found = loss_gradients(layer, arrays, cotangent, attention_mask=mask)
    arguments = {**arrays, **weights_of(layer)}

    def loss(**arguments):
        return np.sum(expected(mask=mask, **arguments)[0] * cotangent)

    assert set(found) == set(arguments)
    for name in arguments:
        direction = generator.normal(size=np.shape(arguments[name]))
        wanted = numpy_reference.directional_derivative(
            loss, arguments, name, direction
        )
        np.testing.assert_allclose(
            np.sum(found[name] * direction),
            wanted,
            rtol=1e-6 if PRECISE == "float64" else 2e-3,
            atol=1e-4 if PRECISE == "float32" else 1e-7,
            err_msg=name,
        )


# --- properties --------------------------------------------------------------


def test_normalize_does_not_see_the_length_of_the_vector():
    arrays = inputs()
    layer = layer_with_known_weights(normalize=True)
    before = layer(**arrays)
    layer.vector.assign(layer.vector * 7.0)
    np.testing.assert_allclose(layer(**arrays), before, atol=1e-5)


def test_normalize_starts_with_a_vector_of_length_one_over_root_units():
    layer = AdditiveAttention(UNITS, normalize=True)
    layer(**inputs())
    np.testing.assert_allclose(layer.scale, UNITS**-0.5, rtol=1e-6)
    np.testing.assert_array_equal(layer.bias, np.zeros(UNITS))


def test_kernels_of_one_shape_start_apart():
    layer = AdditiveAttention(UNITS)
    layer.build((2, 3, 5), (2, 7, 5))
    query_kernel, key_kernel, _ = layer.get_weights()
    assert query_kernel.shape == key_kernel.shape
    assert np.all(query_kernel != key_kernel)


@both_kinds
def test_memory_prepared_once_gives_the_same(normalize):
    arrays = inputs()
    layer = layer_with_known_weights(normalize)
    whole = layer(**arrays, return_attention_scores=True)
    tensors = {k: ops.convert_to_tensor(a) for k, a in arrays.items()}
    memory = layer.prepare(tensors["value"], tensors["key"])
    assert memory["key"].shape == (BATCH, KEYS, UNITS)
    for step in range(QUERIES):
        output, weights, _ = layer.attend(
            tensors["query"][:, step : step + 1],
            memory,
            {},
            return_attention_scores=True,
        )
        np.testing.assert_allclose(output[:, 0], whole[0][:, step], atol=1e-5)
        np.testing.assert_allclose(weights[:, 0], whole[1][:, step], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_saturated_scores_stay_finite(dtype):
    # tanh is 1 for one key and -1 for the other, far past e^2q in any dtype.
    layer = AdditiveAttention(1, dtype=dtype)
    key = np.array([[[3e4], [-3e4]]])
    layer.build((1, 1, 1), key.shape)
    layer.set_weights([np.ones((1, 1)), np.ones((1, 1)), np.array([0.5])])
    _, weights = layer(np.zeros((1, 1, 1)), key, return_attention_scores=True)
    wanted = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(
        as_float64(weights), [[[wanted, 1 - wanted]]], rtol=5e-3
    )


def test_regularizers_and_constraints_reach_every_kernel():
    layer = AdditiveAttention(
        UNITS,
        kernel_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(1.0),
        kernel_constraint="non_neg",
    )
    layer(**inputs())
    number = UNITS * (QUERY_WIDTH + KEY_WIDTH + 1)
    np.testing.assert_allclose(sum(layer.losses), number)
    assert all(
        isinstance(w.constraint, keras.constraints.NonNeg)
        for w in layer.weights
    )


# --- a bug of a peer ---------------------------------------------------------


def test_keras_additive_attention_has_no_projections():
    """There queries and keys need one width; the score agrees with ours."""
    generator = np.random.default_rng(29)
    query = generator.normal(size=(BATCH, QUERIES, UNITS)).astype("float32")
    value = generator.normal(size=(BATCH, KEYS, UNITS)).astype("float32")
    layer = AdditiveAttention(UNITS)
    layer.build(query.shape, value.shape)
    layer.set_weights([np.eye(UNITS), np.eye(UNITS), np.ones(UNITS)])
    theirs = keras.layers.AdditiveAttention(use_scale=False)
    np.testing.assert_allclose(
        layer(query, value), theirs([query, value]), atol=1e-5
    )
    two_widths = AdditiveAttention(UNITS)(query, inputs()["value"])
    assert two_widths.shape == (BATCH, QUERIES, VALUE_WIDTH)


# --- bad input ---------------------------------------------------------------


@pytest.mark.parametrize("units", [0, -3, 2.5, True, None])
def test_bad_units_are_an_error(units):
    message = f"`units` must be a positive integer. Received: units={units}"
    with pytest.raises(ValueError, match=message):
        AdditiveAttention(units)
