"""Monotonic alignments and chunks, against loops in float64."""

import numpy as np
import pytest
from alignment_reference import aligned
from alignment_reference import chunked
from finite_differences import derivative_by_differences
from finite_differences import gradients
from hypothesis import given
from hypothesis import strategies as st
from keras import ops
from models.small_models import run

from keras_attention.functional import chunk_alignment
from keras_attention.functional import monotonic_alignment
from keras_attention.functional import random_uniform
from keras_attention.functional.dropout import random_normal

BATCH, QUERIES, KEYS = 2, 3, 11


def numbers(seed=3, keys=KEYS):
    generator = np.random.default_rng(seed)
    shape = (BATCH, QUERIES, keys)
    previous = generator.random(shape)
    previous /= previous.sum(axis=-1, keepdims=True)
    return generator.random(shape), previous, generator.normal(size=shape)


@pytest.mark.parametrize(
    "mode", ["eager", pytest.param("graph", marks=pytest.mark.tensorflow_only)]
)
@pytest.mark.parametrize("keys", [0, 1, KEYS])
def test_monotonic_alignment_is_the_recurrence(keys, mode):
    probabilities, previous, _ = numbers(keys=keys)
    if keys > 5:
        probabilities[0, :, 2:5] = [1.0, 0.0, 1.0]
    found = run(mode, monotonic_alignment, probabilities, previous)
    expected = aligned(probabilities, previous)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(st.integers(1, 40), st.data())
def test_hard_alignment_is_the_first_key_that_stops(length, data):
    stops = data.draw(st.lists(st.booleans(), min_size=length, max_size=length))
    start = data.draw(st.integers(0, length - 1))
    found = monotonic_alignment(
        np.float32(stops), np.float32(np.arange(length) == start)
    )
    later = [key for key in range(start, length) if stops[key]]
    expected = np.arange(length) == (later[0] if later else -1)
    np.testing.assert_array_equal(found, expected)


def test_alignment_keeps_to_itself_what_float32_can_hold():
    """A long source, where a product of all 1 - p underflows."""
    probabilities = np.full((1, 4001), 0.5, "float32")
    probabilities[0, 17] = 1.0
    previous = np.zeros_like(probabilities)
    previous[0, 3000] = 1.0
    found = np.array(monotonic_alignment(probabilities, previous))
    expected = 0.5 ** np.arange(1, 20)
    np.testing.assert_allclose(found[0, 3000:3019], expected, rtol=1e-6)
    assert not found[0, :3000].any()


@pytest.mark.parametrize(
    "mode",
    [
        "eager",
        pytest.param("dynamic", marks=pytest.mark.tensorflow_only),
    ],
)
def test_gradient_of_alignment_is_that_of_differences(mode):
    probabilities, previous, upstream = numbers()
    probabilities[0, 0, 2:5] = [1.0, 0.0, 1.0]

    def both(*arrays):
        return gradients(monotonic_alignment, arrays, upstream)

    if mode == "dynamic":
        import tensorflow as tf

        spec = tf.TensorSpec((None, None, None), "float64")
        both = tf.function(
            both,
            input_signature=[spec, spec],
            jit_compile=True,
            autograph=False,
        )
    found = both(probabilities, previous)
    expected = [
        derivative_by_differences(
            lambda moved: aligned(moved, previous), probabilities, upstream
        ),
        derivative_by_differences(
            lambda moved: aligned(probabilities, moved), previous, upstream
        ),
    ]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, KEYS + 2])
def test_chunk_alignment_is_the_sum_over_chunks(size):
    monotonic, _, scores = numbers()
    visible = np.random.default_rng(5).random(scores.shape) < 0.7
    visible[0, 0, 3:8] = False
    found = chunk_alignment(monotonic, scores, size, visible)
    expected = chunked(monotonic, scores, size, visible)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    everything = chunk_alignment(monotonic, scores, size)
    expected = chunked(monotonic, scores, size, np.ones_like(visible))
    np.testing.assert_allclose(everything, expected, atol=1e-6)
    # All of the mass is in the chunks.
    np.testing.assert_allclose(
        ops.sum(everything, axis=-1), monotonic.sum(axis=-1), rtol=1e-5
    )


def test_chunk_alignment_of_distant_scores():
    """A softmax over all keys would leave the second chunk nothing."""
    scores = np.float32([[[50.0, 49.0, -400.0, -400.0]]])
    monotonic = np.float32([[[0.0, 0.5, 0.0, 0.5]]])
    found = chunk_alignment(monotonic, scores, 2)
    high = 0.5 / (1 + np.exp(-1))
    expected = [[[high, 0.5 - high, 0.25, 0.25]]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_gradient_of_chunks_is_that_of_differences():
    monotonic, _, scores = numbers()
    upstream = numbers(seed=7)[2]
    visible = np.random.default_rng(5).random(scores.shape) < 0.7
    visible[0, 0, 3:8] = False
    found = gradients(
        lambda *arrays: chunk_alignment(*arrays, 3, visible),
        (monotonic, scores),
        upstream,
    )
    expected = [
        derivative_by_differences(
            lambda moved: chunked(moved, scores, 3, visible),
            monotonic,
            upstream,
        ),
        derivative_by_differences(
            lambda moved: chunked(monotonic, moved, 3, visible),
            scores,
            upstream,
        ),
    ]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_sparse_chunk_has_a_threshold():
    scores = np.float32([[[0.0, 2.0, 1.9]]])
    monotonic = np.float32([[[0.0, 0.0, 1.0]]])
    found = chunk_alignment(monotonic, scores, 3, normalizer="sparsemax")
    np.testing.assert_allclose(found, [[[0.0, 0.55, 0.45]]], atol=1e-6)


def test_random_normal_is_normal():
    index = np.arange(20011)
    found = np.sort(np.asarray(random_normal(3, index)))
    assert abs(found.mean()) < 0.02
    assert abs(found.std() - 1) < 0.02
    below = [np.mean(found < edge) for edge in (-2.0, -1.0, 0.5)]
    np.testing.assert_allclose(below, [0.0228, 0.1587, 0.6915], atol=0.01)
    # Another coordinate draws other numbers.
    other = np.asarray(random_uniform(3, index, 1))
    assert abs(np.corrcoef(random_uniform(3, index), other)[0, 1]) < 0.03
