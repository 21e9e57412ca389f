"""Queries with nothing to see, whatever hides the keys, and empty sequences."""

import ml_dtypes
import numpy as np
import numpy_reference
import pytest
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend

BATCH, QUERIES, KEYS, HEADS, KEY_DIM, VALUE_DIM = 2, 5, 7, 3, 11, 13
both_ways = pytest.mark.parametrize("implementation", ["dense", "blockwise"])

# Of the first row of the batch: the first query is hidden by the bias, the
# second by the mask, the third by the two together, and of the fourth the
# keys that neither hides are left. The second row sees everything.
BIAS = np.random.default_rng(5).normal(size=(BATCH, HEADS, QUERIES, KEYS))
BIAS[0, :, 0] = -np.inf
BIAS[0, :, 2, :4] = -np.inf
BIAS[0, :, 3, 3:5] = -np.inf
VISIBLE = np.ones((BATCH, 1, QUERIES, KEYS), bool)
VISIBLE[0, :, 1] = False
VISIBLE[0, :, 2, 4:] = False
VISIBLE[0, :, 3, :2] = False
MASK = masks.Array(VISIBLE)
EMPTY = (0, slice(0, 3))  # rows of the batch, queries


def arrays_of(dtype, **more):
    generator = np.random.default_rng(3)
    shapes = {
        "query": (BATCH, QUERIES, HEADS, KEY_DIM),
        "key": (BATCH, KEYS, HEADS, KEY_DIM),
        "value": (BATCH, KEYS, HEADS, VALUE_DIM),
    }
    arrays = {name: generator.normal(size=s) for name, s in shapes.items()}
    return {n: a.astype(dtype) for n, a in {**arrays, **more}.items()}


def tolerance_of(dtype):
    return 4 * float(ml_dtypes.finfo(dtype).eps) + 1e-6


def run_with_slopes(gradients, **settings):
    """Returns a function of tensors: the output and all gradients."""

    def run(tensors):
        def loss(tensors):
            output = attend(**tensors, **settings)
            return ops.sum(ops.square(ops.cast(output, "float32")))

        return attend(**tensors, **settings), gradients(loss, tensors)

    return run


@both_ways
@pytest.mark.parametrize("sink", [None, 0.3])
def test_bias_of_minus_infinity_hides_as_a_mask_does(
    implementation, sink, path_and_dtype, run_on, gradients
):
    path, dtype = path_and_dtype
    more = {} if sink is None else {"sink": np.full(HEADS, sink)}
    arrays = arrays_of(dtype, bias=BIAS, **more)
    run = run_with_slopes(gradients, mask=MASK, implementation=implementation)
    output, slopes = run_on(path, run, arrays)
    expected, _ = numpy_reference.attend(**arrays, mask=MASK)
    tolerance = tolerance_of(dtype)
    np.testing.assert_allclose(
        output.astype("float64"), expected, rtol=0, atol=4 * tolerance
    )
    assert not output[EMPTY].any()
    assert not slopes["query"][EMPTY].any()
    assert not slopes["bias"][0, :, :3].any()
    assert not slopes["bias"][BIAS == -np.inf].any()
    for name, slope in slopes.items():
        assert np.isfinite(slope.astype("float32")).all(), name
        assert slope[-1].any(), name


@both_ways
def test_sink_of_minus_infinity_is_no_sink(implementation, gradients):
    settings = {"mask": MASK, "implementation": implementation}
    run = run_with_slopes(gradients, **settings)
    arrays = arrays_of("float32", bias=BIAS, sink=np.full(HEADS, -np.inf))
    tensors = {name: ops.convert_to_tensor(a) for name, a in arrays.items()}
    output, slopes = run(tensors)
    assert not np.any(slopes.pop("sink"))
    del tensors["sink"]
    expected_output, expected = run(tensors)
    for name, slope in {**slopes, "output": output}.items():
        wanted = {**expected, "output": expected_output}[name]
        np.testing.assert_allclose(slope, wanted, rtol=0, atol=1e-5)


