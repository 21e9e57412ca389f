import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import loss_gradients
from layer_checks import run_layer_checks

from keras_attention import DotProductAttention
from keras_attention import MonotonicAttention
from keras_attention import masks

SCORES = ("dot", "scaled", "general", "cosine", "distance")
BATCH, QUERIES, KEYS, WIDTH, VALUE_WIDTH = 2, 3, 7, 5, 13
KEY_WIDTH = {"general": 11}  # the only score that allows another width
# The finest dtype the backend computes in by default.
PRECISE = "float32" if keras.backend.backend() == "jax" else "float64"

each_score = pytest.mark.parametrize("score", SCORES)


def inputs(score, dtype="float32"):
    generator = np.random.default_rng(11)
    widths = {
        "query": (QUERIES, WIDTH),
        "value": (KEYS, VALUE_WIDTH),
        "key": (KEYS, KEY_WIDTH.get(score, WIDTH)),
    }
    return {
        name: generator.normal(size=(BATCH, *shape)).astype(dtype)
        for name, shape in widths.items()
    }


def expected(score, query, key, value, mask=None, scale=1.0, kernel=None):
    """Output and weights by the loops of the reference, in float64."""
    query, key, value = (
        np.asarray(x, "float64")[:, :, None] for x in (query, key, value)
    )
    kernel = None if kernel is None else scale * np.asarray(kernel, "float64")
    pair_score = {
        "dot": lambda: numpy_reference.dot(scale),
        "scaled": lambda: numpy_reference.dot(scale / np.sqrt(WIDTH)),
        "general": lambda: numpy_reference.general(kernel),
        "cosine": lambda: numpy_reference.cosine(scale),
        "distance": lambda: numpy_reference.distance(scale),
    }[score]()
    output, weights = numpy_reference.attend(
        query, key, value, score=pair_score, mask=mask
    )
    return output[:, :, 0], weights[:, 0]


@pytest.mark.parametrize(
    "score",
    [
        # The others differ in a formula, which the tests below compare.
        pytest.param(
            score,
            marks=[pytest.mark.exhaustive]
            * (score not in ("general", "cosine")),
        )
        for score in SCORES
    ],
)
def test_dot_product_attention_passes_the_layer_checks(score, tmp_path):
    kernel = {"kernel": (WIDTH, KEY_WIDTH.get(score))}
    visible = np.random.default_rng(5).random((BATCH, QUERIES, KEYS)) < 0.7
    run_layer_checks(
        DotProductAttention,
        {"score": score, "use_scale": True, "scale": 1.7, "dropout": 0.1},
        {
            **inputs(score),
            "attention_mask": visible,
            "return_attention_scores": True,
        },
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        {**(kernel if score == "general" else {}), "scale": ()},
        tmp_path=tmp_path,
    )


# --- against the definition --------------------------------------------------

SOME = np.random.default_rng(3).random((BATCH, QUERIES, KEYS)) < 0.6
SOME[1, 2] = False  # nothing to attend to
MASKS = {
    "none": None,
    "causal": masks.Causal(),
    "lengths": masks.Lengths(np.array([3, 0])),
    "array with an empty row": masks.Array(SOME),
    "window or padding": masks.SlidingWindow(1, 0)
    | masks.Padding(np.arange(BATCH * KEYS).reshape(BATCH, KEYS) % 3 == 0),
}


@each_score
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_dot_product_attention_agrees_with_its_definition(score, mask):
    arrays = inputs(score)
    layer = DotProductAttention(score=score, scale=1.7)
    output, weights = layer(
        **arrays, attention_mask=mask, return_attention_scores=True
    )
    kernel = layer.get_weights()[0] if score == "general" else None
    wanted = expected(score, **arrays, mask=mask, scale=1.7, kernel=kernel)
    np.testing.assert_allclose(output, wanted[0], atol=3e-6)
    np.testing.assert_allclose(weights, wanted[1], atol=2e-6)


@pytest.mark.parametrize(
    ("score", "scores"),
    [
        # query (3, 4), keys (3, 4), (4, -3) and (0, 0)
        ("dot", [25, 0, 0]),
        ("scaled", [25 / 2**0.5, 0, 0]),
        ("cosine", [1, 0, 0]),
        ("distance", [0, -50, -25]),
    ],
)
def test_scores_of_a_case_by_hand(score, scores):
    layer = DotProductAttention(score=score)
    query = np.array([[[3.0, 4.0]]])
    key = np.array([[[3.0, 4.0], [4.0, -3.0], [0.0, 0.0]]])
    _, weights = layer(query, key, return_attention_scores=True)
    powers = np.exp(np.array(scores, "float64") - max(scores))
    wanted = powers / powers.sum()
    np.testing.assert_allclose(weights[0, 0], wanted, rtol=1e-5, atol=1e-12)


