"""Blockwise attention says what dense attention says, at tiny block sizes."""

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import blockwise
from keras_attention.functional.blockwise import attend_blockwise
from keras_attention.functional.blockwise import bias_gradients
from keras_attention.functional.blockwise import question
from keras_attention.functional.blockwise.attention import current_schedule
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.dense import attend_dense

B, T, S, K, H, V = 2, 11, 13, 3, 5, 7
BLOCK_SIZES = (4, 5)
# The quickest path through many small blocks.
IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
PATH = "eager" if IS_TENSORFLOW else "xla"


FEW = ("none", "full", "per query", "distance from an end")


def few(cases, *names):
    """All cases on TensorFlow; some on JAX, which compiles each for long."""
    return list(cases) if IS_TENSORFLOW else names


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def flags(*shape, seed=0):
    return np.random.default_rng(seed).random(shape) < 0.6


def sorted_ids(*shape, seed=0):
    return np.sort(np.random.default_rng(seed).integers(0, 4, shape), axis=1)


MASKS = {
    "none": lambda: None,
    "causal": lambda: masks.Causal(),
    "causal with an offset per row": lambda: masks.Causal(np.array([2, -3])),
    "window": lambda: masks.SlidingWindow(left=2, right=1),
    "lengths with an empty row": lambda: masks.Lengths(np.array([0, 6])),
    "padding": lambda: masks.Padding(flags(B, S)),
    "query padding": lambda: masks.QueryPadding(flags(B, T)),
    "segments": lambda: masks.Segments(sorted_ids(B, T), sorted_ids(B, S)),
    "prefix": lambda: masks.PrefixLM(np.array([3, 7])),
    "array": lambda: masks.Array(flags(T, S)),
    "array per row": lambda: masks.Array(flags(B, T, S)),
    "array per key": lambda: masks.Array(flags(1, S)),
    "and": lambda: masks.Causal(1) & masks.Lengths(np.array([5, 13])),
    "or": lambda: masks.SlidingWindow(1, 1) | masks.Lengths(np.array([2, 0])),
    "global tokens": lambda: (
        masks.SlidingWindow(1, 1) | masks.GlobalTokens(np.array([2, 0]))
    ),
    "random blocks": lambda: (
        masks.SlidingWindow(0, 0) | masks.RandomBlocks(2, 2, S, seed=1)
    ),
}

# Each bias: the shape of its tensor, by number of heads, and what it becomes.
BIASES = {
    "none": (lambda n: (1,), lambda tensor: None),
    "full": (lambda n: (B, n, T, S), lambda tensor: tensor),
    "shared by rows and heads": (lambda n: (T, S), lambda tensor: tensor),
    "per key": (lambda n: (B, 1, 1, S), lambda tensor: tensor),
    "per query": (lambda n: (n, T, 1), lambda tensor: tensor),
    "one number": (lambda n: (1, 1), lambda tensor: tensor),
    "distance": (
        lambda n: (n, 9),
        lambda tensor: functional.DistanceBias(tensor, zero=4),
    ),
    "distance from an end": (
        lambda n: (n, 6),
        lambda tensor: functional.DistanceBias(tensor, zero=6),
    ),
    "distance, by rows": (
        lambda n: (n, 9),
        lambda tensor: functional.DistanceBias(tensor, np.array([3, -2])),
    ),
    "linear": (
        lambda n: (n,),
        lambda tensor: functional.LinearDistanceBias(tensor, 3),
    ),
    "linear, by rows": (
        lambda n: (n,),
        lambda tensor: functional.LinearDistanceBias(tensor, np.array([2, 5])),
    ),
    "by query": (
        lambda n: (B, n, T, 9),
        lambda tensor: functional.QueryDistanceBias(tensor, zero=4),
    ),
    "by query, by rows": (
        lambda n: (B, n, T, 6),
        lambda tensor: functional.QueryDistanceBias(tensor, np.array([4, 0])),
    ),
}


def arrays_of(bias, groups):
    heads = K * groups
    return {
        "query": numbers(B, T, heads, H, seed=1),
        "key": numbers(B, S, K, H, seed=2),
        "value": numbers(B, S, K, V, seed=3),
        "bias": numbers(*BIASES[bias][0](heads), seed=4),
        "sink": numbers(heads, seed=5),
    }


