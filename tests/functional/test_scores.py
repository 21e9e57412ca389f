"""The score kernels, and every other score as a projection before one."""

import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import AdditiveScore
from keras_attention.functional import DotProductScore

BATCH, QUERIES, KEYS, HEADS, WIDTH = 2, 5, 7, 3, 11


def random_query_and_key(size=1.0, heads=HEADS):
    random = np.random.default_rng(19)
    query = size * random.normal(size=(BATCH, QUERIES, heads, WIDTH))
    key = size * random.normal(size=(BATCH, KEYS, heads, WIDTH))
    return query.astype("float32"), key.astype("float32")


def weights_of(query, key, **settings):
    """The weights, which show the scores but for a constant per query."""
    value = ops.ones_like(key[..., :1], dtype="float32")
    return functional.attend(
        query=query, key=key, value=value, return_weights=True, **settings
    )[1]


def expected_weights(query, key, score):
    return numpy_reference.attend(query, key, key, score=score)[1]


def assert_weights(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "score, scale",
    [
        (DotProductScore(), 1 / np.sqrt(WIDTH)),
        (DotProductScore(1.0), 1.0),
        (DotProductScore(scale=0), 0.0),
        (DotProductScore(np.float32(-0.3)), -0.3),
    ],
    ids=["default", "one", "integer", "array"],
)
def test_dot_product_is_scaled(score, scale):
    query, key = random_query_and_key()
    expected = expected_weights(query, key, numpy_reference.dot(scale))
    assert_weights(weights_of(query, key, score=score), expected)


def test_default_scale_is_that_of_the_reference():
    query, key = random_query_and_key()
    expected = expected_weights(query, key, numpy_reference.scaled())
    assert_weights(weights_of(query, key), expected)


def test_two_keys_by_hand():
    # scores 2 * 1 * [1, -1] / sqrt(1) = [2, -2]; 1 / (1 + e^-4) = 0.9820138
    query = np.array([[[[2.0]]]], "float32")
    key = np.array([[[[1.0]], [[-1.0]]]], "float32")
    weights = weights_of(query, key)
    np.testing.assert_allclose(weights, [[[[0.9820138, 0.0179862]]]], rtol=1e-5)


def test_additive_two_keys_by_hand():
    # scores 3 * tanh(1 + [0, -1]) = [3 * 0.7615942, 0];
    # 1 / (1 + e^-2.2847825) = 0.9076089
    query = np.array([[[[1.0]]]], "float32")
    key = np.array([[[[0.0]], [[-1.0]]]], "float32")
    weights = weights_of(query, key, score=AdditiveScore(np.array([3.0])))
    np.testing.assert_allclose(weights, [[[[0.9076089, 0.0923911]]]], rtol=1e-5)


@pytest.mark.parametrize("shape", [(WIDTH,), (HEADS, WIDTH), (1, WIDTH)])
def test_additive_is_the_reference(shape):
    query, key = random_query_and_key()
    vector = np.random.default_rng(23).normal(size=shape).astype("float32")
    expected = expected_weights(query, key, numpy_reference.additive(vector))
    assert_weights(
        weights_of(query, key, score=AdditiveScore(vector)), expected
    )


@pytest.mark.parametrize("size", [30.0, 100.0])
def test_additive_of_large_numbers_saturates_and_stays_finite(
    size, path, run_on, gradients
):
    query, key = random_query_and_key(size)
    query[0, 0, 0] = -key[0, 0, 0]  # large numbers whose sum is zero
    vector = np.linspace(-1, 1, WIDTH).astype("float32")

    def run(x):
        def loss(x):
            weights = weights_of(
                x["query"], x["key"], score=AdditiveScore(x["vector"])
            )
            return ops.sum(weights[..., 0])

        score = AdditiveScore(x["vector"])
        return weights_of(x["query"], x["key"], score=score), gradients(loss, x)

    arrays = {"query": query, "key": key, "vector": vector}
    weights, slopes = run_on(path, run, arrays)
    score = numpy_reference.additive(vector.astype("float64"))
    expected = expected_weights(query, key, score)
    # The sum of two float32 numbers of this size has this error.
    unit = float(np.finfo("float32").eps) * size
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=8 * unit)
    for slope in slopes.values():
        assert np.isfinite(slope).all()