def test_what_is_no_softmax_sees_the_whole_distance():
    """The term -|q|^2, alike for all keys, moves sigmoids."""
    query, value = np.array([[[3.0]]]), np.array([[[3.0], [4.0], [1.0]]])
    chances = 1 / (1 + np.exp([0.0, 1.0, 4.0]))
    layer = DotProductAttention("distance", normalizer="sigmoid")
    _, weights = layer(query, value, return_attention_scores=True)
    np.testing.assert_allclose(
        weights[0, 0], chances / chances.sum(), rtol=1e-5
    )
    score = DotProductAttention("distance")
    layer = MonotonicAttention(score=score, noise=0.0)
    _, weights = layer(
        query, value, return_attention_scores=True, training=True
    )
    stays = np.cumprod([1, *(1 - chances[:-1])])
    np.testing.assert_allclose(weights[0, 0], chances * stays, rtol=1e-5)


@each_score
def test_gradients_agree_with_finite_differences(score):
    arrays = inputs(score, PRECISE)
    generator = np.random.default_rng(17)
    cotangent = generator.normal(size=(BATCH, QUERIES, VALUE_WIDTH))
    layer = DotProductAttention(
        score=score, use_scale=True, scale=1.25, dtype=PRECISE
    )
    layer(**arrays)
    mask = masks.Causal(offset=1)
    found = loss_gradients(layer, arrays, cotangent, attention_mask=mask)
    arguments = {**arrays, "scale": np.array(1.25)}
    if score == "general":
        arguments["kernel"] = np.array(layer.kernel)

    def loss(**arguments):
        return np.sum(expected(score, mask=mask, **arguments)[0] * cotangent)

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


@each_score
def test_learned_scale_starts_where_the_fixed_one_is(score):
    arrays = inputs(score)
    fixed = DotProductAttention(score=score, scale=2.5)
    learned = DotProductAttention(score=score, scale=2.5, use_scale=True)
    fixed(**arrays)
    learned(**arrays)
    assert [w.name for w in fixed.weights + learned.weights].count("scale") == 1
    learned.set_weights([*fixed.get_weights(), np.array(2.5)])
    np.testing.assert_allclose(learned(**arrays), fixed(**arrays), atol=1e-6)
    assert float(learned.scale_weight) == 2.5


def test_learned_scale_is_not_rounded_in_half_precision():
    # 14.3 is 14.3125 in bfloat16: enough to move a weight.
    arrays = inputs("cosine")
    layers = [
        DotProductAttention("cosine", use_scale, 14.3, dtype="mixed_bfloat16")
        for use_scale in (True, False)
    ]
    learned, fixed = (as_float64(layer(**arrays)) for layer in layers)
    np.testing.assert_array_equal(learned, fixed)


@each_score
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_layer_wholly_in_half_precision(score, dtype):
    arrays = inputs(score)
    layer = DotProductAttention(score=score, use_scale=True, dtype=dtype)
    output, weights = layer(**arrays, return_attention_scores=True)
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    np.testing.assert_allclose(as_float64(weights).sum(-1), 1.0, atol=2e-2)


@each_score
def test_memory_prepared_once_gives_the_same(score):
    arrays = inputs(score)
    layer = DotProductAttention(score=score, scale=1.7)
    whole = layer(**arrays, return_attention_scores=True)
    tensors = {k: ops.convert_to_tensor(a) for k, a in arrays.items()}
    memory = layer.prepare(tensors["value"], tensors["key"])
    for step in range(QUERIES):
        output, weights, _ = layer.attend(
            tensors["query"][:, step : step + 1],
            memory,
            {},
            return_attention_scores=True,
        )
        np.testing.assert_allclose(output[:, 0], whole[0][:, step], atol=1e-6)
        np.testing.assert_allclose(weights[:, 0], whole[1][:, step], atol=1e-6)


def test_general_with_the_identity_is_dot():
    arrays = inputs("dot")
    general = DotProductAttention("general", kernel_initializer="identity")
    np.testing.assert_allclose(
        general(**arrays), DotProductAttention("dot")(**arrays), atol=1e-6
    )


def test_cosine_does_not_see_lengths():
    arrays = inputs("cosine")
    longer = {
        "query": arrays["query"] * 1e3,
        "key": arrays["key"] * 1e-3,
        "value": arrays["value"],
    }
    layer = DotProductAttention("cosine", scale=5.0)
    np.testing.assert_allclose(layer(**longer), layer(**arrays), atol=1e-5)


