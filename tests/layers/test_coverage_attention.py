"""Attention with coverage by the equations of the paper."""

import keras
import numpy as np
import pytest
from layer_checks import loss_gradients
from layer_checks import run_layer_checks
from models.small_models import randomize
from numpy_reference import directional_derivative

from keras_attention import CoverageAttention

BATCH, QUERIES, KEYS, UNITS = 2, 5, 7, 11
QUERY_WIDTH, VALUE_WIDTH, KEY_WIDTH = 19, 13, 17
PRECISE = "float32" if keras.backend.backend() == "jax" else "float64"
VALUE_MASK = np.arange(KEYS) < np.array([[7], [4]])


def inputs(dtype="float32"):
    generator = np.random.default_rng(11)
    shapes = {
        "query": (BATCH, QUERIES, QUERY_WIDTH),
        "value": (BATCH, KEYS, VALUE_WIDTH),
        "key": (BATCH, KEYS, KEY_WIDTH),
    }
    return {
        name: generator.normal(size=shape).astype(dtype)
        for name, shape in shapes.items()
    }


def built(**options):
    layer = CoverageAttention(UNITS, **options)
    layer.build(*(inputs()[n].shape for n in ("query", "value", "key")))
    return randomize(layer)


def weights_of(layer):
    return {w.name: np.array(w, "float64") for w in layer.weights}


def expected(query, value, key, **weights):
    """Equations 10 and 11, one query after the other, in float64."""
    batch, queries, _ = query.shape
    alignments = np.zeros((batch, queries, KEYS))
    for row in range(batch):
        coverage = np.zeros(KEYS)
        for t in range(queries):
            hidden = query[row, t] @ weights["query_kernel"]
            hidden = hidden + key[row] @ weights["key_kernel"]
            hidden = hidden + coverage[:, None] * weights["coverage_vector"]
            scores = np.tanh(hidden + weights["bias"]) @ weights["vector"]
            odds = np.exp(scores - scores.max()) * VALUE_MASK[row]
            alignments[row, t] = odds / odds.sum()
            coverage += alignments[row, t]
    return alignments @ value, alignments


@pytest.mark.tensorflow_only  # on JAX that of its sister will do
def test_coverage_attention_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        CoverageAttention,
        {"units": UNITS, "normalizer": "sigmoid", "dropout": 0.1, "seed": 3},
        {**inputs(), "return_attention_scores": True},
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        {
            "query_kernel": (QUERY_WIDTH, UNITS),
            "key_kernel": (KEY_WIDTH, UNITS),
            "vector": (UNITS,),
            "bias": (UNITS,),
            "coverage_vector": (UNITS,),
        },
        tmp_path=tmp_path,
    )


def test_coverage_attention_is_its_equations():
    layer = built()
    found = layer(
        **inputs(), value_mask=VALUE_MASK, return_attention_scores=True
    )
    wanted = expected(**inputs(), **weights_of(layer))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    blind = {**weights_of(layer), "coverage_vector": np.zeros(UNITS)}
    assert np.abs(expected(**inputs(), **blind)[1] - wanted[1]).max() > 0.05


def test_gradients_are_finite_differences():
    arrays, layer = inputs(PRECISE), built(dtype=PRECISE)
    generator = np.random.default_rng(17)
    upstream = generator.normal(size=(BATCH, QUERIES, VALUE_WIDTH))
    found = loss_gradients(layer, arrays, upstream, value_mask=VALUE_MASK)
    arguments = {**arrays, **weights_of(layer)}

    def loss(**arguments):
        return np.sum(expected(**arguments)[0] * upstream)

    for name, array in arguments.items():
        direction = generator.normal(size=array.shape)
        np.testing.assert_allclose(
            np.sum(found[name] * direction),
            directional_derivative(loss, arguments, name, direction),
            rtol=1e-5 if PRECISE == "float64" else 5e-3,
            atol=1e-7 if PRECISE == "float64" else 5e-4,
            err_msg=name,
        )
