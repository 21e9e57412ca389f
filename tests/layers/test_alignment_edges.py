"""Mechanisms that move on, where there is nothing or too much to go by."""

import numpy as np
import pytest
from layer_checks import loss_gradients

from keras_attention import GaussianMixtureAttention
from keras_attention import MonotonicAttention

BATCH, QUERIES, KEYS, QUERY_WIDTH, VALUE_WIDTH = 2, 3, 7, 5, 13
LAYERS = {
    "monotonic": lambda: MonotonicAttention(11),
    "mocha": lambda: MonotonicAttention(11, chunk_size=3),
    "mixture": lambda: GaussianMixtureAttention(11),
}
# JAX compiles each loop anew, and gets a part of the tests.
pytestmark = pytest.mark.tensorflow_only
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def inputs():
    generator = np.random.default_rng(11)
    return {
        "query": generator.normal(size=(BATCH, QUERIES, QUERY_WIDTH)),
        "value": generator.normal(size=(BATCH, KEYS, VALUE_WIDTH)),
    }


@each_layer
def test_source_of_length_0_and_1(make):
    layer, (query, value) = make(), inputs().values()
    for training in (True, False):
        options = {"return_attention_scores": True, "training": training}
        context, weights = layer(query, value[:, :0], **options)
        assert weights.shape == (BATCH, QUERIES, 0)
        np.testing.assert_array_equal(
            context, np.zeros((BATCH, QUERIES, VALUE_WIDTH))
        )
        context, weights = layer(query, value[:, :1], **options)
        expected = np.array(weights) @ np.float32(value[:, :1])
        np.testing.assert_allclose(context, expected, atol=1e-6)


@each_layer
def test_row_with_nothing_to_attend_to_is_zero(make):
    layer, arrays = make(), inputs()
    options = {
        "value_mask": np.array([[True] * KEYS, [False] * KEYS]),
        "return_attention_scores": True,
        "training": True,
    }
    for found in layer(**arrays, **options):
        assert np.any(found[0])
        assert not np.any(found[1])
    gradients = loss_gradients(layer, arrays, np.float32(1), **options)
    for name in arrays:
        assert np.any(gradients[name][0])
        assert not np.any(gradients[name][1])


@each_layer
def test_huge_scores_have_finite_gradients(make):
    layer, arrays = make(), inputs()
    layer(**arrays)
    for weight in layer.trainable_variables:
        weight.assign(200 * weight)
    context = layer(**arrays, training=True)
    assert np.isfinite(context).all()
    gradients = loss_gradients(layer, arrays, np.float32(1), training=True)
    for gradient in gradients.values():
        assert np.isfinite(gradient).all()
