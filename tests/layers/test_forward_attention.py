"""Forward attention by the algorithms of the paper."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import loss_gradients
from layer_checks import run_layer_checks
from models.small_models import randomize
from numpy_reference import directional_derivative
from numpy_reference import normalized

from keras_attention import AdditiveAttention
from keras_attention import ForwardAttention
from keras_attention import LocationSensitiveAttention

BATCH, QUERIES, KEYS, UNITS = 2, 5, 7, 11
QUERY_WIDTH, VALUE_WIDTH, KEY_WIDTH = 19, 13, 17
PRECISE = "float32" if keras.backend.backend() == "jax" else "float64"
# The real keys of the second row are the third to the sixth.
VALUE_MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 0]], bool)
each_algorithm = pytest.mark.parametrize(
    "use_transition_agent", [False, True], ids=["alone", "agent"]
)


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
    layer = ForwardAttention(**options)
    layer.build(*(inputs()[n].shape for n in ("query", "value", "key")))
    return randomize(layer)


def weights_of(layer):
    return {w.name: np.array(w, "float64") for w in layer.weights}


def expected(query, value, key, normalizer="softmax", seen=None, **weights):
    """Algorithm 1, or 2 where there is a transition vector, in float64."""
    batch, queries, _ = query.shape
    seen = VALUE_MASK if seen is None else seen
    alignments = np.zeros((batch, queries, KEYS))
    for row in range(batch):
        alpha, u = np.eye(KEYS)[np.argmax(VALUE_MASK[row])], 0.5
        keys = key[row] @ weights["key_kernel"]
        for t in range(queries):
            hidden = keys + query[row, t] @ weights["query_kernel"]
            scores = np.tanh(hidden) @ weights["vector"]
            y = normalized(normalizer, scores, seen[row])
            new = np.zeros(KEYS)
            for n in range(KEYS):
                before = alpha[n - 1] if n else 0.0
                if "transition_vector" in weights:
                    new[n] = ((1 - u) * alpha[n] + u * before) * y[n]
                else:
                    new[n] = (alpha[n] + before) * y[n]
            alpha = new / new.sum()
            alignments[row, t] = alpha
            if "transition_vector" in weights:
                state = np.concatenate([alpha @ value[row], query[row, t]])
                logit = state @ weights["transition_vector"]
                u = 1 / (1 + np.exp(-logit - weights["transition_bias"]))
    return alignments @ value, alignments


def test_forward_attention_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        ForwardAttention,
        {
            "units": UNITS,
            "score": None,
            "use_transition_agent": True,
            "dropout": 0.1,
            "seed": 3,
        },
        {**inputs(), "return_attention_scores": True},
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        {
            "transition_vector": (VALUE_WIDTH + QUERY_WIDTH,),
            "transition_bias": (),
            "score/query_kernel": (QUERY_WIDTH, UNITS),
            "score/key_kernel": (KEY_WIDTH, UNITS),
            "score/vector": (UNITS,),
        },
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid"])
@each_algorithm
def test_forward_attention_is_its_algorithm(use_transition_agent, normalizer):
    layer = built(
        units=UNITS,
        use_transition_agent=use_transition_agent,
        normalizer=normalizer,
    )
    found = layer(
        **inputs(), value_mask=VALUE_MASK, return_attention_scores=True
    )
    wanted = expected(**inputs(), **weights_of(layer), normalizer=normalizer)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    # Query t sees the first t + 2 real keys.
    assert not np.triu(found[1][0], 2).any()
    assert not np.triu(found[1][1][:, 2:], 2).any()


@each_algorithm
def test_gradients_are_finite_differences(use_transition_agent):
    arrays = inputs(PRECISE)
    layer = built(
        units=UNITS, use_transition_agent=use_transition_agent, dtype=PRECISE
    )
    generator = np.random.default_rng(17)
    upstream = generator.normal(size=(BATCH, QUERIES, VALUE_WIDTH))
    found = loss_gradients(layer, arrays, upstream, value_mask=VALUE_MASK)
    arguments = {**arrays, **weights_of(layer)}

    def loss(**arguments):
        return np.sum(expected(**arguments)[0] * upstream)

    assert set(found) == set(arguments)
    for name, array in arguments.items():
        direction = generator.normal(size=array.shape)
        np.testing.assert_allclose(
            np.sum(found[name] * direction),
            directional_derivative(loss, arguments, name, direction),
            rtol=1e-5 if PRECISE == "float64" else 5e-3,
            atol=1e-7 if PRECISE == "float64" else 5e-4,
            err_msg=name,
        )


def test_the_score_inside_sees_the_weights_of_the_whole():
    layer = built(score=LocationSensitiveAttention(UNITS, 3, 5))
    arrays = {n: ops.convert_to_tensor(x) for n, x in inputs().items()}
    memory = layer.prepare(arrays["value"], arrays["key"])
    state = layer.initial_state(memory)
    assert not np.any(state["score"]["alignment"])
    for t in range(3):
        inner = layer.score.scores(
            arrays["query"][:, t : t + 1], memory, state["score"]
        )
        before = np.array(state["alignment"], "float64")
        prior = before + np.pad(before, ((0, 0), (0, 0), (1, 0)))[..., :-1]
        odds = prior * np.exp(as_float64(inner))
        _, weights, state = layer.attend(
            arrays["query"][:, t : t + 1], memory, state
        )
        wanted = odds / odds.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(weights, wanted, atol=1e-5)
        for remembered in (state["alignment"], state["score"]["alignment"]):
            np.testing.assert_allclose(remembered, weights, atol=1e-6)


def test_a_query_that_sees_nothing_leaves_the_state_alone():
    layer = built(units=UNITS, use_transition_agent=True)
    arrays = inputs()
    query_mask = np.array([[1, 0, 1, 1, 1], [1, 1, 0, 0, 1]], bool)
    found, weights = layer(
        **arrays,
        query_mask=query_mask,
        value_mask=VALUE_MASK,
        return_attention_scores=True,
    )
    assert not np.any(np.array(weights)[~query_mask])
    assert not np.any(np.array(found)[~query_mask])
    for row in range(BATCH):
        real = query_mask[row]
        alone = {n: x[row : row + 1] for n, x in arrays.items()}
        alone["query"] = alone["query"][:, real]
        wanted = layer(**alone, value_mask=VALUE_MASK[row : row + 1])
        np.testing.assert_allclose(
            np.array(found)[row, real], wanted[0], atol=1e-5
        )


def test_nothing_underflows_at_extreme_scores():
    """Against the products of the paper in float64, over many steps."""
    generator = np.random.default_rng(5)
    query = generator.normal(size=(1, 23, 3)).astype("float32")
    value = generator.normal(size=(1, 29, 2)).astype("float32")
    layer = ForwardAttention(UNITS)
    layer.build(query.shape, value.shape)
    randomize(layer, scale=3.0)
    layer.score.vector.assign(5 * layer.score.vector)
    memory = layer.prepare(ops.convert_to_tensor(value))
    scores = as_float64(layer.scores(query, memory, {}))[0]
    assert np.abs(scores).max() > 50
    _, weights = layer(query, value, return_attention_scores=True)
    logs = np.where(np.arange(29) == 0, 0.0, -np.inf)
    for t in range(23):
        prior = np.logaddexp(logs, np.concatenate([[-np.inf], logs[:-1]]))
        logs = prior + scores[t]
        logs = logs - np.logaddexp.reduce(logs)
        np.testing.assert_allclose(weights[0, t], np.exp(logs), atol=2e-4)


@pytest.mark.parametrize("certainty", [100.0, -100.0])
def test_an_agent_that_is_certain_stays_at_the_last_key(certainty):
    layer = built(units=UNITS, use_transition_agent=True)
    layer.transition_bias.assign(certainty)
    _, weights = layer(
        **{**inputs(), "query": np.tile(inputs()["query"], (1, 2, 1))},
        value_mask=VALUE_MASK,
        return_attention_scores=True,
    )
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1, atol=1e-5)
    # The first step is that of u_0 = 1/2; of four keys, the last is reached.
    last = np.array(weights)[1, -1]
    assert last[5] > 0.99 if certainty > 0 else last[4:].max() < 1e-6


def test_rows_and_sources_without_keys():
    layer = built(units=UNITS, use_transition_agent=True)
    for length, mask in ((0, None), (KEYS, np.zeros((BATCH, KEYS), bool))):
        found = layer(
            inputs()["query"],
            inputs()["value"][:, :length],
            inputs()["key"][:, :length],
            value_mask=mask,
        )
        np.testing.assert_array_equal(found, np.zeros(found.shape))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "One of `units` and `score` must be given"),
        (
            {"units": 3, "score": AdditiveAttention(3)},
            "One of `units` and `score` must be given",
        ),
        ({"score": "dot"}, "`score` must be a mechanism that scores keys"),
        (
            {"score": AdditiveAttention(3, dropout=0.1)},
            "`score` must be without `dropout` and `normalizer`",
        ),
    ],
    ids=["neither", "both", "name", "dropout"],
)
def test_bad_score_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        ForwardAttention(**options)
