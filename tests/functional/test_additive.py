"""The additive kernel says what the formula with the units axis says."""

import re

import keras
import numpy as np
import pytest
from keras import ops
from test_blockwise import assert_all_close
from test_blockwise import few
from test_blockwise import numbers
from test_blockwise import value_and_gradients

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import additive
from keras_attention.functional import kernels
from keras_attention.functional.blockwise import attend_blockwise

B, T, S, K, U, V = 2, 7, 11, 2, 19, 5
BLOCK_SIZES = (4, 5)
IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
PATH = "eager" if IS_TENSORFLOW else "xla"

MASKS = {
    "none": lambda: None,
    "causal": lambda: masks.Causal(2),
    "lengths with an empty row": lambda: masks.Lengths(np.array([0, 6])),
}


def arrays_of(groups=1, vector_shape=(U,)):
    return [
        numbers(B, T, K * groups, U, seed=1),
        numbers(B, S, K, U, seed=2),
        numbers(B, S, K, V, seed=3),
        numbers(*vector_shape, seed=4),
    ]


def blockwise(mask=None, dropout=None):
    def attend(query, key, value, vector):
        score = functional.AdditiveScore(vector)
        return attend_blockwise(
            query,
            key,
            value,
            score,
            mask,
            dropout=dropout,
            block_sizes=BLOCK_SIZES,
        )

    return attend


def dense(mask=None, dropout=None):
    """The formula as it stands: at these sizes attend() uses no kernel."""

    def attend(query, key, value, vector):
        return functional.attend(
            query=query,
            key=key,
            value=value,
            score=functional.AdditiveScore(vector),
            mask=mask,
            dropout=dropout,
            implementation="dense",
        )

    return attend


@pytest.mark.parametrize("mask", few(MASKS, "lengths with an empty row"))
@pytest.mark.parametrize(
    ("groups", "vector_shape"),
    [(1, (U,)), (3, (3 * K, U))],
    ids=["one vector", "grouped heads, a vector each"],
)
def test_blockwise_is_dense(mask, groups, vector_shape):
    arrays = arrays_of(groups, vector_shape)
    dropout = functional.Dropout(0.3, seed=7)
    assert_all_close(
        value_and_gradients(blockwise(MASKS[mask](), dropout), arrays, PATH),
        value_and_gradients(dense(MASKS[mask](), dropout), arrays),
    )


def pairs(query, key, vector):
    """The definition in float64 NumPy, with the units axis."""
    sums = query[:, :, None].astype("float64") + key[:, None]
    return np.moveaxis((np.tanh(sums) * vector).sum(axis=-1), 3, 1)


def test_scores_equal_the_float64_reference():
    query, key, _, vector = arrays_of()
    scores = additive.scores(
        *map(ops.convert_to_tensor, (query, key, vector))
    )  # (B, K, T, S)
    np.testing.assert_allclose(
        np.asarray(scores), pairs(query, key, vector), rtol=0, atol=1e-5
    )


def test_score_gradients_equal_finite_differences():
    query, key, _, vector = arrays_of()
    output, *gradients = value_and_gradients(
        additive.scores, [query, key, vector], PATH
    )
    weights = numbers(*output.shape, seed=9).astype("float64")
    step = 1e-6
    tensors = [query, key, vector]
    for position, gradient in enumerate(gradients):
        direction = numbers(*gradient.shape, seed=11)
        moved = []
        for sign in (1, -1):
            shifted = [x.astype("float64") for x in tensors]
            shifted[position] += sign * step * direction
            moved.append(np.sum(weights * pairs(*shifted)))
        np.testing.assert_allclose(
            np.sum(gradient * direction),
            (moved[0] - moved[1]) / (2 * step),
            rtol=1e-4,
            atol=1e-4,
        )


@pytest.mark.parametrize("scale", [30.0, 1e4])
def test_large_numbers_fall_back_to_tanh(scale):
    query, key, value, vector = arrays_of()
    arrays = [query * scale, -key * scale, value, vector]
    assert_all_close(
        value_and_gradients(blockwise(), arrays, PATH),
        value_and_gradients(dense(), arrays),
        tolerance=1e-4,
    )


def extreme_or_normal(*shape, size, seed):
    """Numbers of which every third or so is plus or minus `size`."""
    values = numbers(*shape, seed=seed)
    return np.where(abs(values) > 1, np.sign(values) * size, values)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    few({("float32", 2e-6): 0, ("float64", 1e-14): 0}, ("float32", 2e-6)),
)
@pytest.mark.parametrize(
    ("size", "is_small", "is_fused"),
    [(16.0, True, False), (16.5, False, False), (16.5, False, True)],
)
def test_kernel_on_both_sides_of_its_largest_number(
    size, is_small, dtype, tolerance, is_fused
):
    heads, queries, keys, units = 2, 19, 37, 23
    arrays = [
        extreme_or_normal(heads, queries, units, size=size, seed=1),
        extreme_or_normal(heads, keys, units, size=size, seed=2),
        numbers(heads, units, seed=3),
        numbers(heads, queries, keys, seed=4),
    ]
    arrays = [array.astype(dtype) for array in arrays]
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    small = additive.is_small(tensors[0][:, :, None], tensors[1][:, :, None])
    assert bool(small) == is_small
    kernel = additive.AdditiveKernel(small, group=1)
    if is_fused:
        kernel = kernel.on_accelerator(kernels.PLAIN)
    query, key, vector, upstream = tensors
    blocks = query[None], key[None], vector  # of one tile
    actual = [
        kernel.scores(*blocks)[0],
        *(x[0] for x in kernel.gradients(*blocks, upstream[None])[:2]),
        kernel.gradients(*blocks, upstream[None])[2],
    ]
    for one, other in zip(actual, formula(*arrays), strict=True):
        one = np.asarray(one)
        assert one.dtype == dtype
        np.testing.assert_allclose(
            one, other, rtol=0, atol=tolerance * abs(other).max()
        )


