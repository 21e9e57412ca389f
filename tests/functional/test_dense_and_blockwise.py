"""Dense and blockwise `attend` agree on whatever may be asked of them.

Hypothesis draws the question: sizes from no position to more than a block,
masks of every kind and what `&` and `|` make of them, biases that hide keys,
and all options at once. Only the public API is used.
"""

import hypothesis
import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import strategies
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional import blockwise

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
DTYPES = ["float32", "float16", "bfloat16"]
if IS_TENSORFLOW:
    DTYPES.append("float64")  # JAX has none by default
# JAX compiles each example for long.
EXAMPLES = 16 if IS_TENSORFLOW else 4
SHORT = strategies.integers(0, 40)
LENGTHS = strategies.tuples(SHORT, SHORT)  # of queries and keys
if IS_TENSORFLOW:
    LENGTHS |= strategies.sampled_from([(257, 3), (5, 1031), (257, 521)])


@strategies.composite
def one_mask(draw, batch, heads, queries, keys):
    """A mask of any kind, its tensors as large as they may be, or shared."""
    random = np.random.default_rng(draw(strategies.integers(0, 99)))
    rows = draw(strategies.sampled_from([batch, 1]))

    def counts(most):
        return random.integers(0, most + 1, rows)

    def flags(*shape):
        return random.random(shape) < draw(strategies.sampled_from([0.1, 0.8]))

    def ids(length):
        return np.sort(random.integers(0, 5, (rows, length)), axis=1)

    offset = draw(strategies.integers(-queries, keys))
    offsets = random.integers(-queries, keys + 1, rows)
    size = strategies.none() | strategies.integers(0, keys)
    kind = draw(strategies.sampled_from(KINDS))
    match kind:
        case masks.Causal:
            return kind(draw(strategies.sampled_from([offset, offsets])))
        case masks.SlidingWindow:
            return kind(draw(size), draw(size), offset)
        case masks.PrefixLM:
            return kind(counts(keys), offset)
        case masks.Lengths:
            return kind(counts(keys))
        case masks.Padding:
            return kind(flags(rows, keys))
        case masks.QueryPadding:
            return kind(flags(rows, queries))
        case masks.Segments:
            return kind(ids(queries), ids(keys))
    leading = draw(strategies.sampled_from([(), (rows,), (rows, heads)]))
    return kind(flags(*leading, queries, keys))


KINDS = [
    masks.Causal,
    masks.SlidingWindow,
    masks.PrefixLM,
    masks.Lengths,
    masks.Padding,
    masks.QueryPadding,
    masks.Segments,
    masks.Array,
]


def any_mask(*shape):
    """None, a mask of any kind, or up to three of them joined."""
    joined = strategies.recursive(
        one_mask(*shape),
        lambda parts: strategies.builds(
            lambda kind, pair: kind(pair),
            strategies.sampled_from([masks.And, masks.Or]),
            strategies.tuples(parts, parts),
        ),
        max_leaves=3,
    )
    return strategies.none() | joined


@strategies.composite
def questions(draw, lengths=LENGTHS):
    """Returns (arrays by name, settings): a call of `attend`, to be built."""

    def number(most):
        return draw(strategies.integers(1, most))

    batch, kv_heads, width, value_dim = (number(n) for n in (2, 2, 7, 7))
    heads = kv_heads * number(2)
    queries, keys = draw(lengths)
    shapes = {
        "query": (batch, queries, heads, width),
        "key": (batch, keys, kv_heads, width),
        "value": (batch, keys, kv_heads, value_dim),
    }
    has_sink, is_additive = (draw(strategies.booleans()) for _ in range(2))
    full = (batch, heads, queries, keys)
    bias = draw(strategies.sampled_from(["none", "tensor", "distance"]))
    if bias == "tensor":
        kept = [draw(strategies.booleans()) for _ in full]
        pairs = zip(full, kept, strict=True)
        shapes["bias"] = tuple(n if keep else 1 for n, keep in pairs)
    elif bias == "distance":
        shapes["distances"] = (heads, number(30))
    if has_sink:
        shapes["sink"] = (heads,)
    if is_additive:
        shapes["vector"] = draw(
            strategies.sampled_from([(width,), (heads, width)])
        )
    settings = {
        "mask": draw(any_mask(*full)),
        "logit_soft_cap": draw(strategies.sampled_from([None, 1.5])),
        "rate": draw(strategies.sampled_from([0.0, 0.0, 0.3])),
        "zero": draw(strategies.integers(0, 29)),
    }
    random = np.random.default_rng(draw(strategies.integers(0, 99)))
    arrays = {name: random.normal(size=s) for name, s in shapes.items()}
    if bias == "tensor":
        hidden = draw(strategies.sampled_from([0.0, 0.2, 1.0]))
        arrays["bias"][random.random(shapes["bias"]) < hidden] = -np.inf
    return arrays, settings


def answer(tensors, settings, implementation):
    """Calls `attend` with what was drawn."""
    tensors, settings = dict(tensors), dict(settings)
    rate, zero = settings.pop("rate"), settings.pop("zero")
    if "distances" in tensors:
        values = tensors.pop("distances")
        zero = min(zero, values.shape[1] - 1)
        settings["bias"] = functional.DistanceBias(values, zero)
    if "vector" in tensors:
        settings["score"] = functional.AdditiveScore(tensors.pop("vector"))
    if rate:
        settings["dropout"] = functional.Dropout(rate, seed=7)
    return attend(**tensors, **settings, implementation=implementation)


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(
    question=questions(),
    dtype=strategies.sampled_from(DTYPES),
    schedule=strategies.sampled_from([blockwise.TILES, blockwise.BATCH]),
)
def test_dense_and_blockwise_agree(gradients, question, dtype, schedule):
    # Kernels that are compiled by themselves cost seconds for each new shape.
    with functional.portable(), blockwise.schedule(schedule):
        check_agreement(gradients, *question, dtype)