@both_ways
def test_gradients_under_a_hiding_bias_are_those_under_a_mask(
    implementation, gradients
):
    finite = np.where(BIAS == -np.inf, 0.0, BIAS)
    hidden = {"mask": MASK, "bias": BIAS}
    masked = {"mask": VISIBLE & (BIAS != -np.inf), "bias": finite}
    results = []
    for case in (hidden, masked):
        run = run_with_slopes(
            gradients, mask=case["mask"], implementation=implementation
        )
        arrays = arrays_of("float32", bias=case["bias"])
        _, slopes = run(
            {k: ops.convert_to_tensor(a) for k, a in arrays.items()}
        )
        results.append(slopes)
    for name, expected in results[1].items():
        np.testing.assert_allclose(
            results[0][name], expected, rtol=0, atol=2e-6, err_msg=name
        )


def test_weights_under_a_hiding_bias_are_those_under_a_mask():
    arrays = arrays_of("float32", bias=BIAS)
    output, weights = attend(**arrays, mask=MASK, return_weights=True)
    expected, expected_weights = numpy_reference.attend(**arrays, mask=MASK)
    np.testing.assert_allclose(output, expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(weights, expected_weights, rtol=0, atol=2e-6)
    assert not np.asarray(weights)[0, :, :3].any()


@both_ways
def test_distance_bias_of_minus_infinity_hides(implementation, gradients):
    # It lets a query see itself and the key before, as a window would.
    values = np.full((HEADS, 9), -np.inf)
    values[:, 3:5] = 0.0
    arrays = arrays_of("float32")
    bias = functional.DistanceBias(values.astype("float32"), zero=4)
    found = attend(**arrays, bias=bias, implementation=implementation)
    expected, _ = numpy_reference.attend(
        **arrays, mask=masks.SlidingWindow(left=1, right=0)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@both_ways
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_lowest_bias_is_a_number_and_a_mask_still_hides(
    implementation, dtype, gradients
):
    """Rows whose keys all have the lowest bias are the mean of what is seen."""
    lowest = np.full((1, 1, QUERIES, KEYS), np.finfo("float32").min)
    lowest[..., 2:, :] = 0.0
    seen = np.arange(KEYS)[None] < 4
    arrays = arrays_of(dtype)
    tensors = {name: ops.convert_to_tensor(a) for name, a in arrays.items()}
    run = run_with_slopes(
        gradients,
        bias=lowest.astype("float32"),
        mask=masks.Array(seen),
        implementation=implementation,
    )
    output, slopes = run(tensors)
    value = arrays["value"].astype("float64")
    expected, _ = numpy_reference.attend(**arrays, mask=masks.Array(seen))
    expected[:, :2] = value[:, :4].mean(axis=1, keepdims=True)
    tolerance = tolerance_of(dtype)
    np.testing.assert_allclose(output, expected, rtol=0, atol=4 * tolerance)
    # Each query whose weights are 1/4 adds output / 2 to the gradients.
    _, weights = numpy_reference.attend(**arrays, mask=masks.Array(seen))
    weights[:, :, :2] = seen / 4
    expected = np.einsum("bnts,btnv->bsnv", weights, 2 * expected)
    np.testing.assert_allclose(
        slopes["value"], expected, rtol=0, atol=16 * tolerance
    )


def test_masked_softmax_of_nothing_is_zero_without_and_with_a_sink():
    scores = np.zeros((1, HEADS, 2, KEYS), "float32")
    visible = np.array([[True], [False]])
    weights = np.asarray(functional.masked_softmax(scores, visible))
    np.testing.assert_allclose(weights[..., 0, :], 1 / KEYS)
    assert not weights[..., 1, :].any()
    sink = np.zeros(HEADS, "float32")
    weights = np.asarray(functional.masked_softmax(scores, visible, sink))
    np.testing.assert_allclose(weights[..., 0, :], 1 / (KEYS + 1))
    assert not weights[..., 1, :].any()


EMPTY_LENGTHS = [(0, KEYS), (QUERIES, 0), (0, 0), (0, 1)]
# name: the masks and settings of sequences of these lengths.
EMPTY_CASES = {
    "plain": lambda queries, keys: {},
    "positions": lambda queries, keys: {
        "mask": masks.Causal(1),
        "bias": functional.DistanceBias(np.ones((HEADS, 9), "float32"), 4),
    },
    "padding": lambda queries, keys: {
        "mask": masks.Padding(np.ones((BATCH, keys), bool))
        & masks.QueryPadding(np.ones((BATCH, queries), bool)),
        "sink": np.zeros(HEADS, "float32"),
    },
    "packed": lambda queries, keys: {
        "mask": masks.Segments(
            np.zeros((BATCH, queries), int), np.zeros((BATCH, keys), int)
        )
        & masks.Array(np.ones((BATCH, queries, keys), bool)),
        "dropout": functional.Dropout(0.5, seed=7),
    },
    "additive": lambda queries, keys: {
        "score": functional.AdditiveScore(np.ones(KEY_DIM, "float32")),
        "mask": masks.Lengths(np.array([3, 0])),
    },
}


def empty_arrays(queries, keys):
    return {
        "query": np.ones((BATCH, queries, HEADS, KEY_DIM), "float32"),
        "key": np.ones((BATCH, keys, HEADS, KEY_DIM), "float32"),
        "value": np.ones((BATCH, keys, HEADS, VALUE_DIM), "float32"),
    }


def assert_empty_answer(output, slopes, arrays):
    queries, keys = (arrays[name].shape[1] for name in ("query", "key"))
    assert output.shape == (BATCH, queries, HEADS, VALUE_DIM)
    assert not np.any(output)  # no query, or no key
    for name, array in arrays.items():
        assert slopes[name].shape == array.shape
        assert not np.any(slopes[name])


@pytest.mark.parametrize("implementation", ["auto", "dense", "blockwise"])
@pytest.mark.parametrize("case", EMPTY_CASES.values(), ids=EMPTY_CASES)
def test_no_queries_and_no_keys_are_lengths_like_others(
    case, implementation, gradients
):
    for queries, keys in EMPTY_LENGTHS:
        settings = case(queries, keys)
        arrays = empty_arrays(queries, keys)
        run = run_with_slopes(
            gradients, implementation=implementation, **settings
        )
        tensors = {k: ops.convert_to_tensor(a) for k, a in arrays.items()}
        assert_empty_answer(*run(tensors), arrays)


@pytest.mark.tensorflow_only
@both_ways
@pytest.mark.parametrize("path", ["graph", "xla"])
@pytest.mark.parametrize(
    "score",
    [
        "dot product",
        pytest.param("additive", marks=pytest.mark.exhaustive),
    ],
)
def test_lengths_of_zero_may_come_at_run_time(
    score, path, implementation, gradients
):
    import tensorflow as tf

    settings = {"mask": masks.Causal(), "implementation": implementation}
    if score == "additive":
        settings["score"] = functional.AdditiveScore(tf.ones(KEY_DIM))
    arrays = empty_arrays(QUERIES, KEYS)
    signature = {
        name: tf.TensorSpec((BATCH, None, *array.shape[2:]), "float32")
        for name, array in arrays.items()
    }
    run = tf.function(
        run_with_slopes(gradients, **settings),
        input_signature=[signature],
        jit_compile=path == "xla",
        autograph=False,
    )
    for lengths in ((0, KEYS), (QUERIES, 0), (0, 0)):
        arrays = empty_arrays(*lengths)
        tensors = {name: tf.constant(a) for name, a in arrays.items()}
        assert_empty_answer(*run(tensors), arrays)


@pytest.mark.tensorflow_only
def test_padding_of_no_keys_at_run_time(gradients):
    import tensorflow as tf

    def run(tensors, key_mask):
        settings = {"mask": masks.Padding(key_mask), "bias": tf.zeros((1, 1))}
        settings["implementation"] = "blockwise"
        return run_with_slopes(gradients, **settings)(tensors)

    arrays = empty_arrays(QUERIES, 0)
    signature = {
        name: tf.TensorSpec((BATCH, None, *array.shape[2:]), "float32")
        for name, array in arrays.items()
    }
    key_mask = tf.TensorSpec((BATCH, None), "bool")
    run = tf.function(run, input_signature=[signature, key_mask])
    tensors = {name: tf.constant(a) for name, a in arrays.items()}
    found = run(tensors, tf.ones((BATCH, 0), "bool"))
    assert_empty_answer(*found, arrays)
