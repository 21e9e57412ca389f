"""The soft cap, and biases read block by block."""

import functools

import hypothesis
import keras
import numpy as np
import numpy_reference
import pytest
from hypothesis import strategies
from keras import ops

from keras_attention.functional import DistanceBias
from keras_attention.functional import LinearDistanceBias
from keras_attention.functional import QueryDistanceBias
from keras_attention.functional import attend
from keras_attention.functional import biases

BATCH, HEADS, QUERIES, KEYS = SHAPE = (2, 3, 5, 7)


def test_soft_cap_by_hand():
    # 2 * tanh(1 / 2) = 0.9242343, and the ends are near the cap.
    capped = biases.soft_cap(ops.convert_to_tensor([0.0, 1.0, -1e9, 1e9]), 2.0)
    np.testing.assert_allclose(capped, [0.0, 0.9242343, -2.0, 2.0], rtol=1e-6)


def test_no_soft_cap_returns_the_scores_themselves():
    scores = ops.ones((2, 3))
    assert biases.soft_cap(scores, None) is scores


def test_soft_cap_comes_before_the_bias():
    # Scores of 100 and 0 are capped to 1 and 0; the bias of 3 is not.
    query = np.array([[[[10.0]]]], "float32")
    key = np.array([[[[10.0]], [[0.0]]]], "float32")
    bias = np.array([[0.0, 3.0]], "float32")
    _, weights = attend(
        query=query,
        key=key,
        value=key,
        bias=bias,
        logit_soft_cap=1.0,
        return_weights=True,
    )
    expected = np.exp([1.0, 3.0]) / np.exp([1.0, 3.0]).sum()
    np.testing.assert_allclose(np.ravel(weights), expected, rtol=1e-5)


def test_distance_bias_picture():
    # Distances key - query of -2 .. 1; the nearest end serves those outside.
    bias = DistanceBias(np.array([[20, 10, 0, 1]], "float32"), zero=2)
    assert np.asarray(bias.block(0, 4, 0, 4))[0].tolist() == [
        [0, 1, 1, 1],
        [10, 0, 1, 1],
        [20, 10, 0, 1],
        [20, 20, 10, 0],
    ]


def test_distance_bias_of_a_cached_step_is_that_of_the_whole():
    values = np.random.default_rng(37).normal(size=(3, 9)).astype("float32")
    whole = DistanceBias(values, zero=4).block(0, 7, 0, 7)
    for position in (0, 3, 6):
        for zero in (4 - position, ops.convert_to_tensor(4 - position)):
            step = DistanceBias(values, zero).block(0, 1, 0, 7)
            np.testing.assert_array_equal(step[:, 0], whole[:, position])


def test_alibi_is_a_distance_bias():
    # Press et al. 2022: -slope * (query - key) under a causal mask.
    slopes = np.array([0.5, 0.25, 0.125])
    distances = np.arange(-4, 5)  # key - query
    bias = DistanceBias(slopes[:, None] * distances, zero=4).block(0, 5, 0, 5)
    for head, query in np.ndindex(3, 5):
        for key in range(query + 1):
            expected = -slopes[head] * (query - key)
            assert np.isclose(bias[head, query, key], expected)


@strategies.composite
def any_bias(draw):
    random = np.random.default_rng(draw(strategies.integers(0, 99)))

    def numbers(*shape):
        return random.normal(size=shape).astype("float32")

    distances = draw(strategies.integers(1, 12))
    zero = draw(strategies.integers(-2, 12))
    if draw(strategies.booleans()):
        zero = random.integers(-2, 12, BATCH)
    match draw(strategies.sampled_from(["tensor", "table", "line", "query"])):
        case "table":
            return DistanceBias(numbers(HEADS, distances), zero)
        case "line":
            return LinearDistanceBias(numbers(HEADS), zero)
        case "query":
            values = numbers(BATCH, HEADS, QUERIES, distances)
            return QueryDistanceBias(values, zero)
    shape = [draw(strategies.sampled_from([size, 1])) for size in SHAPE]
    return biases.as_bias(numbers(*shape[draw(strategies.integers(0, 3)) :]))


def a_stretch(length):
    return strategies.integers(0, length - 1).flatmap(
        lambda start: strategies.tuples(
            strategies.just(start), strategies.integers(1, length - start)
        )
    )


