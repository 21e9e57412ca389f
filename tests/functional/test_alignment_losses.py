"""Alignment losses against the papers' sums, in loops of float64."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.functional import diagonal_alignment
from keras_attention.functional import diagonal_alignment_loss
from keras_attention.functional import guided_alignment_loss

B, T, S = 3, 5, 7
TARGET_LENGTHS, SOURCE_LENGTHS = (5, 2, 0), (4, 7, 3)
TARGET_MASK = np.arange(T) < np.array(TARGET_LENGTHS)[:, None]
SOURCE_MASK = np.arange(S) < np.array(SOURCE_LENGTHS)[:, None]


def random_weights(seed=2):
    draw = np.random.default_rng(seed)
    weights = np.exp(draw.standard_normal((B, T, S)))
    weights *= TARGET_MASK[..., None] * SOURCE_MASK[:, None]
    return weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-30)


def random_alignment(seed=4):
    """0, 1 or several sources for a target; some in the padding."""
    draw = np.random.default_rng(seed)
    return (draw.random((B, T, S)) < 0.3).astype("int32")


def expected_guided(weights, alignment, kind):
    loss = np.zeros((B, T))
    for b in range(B):
        for t in range(TARGET_LENGTHS[b]):
            row = alignment[b, t, : SOURCE_LENGTHS[b]].astype("float64")
            if not row.sum():
                continue
            row /= row.sum()
            for s in range(SOURCE_LENGTHS[b]):
                if kind == "cross_entropy":
                    loss[b, t] -= row[s] * np.log(weights[b, t, s])
                else:
                    gap = row[s] - weights[b, t, s]
                    loss[b, t] += gap**2 / SOURCE_LENGTHS[b]
    return loss


def expected_diagonal(weights, width):
    loss = np.zeros((B, T))
    for b in range(B):
        targets, sources = TARGET_LENGTHS[b], SOURCE_LENGTHS[b]
        for t in range(targets):
            for s in range(sources):
                away = (s / sources - t / targets) ** 2 / (2 * width**2)
                loss[b, t] += weights[b, t, s] * (1 - np.exp(-away)) / sources
    return loss


MASKS = (TARGET_MASK, SOURCE_MASK)


@pytest.mark.parametrize("kind", ["cross_entropy", "squared_error"])
def test_guided_loss_is_that_of_the_paper(kind):
    weights, alignment = random_weights(), random_alignment()
    assert (alignment.sum(axis=-1) > 1).any()
    assert not (alignment * SOURCE_MASK[:, None]).sum(-1)[TARGET_MASK].all()
    loss = guided_alignment_loss(weights, *MASKS, alignment, kind)
    np.testing.assert_allclose(
        loss, expected_guided(weights, alignment, kind), rtol=1e-6
    )


def test_guided_losses_are_those_of_opennmt_where_rows_are_one_hot():
    """Its Keras losses, summed, over the number of real targets."""
    weights = random_weights()
    weights[~TARGET_MASK] = 1 / S  # theirs is NaN where a row has no sum
    alignment = np.eye(S)[np.full((B, T), 1)]
    losses = {
        "cross_entropy": keras.losses.CategoricalCrossentropy(reduction="sum"),
        "squared_error": keras.losses.MeanSquaredError(reduction="sum"),
    }
    real = TARGET_MASK.astype("float32")
    for kind, theirs in losses.items():
        all_real = np.ones_like(SOURCE_MASK)  # its mean counts padding
        ours = guided_alignment_loss(
            weights, TARGET_MASK, all_real, alignment, kind
        )
        expected = theirs(alignment, weights, sample_weight=real)
        np.testing.assert_allclose(np.sum(ours), expected, rtol=1e-5)


@pytest.mark.parametrize("width", [0.2, 1.3])
def test_diagonal_loss_is_that_of_the_paper(width):
    weights = random_weights()
    loss = diagonal_alignment_loss(weights, *MASKS, width)
    np.testing.assert_allclose(
        loss, expected_diagonal(weights, width), rtol=1e-5, atol=1e-7
    )


def test_diagonal_alignment_guides_where_nobody_knows_better():
    alignment = np.asarray(diagonal_alignment(*MASKS))
    assert alignment.shape == (B, T, S)
    both = TARGET_MASK[..., None] * SOURCE_MASK[:, None]
    assert (alignment[both] > 0).all() and not alignment[~both].any()
    loss = guided_alignment_loss(random_weights(), *MASKS, alignment)
    assert np.isfinite(loss).all() and (np.asarray(loss)[TARGET_MASK] > 0).all()


def test_padding_in_front_moves_nothing():
    weights = random_weights()[:1, :, :4]
    real = np.ones((1, T), bool), np.ones((1, 4), bool)
    padded = np.pad(weights, ((0, 0), (2, 0), (3, 0)))
    masks = [
        np.pad(x, ((0, 0), (n, 0))) for x, n in zip(real, (2, 3), strict=True)
    ]
    np.testing.assert_allclose(
        diagonal_alignment_loss(padded, *masks)[:, 2:],
        diagonal_alignment_loss(weights, *real),
        rtol=1e-6,
    )


@pytest.mark.tensorflow_only
def test_gradients_are_finite_differences_eager_and_compiled():
    import tensorflow as tf

    alignment = random_alignment()
    start = random_weights()
    start[0, 1, 2] = 0.0  # where the alignment may say 1

    def total(weights):
        loss = guided_alignment_loss(weights, *MASKS, alignment)
        loss += guided_alignment_loss(
            weights, *MASKS, alignment, "squared_error"
        )
        return ops.sum(loss + diagonal_alignment_loss(weights, *MASKS))

    def gradient(weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            loss = total(weights)
        return tape.gradient(loss, weights)

    weights = tf.constant(start)
    found = gradient(weights).numpy()
    both = TARGET_MASK[..., None] * SOURCE_MASK[:, None]
    assert np.isfinite(found).all() and not found[~both].any()
    for place in [(0, 0, 0), (0, 3, 3), (1, 1, 6), (1, 0, 2)]:
        step = np.zeros((B, T, S))
        step[place] = 1e-5
        numeric = (total(start + step) - total(start - step)) / 2e-5
        np.testing.assert_allclose(found[place], numeric, rtol=1e-5, atol=1e-8)
    compiled = tf.function(gradient, jit_compile=True)(weights)
    np.testing.assert_allclose(compiled, found, rtol=1e-6, atol=1e-9)


def test_half_precision_is_computed_in_float32():
    weights = random_weights().astype("float16")
    loss = guided_alignment_loss(weights, *MASKS, random_alignment())
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


def test_bad_arguments_are_refused():
    weights = random_weights()
    with pytest.raises(
        ValueError, match=r"`alignment` must have shape.*\(3, 5"
    ):
        guided_alignment_loss(weights, *MASKS, random_alignment()[:, 1:])
    with pytest.raises(ValueError, match="`kind` must be one of"):
        guided_alignment_loss(weights, *MASKS, random_alignment(), "ce")
    with pytest.raises(ValueError, match="`width` must be a number above 0"):
        diagonal_alignment(*MASKS, width=0)