def check_agreement(gradients, arrays, settings, dtype):
    tensors = {
        name: ops.cast(ops.convert_to_tensor(array, dtype="float32"), dtype)
        for name, array in arrays.items()
    }
    batch, queries, heads, _ = arrays["query"].shape
    shape = (batch, queries, heads, arrays["value"].shape[-1])
    upstream = np.random.default_rng(1).normal(size=shape).astype("float32")

    def results(implementation):
        def loss(tensors):
            output = answer(tensors, settings, implementation)
            precise = "float64" if dtype == "float64" else "float32"
            output = ops.cast(output, precise)
            return ops.sum(output * ops.cast(upstream, precise))

        output = answer(tensors, settings, implementation)
        assert keras.backend.standardize_dtype(output.dtype) == dtype
        return {"output": output, **gradients(loss, tensors)}

    assert_agree(results("blockwise"), results("dense"), dtype)


def assert_agree(actual, expected, dtype):
    rounding = float(ml_dtypes.finfo(dtype).eps)
    # Sums of a block at a time round elsewhere than sums of a whole row.
    tolerance = 2 * rounding + (1e-12 if dtype == "float64" else 3e-5)
    for name, wanted in expected.items():
        found, wanted = (as_array(x) for x in (actual[name], wanted))
        size = max(1.0, np.abs(wanted).max(initial=0))
        np.testing.assert_allclose(
            found, wanted, rtol=0, atol=tolerance * size, err_msg=name
        )


def as_array(tensor):
    if tensor is None:
        return np.zeros(())  # what is dropped or hidden altogether
    precise = "float64" if IS_TENSORFLOW else "float32"
    return ops.convert_to_numpy(ops.cast(tensor, precise)).astype("float64")


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("path", ["eager", "graph", "xla"])
@pytest.mark.parametrize("score", ["dot product", "additive"])
def test_second_derivative_of_what_auto_chose_is_refused(score, path):
    import tensorflow as tf

    def second(x, vector):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                settings = {}
                if score == "additive":
                    settings["score"] = functional.AdditiveScore(vector)
                output = attend(query=x, key=x, value=x, **settings)
                loss = tf.reduce_sum(tf.square(output))
            gradient = tf.reduce_sum(inner.gradient(loss, x))
        return outer.gradient(gradient, x)

    if path != "eager":
        second = tf.function(second, jit_compile=path == "xla", autograph=False)
    with pytest.raises(ValueError, match="must be 'dense' where second"):
        second(tf.ones((1, 1031, 1, 3)), tf.ones(3))


@pytest.mark.parametrize("score", ["dot product", "additive"])
def test_second_derivative_of_dense_is_right(score, gradients):
    random = np.random.default_rng(2)
    tensors = {
        "query": ops.convert_to_tensor(random.normal(size=(1, 5, 1, 3))),
        "key": ops.convert_to_tensor(random.normal(size=(1, 7, 1, 3))),
        "value": ops.convert_to_tensor(random.normal(size=(1, 7, 1, 2))),
        "vector": ops.convert_to_tensor(random.normal(size=(3,))),
    }
    if not IS_TENSORFLOW:
        tensors = {k: ops.cast(v, "float32") for k, v in tensors.items()}

    def loss(tensors):
        tensors = dict(tensors)
        vector = tensors.pop("vector")
        settings = {"mask": masks.Causal(1), "implementation": "dense"}
        if score == "additive":
            settings["score"] = functional.AdditiveScore(vector)
        else:
            tensors["query"] = tensors["query"] * vector
        return ops.sum(ops.square(attend(**tensors, **settings)))

    def slope(tensors):
        return ops.sum(ops.square(gradients(loss, tensors)["query"]))

    found = gradients(slope, tensors)
    step = 1e-5 if IS_TENSORFLOW else 1e-2
    for name, tensor in tensors.items():
        direction = random.normal(size=tensor.shape)
        moved = [
            slope({**tensors, name: tensor + sign * step * direction})
            for sign in (1.0, -1.0)
        ]
        expected = (float(moved[0]) - float(moved[1])) / (2 * step)
        actual = float(ops.sum(found[name] * direction))
        tolerance = 1e-6 if IS_TENSORFLOW else 2e-2
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=1e-3)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("name", ["key", "value", "sink"])
def test_variables_are_as_good_as_tensors(name):
    random = np.random.default_rng(2)
    shapes = {
        "query": (2, 5, 3, 7),
        "key": (2, 11, 3, 7),
        "value": (2, 11, 3, 7),
        "sink": (3,),
    }
    tensors = {
        key: random.normal(size=shape).astype("float32")
        for key, shape in shapes.items()
    }
    expected = attend(**tensors, implementation="dense")
    tensors[name] = keras.Variable(tensors[name])
    found = attend(**tensors, implementation="blockwise")
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "path", [pytest.param("eager", marks=pytest.mark.exhaustive), "graph"]
)
def test_second_derivative_of_long_additive_scores_is_refused(path):
    import tensorflow as tf

    def second(x, vector):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                output = attend(
                    query=x,
                    key=x,
                    value=x,
                    score=functional.AdditiveScore(vector),
                    implementation="dense",
                )
                loss = tf.reduce_sum(tf.square(output))
            gradient = tf.reduce_sum(inner.gradient(loss, x))
        return outer.gradient(gradient, x)

    if path == "graph":
        second = tf.function(second, autograph=False)
    with pytest.raises(ValueError, match="second derivatives are taken of"):
        second(tf.ones((1, 257, 1, 3)), tf.ones(3))