# --- every other score is a projection before a kernel -----------------------


def test_general_is_a_projection_of_the_query():
    query, key = random_query_and_key()
    kernel = np.random.default_rng(29).normal(size=(WIDTH, WIDTH))
    projected = (query @ kernel).astype("float32")
    expected = expected_weights(query, key, numpy_reference.general(kernel))
    found = weights_of(projected, key, score=DotProductScore(1.0))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_cosine_is_the_product_of_what_was_normalised():
    query, key = random_query_and_key(size=5.0)
    normal_query, normal_key = (
        np.asarray(ops.normalize(x, axis=-1)) for x in (query, key)
    )
    found = weights_of(normal_query, normal_key, score=DotProductScore(2.0))
    expected = expected_weights(query, key, numpy_reference.cosine(2.0))
    assert_weights(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_distance_is_a_product_and_a_float32_bias_of_the_key(dtype):
    # -|q-k|^2 = 2 q.k - |k|^2 and what is the same for all keys of a query.
    query, key = random_query_and_key(size=2.0)
    query, key = query.astype(dtype), key.astype(dtype)
    squares = np.sum(key.astype("float32") ** 2, axis=-1)  # (B, S, N)
    bias = -np.transpose(squares, (0, 2, 1))[:, :, None, :]  # (B, N, 1, S)
    expected = expected_weights(query, key, numpy_reference.distance())
    found = weights_of(query, key, score=DotProductScore(2.0), bias=bias)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-5)


def test_concat_is_additive_of_two_projections():
    # v . tanh(W [q; k]) = v . tanh(W_q q + W_k k), Luong et al. 2015.
    query, key = random_query_and_key(heads=1)
    random = np.random.default_rng(31)
    kernel, vector = random.normal(size=(2 * WIDTH, 13)), random.normal(size=13)
    projected_query = (query @ kernel[:WIDTH]).astype("float32")
    projected_key = (key @ kernel[WIDTH:]).astype("float32")

    def concat(head, q, k):
        return sum(vector * np.tanh(np.concatenate([q, k]) @ kernel))

    found = weights_of(
        projected_query, projected_key, score=AdditiveScore(vector)
    )
    np.testing.assert_allclose(
        found, expected_weights(query, key, concat), rtol=1e-4, atol=1e-5
    )


# --- settings ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_weights_of_a_score_may_have_another_dtype(dtype):
    query, key = random_query_and_key()
    query, key = query.astype(dtype), key.astype(dtype)
    vector = np.linspace(-1, 1, WIDTH)  # float64
    for score in (
        AdditiveScore(vector),
        AdditiveScore(vector.astype("float16")),
        DotProductScore(np.float64(0.5)),
    ):
        weights = weights_of(query, key, score=score)
        assert keras.backend.standardize_dtype(weights.dtype) == dtype


@pytest.mark.parametrize("score", [DotProductScore(), AdditiveScore([1.0])])
def test_scores_are_frozen(score):
    with pytest.raises(AttributeError, match="cannot assign to field"):
        score.scale = 2.0


def test_grouped_keys_serve_consecutive_heads():
    # Query heads 0, 1, 2 share key head 0; 3, 4, 5 share key head 1.
    query = np.ones((1, 1, 6, 1), "float32")
    key = np.array([[[[2.0], [0.0]], [[0.0], [2.0]]]], "float32")  # (1,2,2,1)
    for score in (DotProductScore(), AdditiveScore(np.ones(1, "float32"))):
        weights = np.asarray(weights_of(query, key, score=score))[0, :, 0]
        assert weights.argmax(axis=-1).tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
def test_numpy_numbers_are_numbers(kind):
    # Long enough to be blockwise and compiled, for these numbers.
    random = np.random.default_rng(3)
    tensors = {
        name: random.normal(size=(1, 1031, 1, 3)).astype("float32")
        for name in ("query", "key", "value")
    }

    def run(kind):
        score = DotProductScore(scale=kind(2))
        return functional.attend(
            **tensors, score=score, logit_soft_cap=kind(5), mask=masks.Causal()
        )

    np.testing.assert_array_equal(run(kind), run(float))


def test_scale_that_is_no_number_is_refused():
    message = "`scale` must be a number. Received: scale=nan."
    with pytest.raises(ValueError, match=message):
        DotProductScore(scale=float("nan"))
