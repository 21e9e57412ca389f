"""DifferentialAttention: the paper's equations, masks and gradients."""

import numpy as np
import pytest
from keras import ops
from layer_checks import loss_gradients
from layer_checks import run_layer_checks

from keras_attention import masks
from keras_attention.layers import DifferentialAttention

BATCH, QUERIES, KEYS, WIDTH, VALUE_WIDTH, KEY_WIDTH = 2, 5, 7, 11, 13, 17
HEADS, KEY_DIM, VALUE_DIM = 3, 4, 6
random = np.random.default_rng(29)
QUERY, VALUE, KEY = (
    random.normal(size=(BATCH, *shape)).astype("float32")
    for shape in ((QUERIES, WIDTH), (KEYS, VALUE_WIDTH), (KEYS, KEY_WIDTH))
)
PADDING = np.arange(KEYS) < np.array([[4], [0]])
SIZES = {
    "num_heads": HEADS,
    "key_dim": KEY_DIM,
    "value_dim": VALUE_DIM,
    "lambda_init": 0.35,
}


def array(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def softmax(scores, visible):
    if not np.any(visible):
        return np.zeros_like(scores)
    scores = np.where(visible, scores, -np.inf)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def by_the_equations(w, query, value, key, visible):
    """Equations 1 to 3, one query of one head at a time, in float64."""
    lambda_init = SIZES["lambda_init"]
    lambda_q, lambda_k = w["lambda_query"], w["lambda_key"]
    share = np.exp(lambda_q[0] @ lambda_k[0]) - np.exp(
        lambda_q[1] @ lambda_k[1]
    )
    share += lambda_init
    output = np.zeros(query.shape)
    weights = np.zeros((BATCH, HEADS, query.shape[1], key.shape[1]))
    for b, t, i in np.ndindex(*query.shape[:2], HEADS):
        maps = []
        for term in range(2):
            q = query[b, t] @ w["query/kernel"][:, term, i]
            k = key[b] @ w["key/kernel"][:, term, i]
            maps.append(softmax(k @ q / np.sqrt(KEY_DIM), visible[b, t]))
        weights[b, i, t] = maps[0] - share * maps[1]
        head = weights[b, i, t] @ (value[b] @ w["value/kernel"][:, i])
        head = head / np.sqrt(np.mean(head**2) + 1e-6)
        head = (1 - lambda_init) * head * w["head_norm/scale"]
        output[b, t] += head @ w["attention_output/kernel"][i]
    return output, weights


def new_layer():
    layer = DifferentialAttention(**SIZES)
    layer.build(QUERY.shape, VALUE.shape, KEY.shape)
    generator = np.random.default_rng(6)
    for weight in layer.weights:
        weight.assign(generator.normal(size=weight.shape, scale=0.6))
    return layer, {w.path.split("/", 1)[1]: array(w) for w in layer.weights}


def test_differential_attention_checks(tmp_path):
    run_layer_checks(
        DifferentialAttention,
        {**SIZES, "dropout": 0.1, "seed": 3, "kernel_initializer": "he_normal"},
        {
            "query": QUERY,
            "value": VALUE,
            "key": KEY,
            "use_causal_mask": True,
            "return_attention_scores": True,
        },
        [QUERY.shape, (BATCH, HEADS, QUERIES, KEYS)],
        expected_weights={
            "lambda_query": (2, KEY_DIM),
            "lambda_key": (2, KEY_DIM),
            "query/kernel": (WIDTH, 2, HEADS, KEY_DIM),
            "key/kernel": (KEY_WIDTH, 2, HEADS, KEY_DIM),
            "value/kernel": (VALUE_WIDTH, HEADS, VALUE_DIM),
            "head_norm/scale": (VALUE_DIM,),
            "attention_output/kernel": (HEADS, VALUE_DIM, WIDTH),
        },
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("loudness", [1, 30])
def test_differential_attention_against_the_equations(loudness):
    layer, weights = new_layer()
    query = QUERY * loudness
    call = {"attention_mask": masks.Causal(3), "value_mask": PADDING}
    output, scores = layer(
        query, VALUE, KEY, return_attention_scores=True, **call
    )
    visible = np.tri(QUERIES, KEYS, 3, dtype=bool) & PADDING[:, None]
    expected = by_the_equations(weights, query, VALUE, KEY, visible)
    np.testing.assert_allclose(array(output), expected[0], atol=5e-4)
    np.testing.assert_allclose(array(scores), expected[1], atol=5e-5)
    assert np.min(array(scores)) < 0
    assert not np.any(array(output)[1]), "a row of padding alone"
    # Without the weights: the path that does not build them.
    np.testing.assert_allclose(
        array(layer(query, VALUE, KEY, **call)), array(output), atol=1e-5
    )


def test_gradients_are_the_slope_of_the_equations():
    random = np.random.default_rng(17)
    layer, weights = new_layer()
    upstream = random.normal(size=QUERY.shape)
    spoilt = np.where(PADDING[..., None], VALUE, np.nan).astype("float32")
    found = loss_gradients(
        layer,
        {"query": QUERY, "value": spoilt, "key": KEY},
        upstream,
        value_mask=PADDING,
    )
    assert not np.any(found["value"][~PADDING])
    visible = np.broadcast_to(PADDING[:, None], (BATCH, QUERIES, KEYS))
    at = {**weights, "query": array(QUERY), "value": array(VALUE)}
    for name in ("query", "value", "lambda_query", "lambda_key"):
        direction = random.normal(size=at[name].shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = {**at, name: at[name] + step * direction}
            query, value = moved.pop("query"), moved.pop("value")
            output, _ = by_the_equations(moved, query, value, KEY, visible)
            ends.append(np.sum(output * upstream))
        slope = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(
            *(np.sum(found[name] * direction), slope),
            rtol=2e-3,
            atol=1e-3,
            err_msg=name,
        )


def test_dropout_drops_weights_of_the_difference():
    """One value for each key, so that the heads show what was kept."""
    random = np.random.default_rng(17)
    from keras_attention.functional import Dropout
    from keras_attention.functional.differential import differential_attend

    query, key = (
        random.normal(size=(1, length, 2, 1, KEY_DIM)).astype("float32")
        for length in (QUERIES, KEYS)
    )
    value = np.eye(KEYS, dtype="float32")[None, :, None]
    dropped, weights = differential_attend(
        query=query,
        key=key,
        value=value,
        subtracted=0.7,
        dropout=Dropout(0.5, ops.convert_to_tensor([1, 2], "uint32")),
        return_weights=True,
    )
    dropped, weights = array(dropped)[0, :, 0], array(weights)[0, 0]
    kept = dropped != 0
    assert 0 < kept.sum() < kept.size
    np.testing.assert_allclose(dropped[kept], 2 * weights[kept], rtol=1e-5)


def test_lengths_of_zero_and_arguments_that_do_not_fit():
    layer = DifferentialAttention(HEADS, KEY_DIM)
    for queries, keys in ((3, 0), (0, 3)):
        found = layer(QUERY[:, :queries], VALUE[:, :keys])
        assert found.shape == (BATCH, queries, WIDTH)
        assert not np.any(array(found))
    with pytest.raises(ValueError, match="`lambda_init` must be in"):
        DifferentialAttention(HEADS, KEY_DIM, lambda_init=1.0)
    with pytest.raises(ValueError, match="`key_dim` must be a positive"):
        DifferentialAttention(HEADS, 0)
    with pytest.raises(ValueError, match="must be equal"):
        DifferentialAttention(HEADS, KEY_DIM)(QUERY, VALUE, QUERY)
