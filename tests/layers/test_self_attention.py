"""SelfAttention against the formula, in NumPy."""

import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import run_layer_checks

from keras_attention import masks
from keras_attention.layers import SelfAttention

BATCH, LENGTH, WIDTH, UNITS = 2, 7, 5, 11
random = np.random.default_rng(3)
INPUTS = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
MEMORY = random.normal(size=(BATCH, 3, 13)).astype("float32")
PADDING = np.arange(LENGTH) < np.array([[7], [4]])


def array(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def by_the_formula(layer, query, value=None, key=None, mask=None):
    """Projects query, key and value, attends, projects: in this order."""
    value = query if value is None else value
    key = value if key is None else key
    children = (layer.query_dense, layer.key_dense, layer.value_dense)
    heads = (
        (inputs.astype("float64") @ array(child.kernel))[:, :, None]
        for inputs, child in zip((query, key, value), children, strict=True)
    )
    output, weights = numpy_reference.attend(*heads, mask=mask)
    return output[:, :, 0] @ array(layer.output_dense.kernel), weights[:, 0]


MASKS = {
    "none": ({}, None),
    "causal": ({"use_causal_mask": True}, masks.Causal()),
    "padding": (
        {"query_mask": PADDING},
        masks.Padding(PADDING) & masks.QueryPadding(PADDING),
    ),
    "mask": (
        {"mask": PADDING},
        masks.Padding(PADDING) & masks.QueryPadding(PADDING),
    ),
    "key padding": ({"value_mask": PADDING}, masks.Padding(PADDING)),
    "window": (
        {"attention_mask": masks.SlidingWindow(2, 1)},
        masks.SlidingWindow(2, 1),
    ),
}


@pytest.mark.parametrize(("call", "mask"), MASKS.values(), ids=MASKS)
def test_self_attention_against_the_formula(call, mask):
    layer = SelfAttention(UNITS)
    output, weights = layer(INPUTS, return_attention_scores=True, **call)
    expected, expected_weights = by_the_formula(layer, INPUTS, mask=mask)
    np.testing.assert_allclose(array(output), expected, atol=1e-6)
    np.testing.assert_allclose(array(weights), expected_weights, atol=1e-6)
    np.testing.assert_allclose(
        array(layer(INPUTS, **call)), array(output), atol=1e-6
    )


def test_attends_to_another_sequence():
    layer = SelfAttention(UNITS)
    keys = random.normal(size=(BATCH, 3, 17)).astype("float32")
    output = layer(INPUTS, MEMORY, keys)
    expected, _ = by_the_formula(layer, INPUTS, MEMORY, keys)
    np.testing.assert_allclose(array(output), expected, atol=1e-6)


def test_shape_of_the_origin():
    inputs = random.normal(size=(32, 64, 512)).astype("float32")
    assert SelfAttention(512)(inputs).shape == (32, 64, 512)


def test_keras_mask_hides_padding_on_both_sides():
    ids = np.array([[1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 0, 0, 0]])
    embedded = keras.layers.Embedding(10, WIDTH, mask_zero=True)(ids)
    layer = SelfAttention(UNITS)
    output = array(layer(embedded))
    plain = ops.convert_to_tensor(array(embedded))
    expected = array(layer(plain, query_mask=ids > 0))
    np.testing.assert_array_equal(output, expected)
    assert not np.any(output[1, 4:])
    assert np.all(np.any(output[0] != 0, axis=-1))


@pytest.mark.parametrize("kind", ["list", "array", "tensor"])
def test_an_explicit_mask_replaces_that_of_keras(kind):
    layer = SelfAttention(UNITS)
    ids = np.array([[3, 5, 0, 0], [2, 0, 0, 0]])
    embedded = keras.layers.Embedding(10, WIDTH, mask_zero=True)(ids)
    plain = ops.convert_to_tensor(array(embedded))
    mask = np.arange(4) < np.array([[3], [2]])
    given = {"list": mask.tolist(), "array": mask}.get(kind)
    given = ops.convert_to_tensor(mask) if given is None else given
    np.testing.assert_array_equal(
        array(layer(embedded, query_mask=given)),
        array(layer(plain, query_mask=mask)),
    )


def test_memory_prepared_once_serves_every_step():
    layer = SelfAttention(UNITS)
    expected = array(layer(INPUTS, MEMORY))
    memory = layer.prepare(MEMORY)
    for step in range(LENGTH):
        output, weights, _ = layer.attend(
            INPUTS[:, step : step + 1],
            memory,
            {},
            return_attention_scores=True,
        )
        assert weights.shape == (BATCH, 1, 3)
        np.testing.assert_allclose(
            array(output)[:, 0], expected[:, step], atol=1e-6
        )


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        pytest.param({}, (BATCH, LENGTH, UNITS), marks=pytest.mark.exhaustive),
        (
            {"use_causal_mask": True, "return_attention_scores": True},
            [(BATCH, LENGTH, UNITS), (BATCH, LENGTH, LENGTH)],
        ),
        (
            {"value": MEMORY, "return_attention_scores": True},
            [(BATCH, LENGTH, UNITS), (BATCH, LENGTH, 3)],
        ),
    ],
    ids=["plain", "scores", "cross"],
)
def test_layer_checks(call, shapes, tmp_path):
    key_width = 13 if "value" in call else WIDTH
    run_layer_checks(
        SelfAttention,
        {"units": UNITS, "dropout": 0.1, "seed": 3, "kernel_regularizer": "l2"},
        {"query": INPUTS, **call},
        shapes,
        {
            "query/kernel": (WIDTH, UNITS),
            "key/kernel": (key_width, UNITS),
            "value/kernel": (key_width, UNITS),
            "attention_output/kernel": (UNITS, UNITS),
        },
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("units", [0, 1.5, True])
def test_bad_units(units):
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        SelfAttention(units)


def test_bad_inputs():
    with pytest.raises(ValueError, match="`query` must have shape"):
        SelfAttention(UNITS)(INPUTS[0])