def test_distance_does_not_see_a_shift():
    arrays = inputs("distance")
    shifted = {
        "query": arrays["query"] + 3.0,
        "key": arrays["key"] + 3.0,
        "value": arrays["value"],
    }
    layer = DotProductAttention("distance")
    np.testing.assert_allclose(layer(**shifted), layer(**arrays), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_cosine_of_a_zero_vector_is_zero_with_zero_gradient(dtype):
    arrays = inputs("cosine", dtype="float32")
    arrays["query"][0, 1] = 0.0
    arrays["key"][1, 4] = 0.0
    arrays = {k: ops.cast(a, dtype) for k, a in arrays.items()}
    layer = DotProductAttention("cosine", scale=5.0, dtype=dtype)
    _, weights = layer(**arrays, return_attention_scores=True)
    weights = as_float64(weights)
    np.testing.assert_allclose(weights[0, 1], 1 / KEYS, rtol=5e-3)
    # exp(0) among exp(5 cos): what a vector at right angles would get.
    query, key = as_float64(arrays["query"]), as_float64(arrays["key"])
    cosines = [
        q @ k / max(np.linalg.norm(q) * np.linalg.norm(k), 1e-9)
        for q, k in [(query[1, 0], key[1, s]) for s in range(KEYS)]
    ]
    wanted = 1 / np.sum(np.exp(5 * np.array(cosines)))
    np.testing.assert_allclose(weights[1, 0, 4], wanted, rtol=5e-2)
    found = loss_gradients(layer, arrays, np.ones((1, 1, VALUE_WIDTH)))
    assert all(np.all(np.isfinite(gradient)) for gradient in found.values())
    assert np.all(found["query"][0, 1] == 0)
    assert np.all(found["key"][1, 4] == 0)
    assert np.any(found["query"][0, 0] != 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_distance_in_half_precision_does_not_lose_a_tenth(dtype):
    # |k|^2 is about 500, where float16 counts in halves and bfloat16 in
    # fours; the scores differ by tenths. All numbers here are exact in both.
    near = np.array([0.0, 0.25, -0.25, 0.375, -0.125, 0.5, -0.5])
    key = 10.0 + near[None, :, None] * np.array([1.0, 0.5, 0, -1, 0.25])
    key = np.round(np.repeat(key, BATCH, axis=0) * 16) / 16
    query = np.full((BATCH, QUERIES, WIDTH), 10.0)
    query[:, 1] += 0.125
    query[:, 2, 3] -= 0.25
    value = np.broadcast_to(np.eye(KEYS), (BATCH, KEYS, KEYS))
    for array in (query, key):
        half = as_float64(ops.cast(array.astype("float32"), dtype))
        np.testing.assert_array_equal(half, array)
    layer = DotProductAttention("distance", dtype=f"mixed_{dtype}")
    _, weights = layer(query, value, key, return_attention_scores=True)
    _, wanted = expected("distance", query, key, value)
    rounding = 2.0**-11 if dtype == "float16" else 2.0**-8
    np.testing.assert_allclose(
        as_float64(weights), wanted, rtol=rounding, atol=1e-4
    )


# --- bugs of peers -----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_keras_attention_float16_mask_by_subtraction(dtype):
    """There a large score minus 65504 still wins over the visible keys."""
    query = np.full((1, 1, 2), 300.0)
    # Scores 180000, which float16 does not hold, 300 and 0.
    key = np.array([[[300.0, 300.0], [0.5, 0.5], [0.0, 0.0]]])
    value = np.array([[[7.0], [3.0], [5.0]]])
    layer = DotProductAttention("dot", dtype=dtype)
    output, weights = layer(
        query,
        value,
        key,
        attention_mask=np.array([[False, True, True]]),
        return_attention_scores=True,
    )
    np.testing.assert_array_equal(as_float64(weights), [[[0.0, 1.0, 0.0]]])
    np.testing.assert_array_equal(as_float64(output), [[[3.0]]])


def test_keras_attention_refuses_a_tuple_of_inputs():
    """There a tuple of query and value is an error; here it unpacks."""
    arrays = inputs("dot")
    pair = (arrays["query"], arrays["key"])
    layer = DotProductAttention()
    named = layer(query=pair[0], value=pair[1])
    np.testing.assert_array_equal(layer(*pair), named)
    theirs = keras.layers.Attention(use_scale=True)
    theirs.build([x.shape for x in pair])
    theirs.set_weights([np.array(WIDTH**-0.5)])
    np.testing.assert_allclose(named, theirs(list(pair)), atol=1e-6)


# --- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"score": "euclidean"},
            "`score` must be one of 'dot', 'scaled', 'general', 'cosine', "
            "'distance'. Received: score='euclidean'",
        ),
        ({"scale": 0.0}, "`scale` must be a number above 0. Received: scale=0"),
        ({"scale": None}, "`scale` must be a number above 0"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
    ],
    ids=["score", "scale", "no scale", "dropout"],
)
def test_bad_argument_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        DotProductAttention(**arguments)


@pytest.mark.parametrize("score", [s for s in SCORES if s != "general"])
def test_two_widths_are_an_error(score):
    layer = DotProductAttention(score=score)
    message = (
        "`key` must have the width of `query` with "
        rf"score='{score}'. Received: query.shape=\(2, 3, 5\), "
        r"key.shape=\(2, 7, 11\). Use score='general'."
    )
    with pytest.raises(ValueError, match=message):
        layer(np.ones((2, 3, 5)), np.ones((2, 7, 11)))