def attention(blockwise, mask, bias, cap=None, with_sink=False, rate=0.0):
    """Returns a function of tensors, blockwise or dense."""

    def attend(query, key, value, bias_tensor, sink):
        arguments = (
            query,
            key,
            value,
            functional.DotProductScore(),
            MASKS[mask](),
            functional.biases.as_bias(BIASES[bias][1](bias_tensor)),
            cap,
            sink if with_sink else None,
            functional.Dropout(rate, seed=7) if rate else None,
        )
        if blockwise:
            return attend_blockwise(*arguments, block_sizes=BLOCK_SIZES)
        return attend_dense(*arguments)[0]

    return attend


def value_and_gradients(function, arrays, path="eager"):
    """Returns the output and the gradients of sum(output * weights)."""
    arrays = [ops.convert_to_tensor(array) for array in arrays]

    def loss(*tensors):
        output = function(*tensors)
        weights = numbers(*output.shape, seed=9)
        return ops.sum(ops.cast(output, "float32") * weights), output

    if not IS_TENSORFLOW:
        import jax

        run = jax.value_and_grad(
            loss, argnums=tuple(range(len(arrays))), has_aux=True
        )
        (_, output), gradients = jax.jit(run)(*arrays)
    else:
        import tensorflow as tf

        def run(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                total, output = loss(*tensors)
            return output, tape.gradient(
                total, tensors, unconnected_gradients="zero"
            )

        if path != "eager":
            run = tf.function(run, jit_compile=path == "xla", autograph=False)
        output, gradients = run(*arrays)
    return [to_numpy(x) for x in (output, *gradients)]


def to_numpy(tensor):
    return np.asarray(ops.cast(tensor, "float32"))


def assert_all_close(actual, expected, tolerance=2e-5):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


def check_equals_dense(path, arrays, tolerance=2e-5, **case):
    actual = value_and_gradients(attention(True, **case), arrays, path)
    expected = value_and_gradients(attention(False, **case), arrays)
    assert_all_close(actual, expected, tolerance)


@pytest.mark.parametrize(
    "mask", few(MASKS, "and", "array per row", "random blocks")
)
def test_blockwise_is_dense_under_each_mask(mask):
    arrays = arrays_of("none", groups=1).values()
    check_equals_dense(PATH, arrays, mask=mask, bias="none")


MANY_BLOCKS = [
    "causal with an offset per row",
    "segments",
    "array per row",
    "global tokens",
]


@pytest.mark.parametrize(
    "mask", few(MANY_BLOCKS, "array per row", "global tokens")
)
def test_all_tiles_at_once_is_dense_under_each_mask(mask):
    arrays = arrays_of("none", groups=2).values()
    with blockwise.schedule("batch"):
        check_equals_dense(PATH, arrays, mask=mask, bias="none", rate=0.3)


# Of three blocks of queries of each row: one in a wave, or two and a spare one.
WAVES = {"one block": 1, "a spare block": 3 * K * 2 * 4 * 5}


@pytest.mark.parametrize(
    ("waves", "mask", "bias"),
    [
        pytest.param(
            *("one block", "segments", "full"), marks=pytest.mark.exhaustive
        ),
        ("a spare block", "and", "distance"),
        pytest.param(
            *("a spare block", "none", "by query, by rows"),
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_tiles_in_waves_are_dense(waves, mask, bias, monkeypatch):
    monkeypatch.setattr(question, "SCORES_PER_STEP", WAVES[waves])
    arrays = arrays_of(bias, groups=2).values()
    case = {"mask": mask, "bias": bias, "rate": 0.3, "with_sink": True}
    with blockwise.schedule("batch"):
        check_equals_dense("graph", arrays, **case)


@pytest.mark.tensorflow_only  # eager loops run Python there
@pytest.mark.parametrize(
    ("mask", "scores_per_step", "tiles"),
    # All blocks of a row wait for the one that sees most; or two; or none.
    [
        (masks.Causal(), 10**6, 2 * 8 * 8),
        (masks.Causal(), 2 * 2 * 9, 2 * 2 * (2 + 4 + 6 + 8)),
        (masks.Causal(), 1, 2 * 36),
        (masks.SlidingWindow(3, 0), 10**6, 2 * 8 * 2),
    ],
)
def test_waves_skip_what_a_mask_hides(mask, scores_per_step, tiles):
    grid = Grid(
        *(2, 24, 24, 1, 1, 3, 3, "batch"),
        kernel=None,
        mask=mask,
        scores_per_step=scores_per_step,
    )
    visited = []

    def visit(place, state):
        visited.append(len(place.tile))
        return (state,)

    def visit_tile(place, sums):
        grid.visit_keys(visit, place, (0,))
        return (ops.zeros((len(place.tile), 1, 3, 1)),), sums

    grid.visit_tiles(visit_tile, (1,), "float32", {})
    assert sum(visited) == tiles


@pytest.mark.parametrize(
    "bias",
    [
        pytest.param(name, marks=[] if name in FEW else pytest.mark.exhaustive)
        for name in few(BIASES, "per query", "distance")
    ],
)
def test_all_tiles_at_once_is_dense_with_each_bias(bias):
    arrays = arrays_of(bias, groups=2).values()
    with blockwise.schedule("batch"):
        check_equals_dense(PATH, arrays, mask="and", bias=bias, with_sink=True)


@pytest.mark.parametrize("bias", list(BIASES)[1:])
def test_gradient_of_a_bias_from_that_of_all_scores(bias):
    arrays = arrays_of(bias, groups=1)
    upstream = numbers(B, K, T, S, seed=6)
    given = functional.biases.as_bias(BIASES[bias][1](arrays["bias"]))
    reader, tensor = bias_gradients.part(given, arrays["query"])

    def total(tensor):
        return ops.sum(reader.whole(tensor).block(0, T, 0, S) * upstream)

    if IS_TENSORFLOW:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensor)
            loss = total(tensor)
        expected = tape.gradient(loss, tensor)
    else:
        import jax

        expected = jax.grad(total)(tensor)
    found = reader.sum_whole(tensor, ops.convert_to_tensor(upstream))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("bias", few(BIASES, "per key", "by query, by rows"))
def test_blockwise_is_dense_with_each_bias(bias):
    arrays = arrays_of(bias, groups=2).values()
    check_equals_dense(PATH, arrays, mask="window", bias=bias)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("path", ["graph", "xla"])
@pytest.mark.parametrize("schedule", ["tiles", "batch"])
def test_blockwise_is_dense_when_compiled(schedule, path):
    arrays = arrays_of("distance", groups=2).values()
    with blockwise.schedule(schedule):
        check_equals_dense(
            path,
            arrays,
            mask="and",
            bias="distance",
            cap=2.0,
            with_sink=True,
            rate=0.3,
        )


@hypothesis.settings(max_examples=5 if IS_TENSORFLOW else 3)
@hypothesis.given(
    mask=strategies.sampled_from(sorted(MASKS)),
    bias=strategies.sampled_from(sorted(BIASES)),
    cap=strategies.sampled_from([None, 1.5]),
    with_sink=strategies.booleans(),
    rate=strategies.sampled_from([0.0, 0.3]),
    groups=strategies.sampled_from([1, 2]),
    schedule=strategies.sampled_from(["tiles", "batch"]),
)
def test_blockwise_is_dense_for_all_options_together(groups, schedule, **case):
    arrays = arrays_of(case["bias"], groups).values()
    with blockwise.schedule(schedule):
        check_equals_dense(PATH, arrays, **case)


def test_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="`name` must be.*Received: name="):
        with blockwise.schedule("rows"):
            pass


def test_processors_visit_tile_by_tile():
    assert current_schedule() == "tiles"
    with blockwise.schedule("batch"):
        assert current_schedule() == "batch"
    assert current_schedule() == "tiles"


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float16", 2e-3), ("bfloat16", 2e-2), ("float64", 1e-12)],
)
def test_blockwise_is_dense_in_each_dtype(dtype, tolerance):
    if dtype == "float64" and not IS_TENSORFLOW:
        dtype, tolerance = "float32", 2e-5  # JAX has no float64 by default
    arrays = [
        ops.cast(array, dtype) for array in arrays_of("full", groups=2).values()
    ]
    case = {"mask": "and", "bias": "full", "cap": 2.0, "with_sink": True}
    output = attention(True, **case)(*arrays)
    expected = attention(False, **case)(*arrays)
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    np.testing.assert_allclose(
        np.asarray(ops.cast(output, "float64" if IS_TENSORFLOW else "float32")),
        np.asarray(
            ops.cast(expected, "float64" if IS_TENSORFLOW else "float32")
        ),
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize("schedule", ["tiles", "batch"])
def test_blockwise_half_precision_gradients_follow_float32(schedule):
    arrays = list(arrays_of("none", groups=1).values())
    halves = [ops.cast(array, "bfloat16") for array in arrays]
    case = {"mask": "causal", "bias": "none"}
    with blockwise.schedule(schedule):
        _, *gradients = value_and_gradients(
            attention(True, **case), halves, PATH
        )
    rounded = [to_numpy(half) for half in halves]
    _, *expected = value_and_gradients(attention(False, **case), rounded)
    assert_all_close(gradients, expected, tolerance=5e-2)


def reference(arrays, visible, cap):
    """The definition in float64 NumPy: softmax over what is visible."""
    query, key, value, bias, sink = (x.astype("float64") for x in arrays)
    key = np.repeat(key, query.shape[2] // K, axis=2)
    value = np.repeat(value, query.shape[2] // K, axis=2)
    scores = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(H)
    scores = cap * np.tanh(scores / cap) + bias
    powers = np.exp(scores) * visible
    total = powers.sum(axis=-1, keepdims=True) + np.exp(sink)[:, None, None]
    return np.einsum("bnts,bsnv->btnv", powers / total, value)


def test_blockwise_equals_the_float64_reference():
    arrays = list(arrays_of("full", groups=2).values())
    visible = np.arange(S) < np.array([0, 6])[:, None, None, None]
    function = attention(
        True, "lengths with an empty row", "full", cap=1.5, with_sink=True
    )
    np.testing.assert_allclose(
        np.asarray(function(*arrays)),
        reference(arrays, visible, cap=1.5),
        rtol=0,
        atol=2e-6,
    )


def test_blockwise_gradients_equal_finite_differences():
    arrays = list(arrays_of("full", groups=2).values())
    visible = np.arange(S) < np.array([0, 6])[:, None, None, None]
    function = attention(
        True, "lengths with an empty row", "full", cap=1.5, with_sink=True
    )
    output, *gradients = value_and_gradients(function, arrays, PATH)
    weights = numbers(*output.shape, seed=9).astype("float64")
    step = 1e-6
    for position, gradient in enumerate(gradients):
        direction = numbers(*arrays[position].shape, seed=11)
        moved = [
            np.sum(
                weights
                * reference(
                    [
                        x.astype("float64") + sign * step * direction
                        if index == position
                        else x
                        for index, x in enumerate(arrays)
                    ],
                    visible,
                    cap=1.5,
                )
            )
            for sign in (1, -1)
        ]
        expected = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(
            np.sum(gradient * direction), expected, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("with_sink", [False, True])
def test_blockwise_row_with_nothing_to_see_is_zero(with_sink):
    arrays = arrays_of("full", groups=1).values()
    output, query, key, value, bias, _ = value_and_gradients(
        attention(
            True, "lengths with an empty row", "full", with_sink=with_sink
        ),
        arrays,
        PATH,
    )
    for tensor in (output, query, key, value, bias):
        assert not tensor[0].any()
        assert tensor[1].any()


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_blockwise_of_lengths_not_known_before(jit_compile):
    import tensorflow as tf

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, K, H)),
            tf.TensorSpec((None, None, K, H)),
            tf.TensorSpec((None, None, K, V)),
            tf.TensorSpec((None, None, None, None)),
        ],
        jit_compile=jit_compile,
        autograph=False,
    )
    def attend(query, key, value, bias):
        with tf.GradientTape() as tape:
            tape.watch([query, key, value, bias])
            output = attend_blockwise(
                query,
                key,
                value,
                functional.DotProductScore(),
                masks.Causal(),
                functional.biases.TensorBias(bias),
                block_sizes=BLOCK_SIZES,
            )
            loss = tf.reduce_sum(output * output)
        return output, *tape.gradient(loss, [query, key, value, bias])

    for queries, keys in ((5, 7), (2, 1), (9, 3)):
        for shape in ((B, 1, queries, keys), (1, 1, 1, keys)):
            arrays = [
                numbers(B, queries, K, H, seed=1),
                numbers(B, keys, K, H, seed=2),
                numbers(B, keys, K, V, seed=3),
                numbers(*shape, seed=4),
            ]
            tensors = [tf.constant(x) for x in arrays]
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                expected = functional.attend(
                    query=tensors[0],
                    key=tensors[1],
                    value=tensors[2],
                    bias=tensors[3],
                    mask=masks.Causal(),
                    implementation="dense",
                )
                loss = tf.reduce_sum(expected * expected)
            gradients = tape.gradient(loss, tensors)
            for one, other in zip(
                attend(*arrays), (expected, *gradients), strict=True
            ):
                np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


class SeesMultiplesOf(masks.Mask):
    """A mask of somebody else's: only `block`, of all rows at once."""

    def block(self, query_start, query_length, key_start, key_length):
        key = key_start + ops.arange(key_length, dtype="int32")
        divisor = ops.convert_to_tensor([2, 3], dtype="int32")
        visible = key % divisor[:, None] == 0  # (B, J)
        return visible[:, None, None, :]


def test_blockwise_takes_a_mask_that_only_defines_block():
    query, key, value, _, _ = arrays_of("none", groups=1).values()
    arguments = (query, key, value, functional.DotProductScore())
    output = attend_blockwise(
        *map(ops.convert_to_tensor, arguments[:3]),
        arguments[3],
        SeesMultiplesOf(),
        block_sizes=BLOCK_SIZES,
    )
    visible = np.arange(S) % np.array([[2], [3]]) == 0
    expected = functional.attend(
        query=query,
        key=key,
        value=value,
        mask=visible[:, None, None, :],
        implementation="dense",
    )
    np.testing.assert_allclose(
        np.asarray(output), np.asarray(expected), rtol=0, atol=2e-6
    )


def test_attend_blockwise_refuses_to_return_weights():
    arrays = arrays_of("none", groups=1)
    with pytest.raises(
        ValueError, match="`return_weights` must be False.*return_weights=True"
    ):
        functional.attend(
            query=arrays["query"],
            key=arrays["key"],
            value=arrays["value"],
            return_weights=True,
            implementation="blockwise",
        )


@pytest.mark.tensorflow_only
def test_second_derivative_is_refused():
    import tensorflow as tf

    query = tf.constant(numbers(1, 2, 1, 3))
    with tf.GradientTape() as outer:
        outer.watch(query)
        with tf.GradientTape() as inner:
            inner.watch(query)
            output = functional.attend(
                query=query, key=query, value=query, implementation="blockwise"
            )
            loss = tf.reduce_sum(output**2)
        gradient = inner.gradient(loss, query)
    with pytest.raises(ValueError, match="must be 'dense' where second"):
        outer.gradient(gradient, query)


@pytest.mark.parametrize("size", [2**31 - 1, 2**70], ids=["int32", "wider"])
def test_a_window_wider_than_any_sequence_hides_nothing(size):
    generator = np.random.default_rng(3)
    x = generator.normal(size=(2, 300, 1, 4)).astype("float32")
    arguments = {"query": x, "key": x, "value": x}
    for mask, same in (
        (masks.SlidingWindow(2, size), masks.SlidingWindow(2, None)),
        (masks.SlidingWindow(size, 2), masks.SlidingWindow(None, 2)),
    ):
        expected = functional.attend(
            **arguments, mask=same, implementation="dense"
        )
        for implementation in ("dense", "blockwise"):
            found = functional.attend(
                **arguments, mask=mask, implementation=implementation
            )
            np.testing.assert_allclose(found, expected, atol=1e-5)