def formula(query, key, vector, upstream):
    """Scores and gradients in float64 NumPy, with the units axis."""
    vector = vector[:, None, None].astype("float64")
    tanh = np.tanh(query[:, :, None].astype("float64") + key[:, None])
    slopes = vector * (1 - tanh**2) * upstream[..., None]
    return (
        np.sum(vector * tanh, axis=3),
        np.sum(slopes, axis=2),
        np.sum(slopes, axis=1),
        np.sum(tanh * upstream[..., None], axis=(1, 2)),
    )


def test_is_small_ignores_padding():
    key = numbers(B, S, K, U)
    key[1, 6:] = 1e6
    query = numbers(B, T, K, U)
    tensors = [ops.convert_to_tensor(x) for x in (query, key)]
    assert not additive.is_small(*tensors)
    assert not additive.is_small(*tensors, masks.Causal())
    assert additive.is_small(*tensors, masks.Lengths(np.array([S, 6])))
    real = np.arange(S) < np.array([[S], [6]])
    assert additive.is_small(*tensors, masks.Padding(real) & masks.Causal())
    assert not additive.is_small(*tensors, masks.Padding(real) | masks.Causal())


def test_garbage_in_padding_changes_nothing():
    query, key, value, vector = arrays_of()
    mask = masks.Lengths(np.array([3, 6]))
    expected = value_and_gradients(
        blockwise(mask), [query, key, value, vector], PATH
    )
    key[:, 6:] = 1e6
    actual = value_and_gradients(
        blockwise(mask), [query, key, value, vector], PATH
    )
    assert_all_close(actual, expected, tolerance=1e-6)


def test_portable_gives_the_same():
    arrays = arrays_of()
    with functional.portable():
        actual = value_and_gradients(blockwise(masks.Causal()), arrays, PATH)
    expected = value_and_gradients(blockwise(masks.Causal()), arrays, PATH)
    assert_all_close(actual, expected)


def traced(function):
    """All operations of a traced call, those inside loops included."""
    import tensorflow as tf

    specs = [tf.TensorSpec(x.shape) for x in arrays_of()]
    graph = tf.function(function, autograph=False).get_concrete_function(*specs)
    return str(graph.graph.as_graph_def())


@pytest.mark.tensorflow_only
def test_portable_leaves_no_xla_in_the_graph():
    must_compile = re.compile(r'key: "_XlaMustCompile"\s*value \{\s*b: true')
    assert must_compile.search(traced(blockwise(masks.Causal())))
    with functional.portable():
        graph = traced(blockwise(masks.Causal()))
    assert not must_compile.search(graph)
    assert "Xla" not in must_compile.sub("", graph).replace(
        "_XlaMustCompile", ""
    )


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize(("queries", "are_few"), [(4, True), (9, False)])
def test_beams_of_a_step_need_no_program_for_each_length(
    queries, are_few, jit_compile, monkeypatch
):
    """The keys of a step of a decoder are as many as any source has."""
    import tensorflow as tf

    monkeypatch.setattr(additive, "UNITS_OF_FEW", 2)  # of 5, so in three parts
    generator = np.random.default_rng(3)
    shapes = (2, queries, 4, 5), (2, 7, 2, 5), (4, 5), (2, 4, queries, 7)
    arrays = [generator.normal(size=x).astype("float32") for x in shapes]

    def with_gradients(query, key, vector, upstream):
        with tf.GradientTape() as tape:
            tape.watch([query, key, vector])
            scores = functional.AdditiveScore(vector).scores(query, key)
            total = tf.reduce_sum(scores * upstream)
        return scores, *tape.gradient(total, [query, key, vector])

    signature = [
        tf.TensorSpec((None, queries, 4, 5)),
        tf.TensorSpec((None, None, 2, 5)),
        tf.TensorSpec((4, 5)),
        tf.TensorSpec((None, 4, queries, None)),
    ]
    run = tf.function(
        with_gradients,
        input_signature=signature,
        autograph=False,
        jit_compile=jit_compile or None,
    )
    kinds = {x.type for x in run.get_concrete_function().graph.get_operations()}
    assert ("Tanh" in kinds) == are_few
    query, key, vector, upstream = map(tf.constant, arrays)
    with tf.GradientTape() as tape:
        tape.watch([query, key, vector])
        keys = tf.repeat(key, 2, axis=2)
        pairs = tf.tanh(query[:, :, None] + keys[:, None]) * vector
        scores = tf.transpose(tf.reduce_sum(pairs, -1), (0, 3, 1, 2))
        total = tf.reduce_sum(scores * upstream)
    expected = scores, *tape.gradient(total, [query, key, vector])
    for one, other in zip(run(*arrays), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
