"""Attention by a mixture of Gaussians over positions."""

import numpy as np
import pytest
from alignment_reference import mixture_weights
from keras import ops
from layer_checks import as_float64
from layer_checks import run_layer_checks
from models.small_models import randomize

from keras_attention import GaussianMixtureAttention
from keras_attention.functional.gaussian_mixture import VERSIONS

BATCH, QUERIES, KEYS, UNITS, MIXTURES = 2, 5, 7, 11, 3
QUERY_WIDTH, VALUE_WIDTH = 17, 13
# JAX compiles each loop anew, and gets a part of the tests.
tensorflow_is_enough = pytest.mark.tensorflow_only
VALUE_MASK = np.arange(KEYS) < np.array([[KEYS], [4]])


def inputs(dtype="float32"):
    generator = np.random.default_rng(11)
    return (
        generator.normal(size=(BATCH, QUERIES, QUERY_WIDTH)).astype(dtype),
        generator.normal(size=(BATCH, KEYS, VALUE_WIDTH)).astype(dtype),
    )


def built(**options):
    layer = GaussianMixtureAttention(UNITS, MIXTURES, **options)
    query, value = inputs()
    layer.build(query.shape, value.shape)
    return randomize(layer)


def expected(layer, query, value, visible):
    """The paper's formulas in float64."""
    kernel, bias, parameter_kernel, parameter_bias = (
        as_float64(weight) for weight in layer.weights
    )
    parameters = np.tanh(query @ kernel + bias) @ parameter_kernel
    parameters = parameters.reshape(BATCH, QUERIES, 3, MIXTURES)
    parameters += parameter_bias
    mean, weights = np.zeros((BATCH, 1, MIXTURES)), []
    for step in range(QUERIES):
        one, mean = mixture_weights(
            parameters[:, step : step + 1], mean, KEYS, layer.version
        )
        weights.append(one)
    weights = np.where(visible, np.concatenate(weights, axis=1), 0)
    return weights @ value, weights


@tensorflow_is_enough
def test_layer_checks(tmp_path):
    query, value = inputs()
    run_layer_checks(
        GaussianMixtureAttention,
        {
            "units": UNITS,
            "num_mixtures": MIXTURES,
            "initial_step": 1.3,
            "initial_width": 2.5,
            "dropout": 0.2,
        },
        {"query": query, "value": value, "return_attention_scores": True},
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        {
            "query_kernel": (QUERY_WIDTH, UNITS),
            "query_bias": (UNITS,),
            "parameter_kernel": (UNITS, 3 * MIXTURES),
            "parameter_bias": (3, MIXTURES),
        },
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_layer_is_its_formula(version):
    layer = built(version=version)
    found = layer(
        *inputs(), value_mask=VALUE_MASK, return_attention_scores=True
    )
    formula = expected(layer, *inputs("float64"), VALUE_MASK[:, None])
    assert formula[1].sum() > 1
    for one, other in zip(found, formula, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_steps_of_slots_are_the_whole_target():
    layer = built(dropout=0.3)
    query, value = (ops.convert_to_tensor(array) for array in inputs())
    seed = layer.draw_seed(True)
    layer.draw_seed = lambda training: seed
    options = {"return_attention_scores": True, "training": True}
    whole = layer(query, value, **options)
    memory = layer.prepare(value)
    state = layer.initial_state(memory, slots=2)
    other = ops.flip(query, axis=1)  # in the second slot
    for step in range(QUERIES):
        context, weights, state = layer.attend(
            ops.stack([query[:, step], other[:, step]], axis=1),
            memory,
            state,
            positions=np.full((1, 2), step, "int32"),
            seed=seed,
            **options,
        )
        np.testing.assert_allclose(context[:, 0], whole[0][:, step], atol=1e-5)
        np.testing.assert_allclose(weights[:, 0], whole[1][:, step], atol=1e-5)
    assert np.abs(np.subtract(weights[:, 0], weights[:, 1])).max() > 0.01


@tensorflow_is_enough
def test_query_that_sees_nothing_leaves_the_means_as_they_were():
    layer = built()
    query, value = inputs()
    sees = np.array([True, True, False, True, True])
    context, weights = layer(
        query,
        value,
        query_mask=np.stack([sees, sees]),
        return_attention_scores=True,
    )
    assert not np.any(np.array(context)[:, 2])
    assert not np.any(np.array(weights)[:, 2])
    alone = layer(query[:, sees], value)
    np.testing.assert_allclose(np.array(context)[:, sees], alone, atol=1e-6)


@tensorflow_is_enough
@pytest.mark.parametrize("version", VERSIONS)
def test_initial_step_and_width_are_those_asked_for(version):
    layer = GaussianMixtureAttention(
        UNITS, 2, version, initial_step=3.0, initial_width=0.5
    )
    query, value = inputs()
    layer.build(query.shape, value.shape)
    layer.parameter_kernel.assign(np.zeros((UNITS, 6)))
    _, weights = layer(query, value, return_attention_scores=True)
    weights = np.array(weights)[0]
    np.testing.assert_array_equal(weights[:2].argmax(axis=-1), [2, 5])
    # exp(-1 / (2 width^2)), one key from the mean.
    ratio = weights[0, 3] / weights[0, 2]
    np.testing.assert_allclose(ratio, np.exp(-2), rtol=1e-4)


def test_initial_step_may_be_great():
    layer = GaussianMixtureAttention(UNITS, 2, initial_step=1e3)
    query, value = inputs()
    layer.build(query.shape, value.shape)
    np.testing.assert_allclose(layer.parameter_bias[1], 1e3)


@tensorflow_is_enough
def test_keys_are_not_read():
    layer = built()
    query, value = inputs()
    found = layer(query, value, np.ones((BATCH, KEYS, 19)))
    np.testing.assert_array_equal(found, layer(query, value))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "`units` must be a positive integer"),
        ({"num_mixtures": 0}, "`num_mixtures` must be a positive integer"),
        ({"version": "v3"}, "`version` must be one of 'v0', 'v1', 'v2'"),
        ({"initial_step": 0.0}, "`initial_step` must be a number above 0"),
        ({"initial_width": 0.01}, "`initial_width` must be above 0.01"),
    ],
)
def test_argument_that_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixtureAttention(**{"units": 3, **arguments})
