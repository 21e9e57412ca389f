"""Weights of a mixture of Gaussians, against loops in float64."""

import keras
import numpy as np
import pytest
from alignment_reference import mixture_weights
from finite_differences import derivative_by_differences
from finite_differences import gradients
from keras import ops

from keras_attention.functional import gaussian_mixture_weights
from keras_attention.functional.gaussian_mixture import VERSIONS

BATCH, QUERIES, MIXTURES, KEYS = 2, 3, 5, 7


def numbers(mixtures=MIXTURES):
    generator = np.random.default_rng(3)
    parameters = generator.normal(size=(BATCH, QUERIES, 3, mixtures))
    return parameters, 4 * generator.random((BATCH, QUERIES, mixtures))


@pytest.mark.parametrize(
    ("version", "mixtures"), [("v0", MIXTURES), ("v1", MIXTURES), ("v2", 1)]
)
def test_mixture_is_the_formula(version, mixtures):
    parameters, previous = numbers(mixtures)
    found = gaussian_mixture_weights(parameters, previous, KEYS, version)
    expected = mixture_weights(parameters, previous, KEYS, version)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("version", VERSIONS)
def test_gradient_of_mixture_is_that_of_differences(version):
    parameters, previous = numbers()
    upstream = np.random.default_rng(5).normal(size=(BATCH, QUERIES, KEYS))
    found = gradients(
        lambda *arrays: gaussian_mixture_weights(*arrays, KEYS, version)[0],
        (parameters, previous),
        upstream,
    )
    expected = [
        derivative_by_differences(
            lambda moved: mixture_weights(moved, previous, KEYS, version)[0],
            parameters,
            upstream,
        ),
        derivative_by_differences(
            lambda moved: mixture_weights(parameters, moved, KEYS, version)[0],
            previous,
            upstream,
        ),
    ]
    tolerance = 1e-5 if keras.backend.backend() == "tensorflow" else 1e-3
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("version", VERSIONS)
def test_extreme_parameters_are_finite(version):
    extreme = np.array(np.meshgrid([-50, 0, 50], [-50, 50], [-50, 50]))
    parameters = extreme.reshape(1, 1, 3, -1).astype("float32")
    previous = np.zeros((1, 1, 12), "float32")

    def both(parameters, previous):
        weights, mean = gaussian_mixture_weights(
            parameters, previous, KEYS, version
        )
        return ops.sum(weights) + 0 * ops.sum(mean)

    assert np.isfinite(both(parameters, previous))
    for gradient in gradients(both, (parameters, previous), np.float32(1)):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("version", VERSIONS)
def test_inverse_of_step_and_width(version):
    rules = VERSIONS[version]
    for number in (0.3, 1.0, 10.0):
        step = rules.step(np.float64(rules.step_inverse(number)))
        width = rules.width(np.float64(rules.width_inverse(number)))
        np.testing.assert_allclose([step, width], number, rtol=1e-5)


def test_mixture_of_no_key():
    parameters, previous = numbers()
    weights, mean = gaussian_mixture_weights(parameters, previous, 0)
    assert weights.shape == (BATCH, QUERIES, 0)
    assert (ops.convert_to_numpy(mean) > previous).all()