# JAX compiles each operator anew for each shape that hypothesis thinks of.
@hypothesis.settings(
    max_examples=15 if keras.backend.backend() == "jax" else 60
)
@hypothesis.given(
    any_bias(), a_stretch(QUERIES), a_stretch(KEYS), strategies.booleans()
)
def test_block_is_a_slice_of_the_whole(bias, queries, keys, as_tensors):
    (query_start, query_length), (key_start, key_length) = queries, keys
    starts = query_start, key_start
    if as_tensors:
        starts = map(ops.convert_to_tensor, starts)
    query_at, key_at = starts
    block = bias.block(query_at, query_length, key_at, key_length)
    whole = numpy_reference.dense_bias(bias, SHAPE)
    expected = whole[:, :, query_start:, key_start:]
    expected = expected[:, :, :query_length, :key_length]
    found = np.broadcast_to(block, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Of one row, and of a step, whose slots all stand at the first query.
    block = bias.block(query_at, query_length, key_at, key_length, row=1)
    found = np.broadcast_to(block, (1, *expected.shape[1:]))
    np.testing.assert_allclose(found, expected[1:], rtol=1e-6)
    step = np.broadcast_to(bias.of_first_query(KEYS), SHAPE)
    np.testing.assert_allclose(step[:, :, 0], whole[:, :, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_slopes_count_distances_in_float32(dtype):
    slopes = ops.cast([0.3, 11.0], dtype)
    offset = 40_000  # beyond float16
    bias = LinearDistanceBias(slopes, offset).block(0, 1, 0, 7)
    exact = np.array(ops.cast(slopes, "float32"), "float64")
    expected = -exact[:, None, None] * (offset + np.arange(7.0))
    np.testing.assert_allclose(bias, expected, rtol=1e-6)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("implementation", ["dense", "blockwise"])
def test_gradient_of_half_slopes_is_half(implementation):
    import tensorflow as tf

    x = tf.cast(tf.reshape(tf.range(70.0) / 70, (1, 5, 2, 7)), "bfloat16")
    slopes = tf.constant([0.5, 0.25], "bfloat16")
    with tf.GradientTape() as tape:
        tape.watch(slopes)
        output = attend(
            query=x,
            key=x,
            value=x,
            bias=LinearDistanceBias(slopes),
            implementation=implementation,
        )
    gradient = tape.gradient(output, slopes)
    assert gradient.dtype == "bfloat16"
    assert np.abs(gradient).min() > 0


def test_bias_of_one_number_changes_nothing_and_is_accepted():
    x = np.random.default_rng(41).normal(size=(2, 3, 5, 7)).astype("float32")
    plain = attend(query=x, key=x, value=x)
    for bias in (np.float32(3.0), np.full((1,), 3.0, "float32")):
        np.testing.assert_allclose(
            attend(query=x, key=x, value=x, bias=bias), plain, atol=1e-5
        )


@pytest.mark.parametrize(
    "make",
    [
        lambda draw: (lambda x: DistanceBias(x, 4), draw(1, 9)),
        # One number for all rows may have an axis.
        lambda draw: (lambda x: DistanceBias(x, np.array([4])), draw(HEADS, 9)),
        lambda draw: (lambda x: LinearDistanceBias(x, 1), draw(1)),
        lambda draw: (
            lambda x: QueryDistanceBias(x, 2),
            draw(1, 1, QUERIES, 5),
        ),
        lambda draw: (
            lambda x: QueryDistanceBias(x, 2),
            draw(BATCH, HEADS, 1, 5),
        ),
    ],
    ids=["head", "zero", "slope", "row", "query"],
)
def test_shared_numbers_get_the_sum_of_all_gradients(make, gradients):
    random = np.random.default_rng(41)

    def draw(*shape):
        return random.normal(size=shape).astype("float32")

    bias_of, numbers = make(draw)
    query, key, value = (
        draw(BATCH, length, HEADS, 4) for length in (QUERIES, KEYS, KEYS)
    )

    def loss(tensors, implementation):
        output = attend(
            query=query,
            key=key,
            value=value,
            bias=bias_of(tensors["numbers"]),
            implementation=implementation,
        )
        return ops.sum(ops.sin(output))

    tensors = {"numbers": ops.convert_to_tensor(numbers)}
    found, expected = (
        gradients(functools.partial(loss, implementation=name), tensors)
        for name in ("blockwise", "dense")
    )
    np.testing.assert_allclose(found["numbers"], expected["numbers"], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_bias_is_added_in_float32(dtype):
    # 2048 and 2049 are one number in float16 and in bfloat16.
    query = ops.cast([[[[1.0]]]], dtype)
    key = ops.cast([[[[2048.0]], [[2048.0]]]], dtype)
    bias = ops.convert_to_tensor([[0.0, 1.0]], dtype="float32")
    _, weights = attend(
        query=query, key=key, value=key, bias=bias, return_weights=True
    )
    weights = np.asarray(weights).astype("float32").ravel()
    np.testing.assert_allclose(weights, [0.26894, 0.73106], rtol=5e-3)


def test_as_bias_wraps_tensors_alone():
    bias = DistanceBias(np.ones((3, 5), "float32"), 2)
    assert biases.as_bias(bias) is bias
    assert biases.as_bias(None) is None
    wrapped = biases.as_bias([[1.0, 2.0]])
    assert keras.ops.is_tensor(wrapped.tensor)
    assert biases.as_bias(wrapped) is wrapped


def test_slots_of_a_step_have_queries_of_their_own_at_one_position():
    values = np.random.default_rng(43).normal(size=(2, 3, 5, 4))
    found = QueryDistanceBias(values, np.array([1, -2])).of_first_query(7)
    for row, head, slot, key in np.ndindex(2, 3, 5, 7):
        index = min(max(key + (1, -2)[row], 0), 3)
        assert found[row, head, slot, key] == values[row, head, slot, index]


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (DistanceBias, (9,), r"`values` must .* \(num_heads, num_distances\)"),
        (DistanceBias, (3, 9, 1), r"`values` must have shape \(num_heads, num"),
        (LinearDistanceBias, (3, 1), r"`slopes` must have shape \(num_heads,"),
        (QueryDistanceBias, (3, 9), r"`values` must have shape \(batch, num_"),
    ],
)
def test_bias_refuses_a_tensor_of_another_shape(kind, shape, message):
    with pytest.raises(ValueError, match=message):
        kind(np.ones(shape), 4)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (DistanceBias(np.ones((3, 5)), [1, 2, 3]), "`bias.zero` must be one"),
        (DistanceBias(np.ones((4, 5)), 1), "`bias.values` must broadcast"),
        (LinearDistanceBias(np.ones(3), [[1]]), "`bias.offset` must be one"),
        (LinearDistanceBias(np.ones(5)), "`bias.slopes` must broadcast"),
        (QueryDistanceBias(np.ones((2, 3, 7, 4)), 1), "`bias.values` must"),
    ],
)
def test_bias_must_fit_the_scores(bias, message):
    with pytest.raises(ValueError, match=message):
        bias.check(SHAPE)
    with pytest.raises(TypeError, match="does not define `block`"):
        biases.Bias().block(0, 1, 0, 1)
