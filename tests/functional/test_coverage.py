"""The coverage loss, by its loop."""

import numpy as np
import pytest
from keras import ops

from keras_attention.functional import coverage_loss

BATCH, QUERIES, KEYS = 2, 5, 7


def alignments():
    weights = np.random.default_rng(3).random((BATCH, QUERIES, KEYS))
    return weights / weights.sum(axis=-1, keepdims=True)


def expected(weights, mask):
    losses = np.zeros(weights.shape[:2])
    for row in range(len(weights)):
        coverage = np.zeros(weights.shape[2])
        for t, one in enumerate(weights[row]):
            if mask[row, t]:
                losses[row, t] = np.minimum(one, coverage).sum()
                coverage += one
    return losses


def test_coverage_loss_is_its_loop(path, run_on):
    mask = np.array([[1, 1, 1, 1, 1], [1, 0, 1, 1, 0]], bool)
    arrays = {"weights": alignments().astype("float32"), "mask": mask}
    found = run_on(
        path,
        lambda x: (coverage_loss(x["weights"]), coverage_loss(**x)),
        arrays,
    )
    wanted = expected(alignments(), np.ones_like(mask))
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)
    np.testing.assert_allclose(
        found[1], expected(alignments(), mask), atol=1e-6
    )
    assert wanted[:, 0].max() == 0 and wanted[:, 1:].min() > 0.1


def test_gradient_of_coverage_loss_is_a_finite_difference(
    gradients, precise_dtype
):
    weights = alignments()
    direction = np.random.default_rng(5).normal(size=weights.shape)
    mask = np.ones(weights.shape[:2], bool)

    def loss(tensors):
        return ops.sum(ops.square(coverage_loss(tensors["weights"])))

    def wanted(step):
        return np.sum(expected(weights + step * direction, mask) ** 2)

    tensors = {"weights": ops.convert_to_tensor(weights, precise_dtype)}
    found = np.sum(gradients(loss, tensors)["weights"] * direction)
    difference = (wanted(1e-6) - wanted(-1e-6)) / 2e-6
    np.testing.assert_allclose(found, difference, rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_coverage_loss_of_half_precision_is_float32(dtype):
    weights = ops.cast(alignments(), dtype)
    assert coverage_loss(weights).dtype == "float32"


def test_coverage_loss_of_no_query_and_of_no_key():
    assert coverage_loss(np.zeros((2, 0, 3), "float32")).shape == (2, 0)
    losses = coverage_loss(np.zeros((2, 3, 0), "float32"))
    np.testing.assert_array_equal(losses, np.zeros((2, 3)))
