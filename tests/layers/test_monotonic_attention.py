"""Monotonic attention and MoChA: soft in training, hard otherwise."""

import numpy as np
import pytest
from alignment_reference import aligned
from alignment_reference import chunked
from finite_differences import derivative_by_differences
from keras import ops
from layer_checks import as_float64
from layer_checks import loss_gradients
from layer_checks import run_layer_checks
from models.small_models import randomize

from keras_attention import AdditiveAttention
from keras_attention import DotProductAttention
from keras_attention import MonotonicAttention
from keras_attention.layers.attention.scored import ScoredMechanism

BATCH, QUERIES, KEYS, UNITS = 2, 5, 7, 11
QUERY_WIDTH, VALUE_WIDTH = 3, 13
VALUE_MASK = np.arange(KEYS) < np.array([[KEYS], [4]])
# What no backend does in its own way: JAX compiles each loop anew, and gets a
# part of it.
tensorflow_is_enough = pytest.mark.tensorflow_only
each_chunk = pytest.mark.parametrize("chunk_size", [None, 3])


def inputs(dtype="float32"):
    generator = np.random.default_rng(11)
    return (
        generator.normal(size=(BATCH, QUERIES, QUERY_WIDTH)).astype(dtype),
        generator.normal(size=(BATCH, KEYS, VALUE_WIDTH)).astype(dtype),
    )


def built(layer, seed=36):
    query, value = inputs()
    layer.build(query.shape, value.shape)
    # Of weights with which it moves on now and then.
    randomize(layer, seed)
    layer.score_bias_weight.assign(-0.3)
    return layer


def energies(score, query, value):
    """Additive scores in float64, (B, Q, S)."""
    query_kernel, key_kernel, vector = (as_float64(w) for w in score.weights)
    hidden = (query @ query_kernel)[:, :, None] + (value @ key_kernel)[:, None]
    return np.tanh(hidden) @ vector


def expected(layer, query, value, visible, soft, transform=lambda x: x):
    """The papers' formulas in float64; also the scores, for `transform`."""
    scores = energies(layer.score, query, value) + float(
        np.array(layer.score_bias_weight)
    )
    scores = transform(scores)
    stops = 1 / (1 + np.exp(-scores)) if soft else (scores > 0) * 1.0
    stops = np.where(visible, stops, 0.0)
    alignment = np.zeros((BATCH, KEYS))
    alignment[:, 0] = 1
    alignments = []
    for step in range(QUERIES):
        alignment = aligned(stops[:, step], alignment)
        alignments.append(alignment)
    weights = np.stack(alignments, axis=1)
    if layer.chunk_size:
        chunks = energies(layer.chunk_score, query, value)
        weights = chunked(weights, chunks, layer.chunk_size, visible)
    return weights @ value, weights


def test_layer_checks(tmp_path):
    query, value = inputs()
    run_layer_checks(
        MonotonicAttention,
        # With this bias no score is so near 0 that half precision would stop
        # elsewhere.
        {"units": UNITS, "chunk_size": 3, "score_bias": 0.4, "dropout": 0.2},
        {"query": query, "value": value, "return_attention_scores": True},
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        {
            "score_bias": (),
            "score/query_kernel": (QUERY_WIDTH, UNITS),
            "score/key_kernel": (VALUE_WIDTH, UNITS),
            "score/vector": (UNITS,),
            "chunk_score/query_kernel": (QUERY_WIDTH, UNITS),
            "chunk_score/key_kernel": (VALUE_WIDTH, UNITS),
            "chunk_score/vector": (UNITS,),
        },
        tmp_path=tmp_path,
    )


@each_chunk
@pytest.mark.parametrize("training", [True, False])
def test_layer_is_its_formula(training, chunk_size):
    layer = built(MonotonicAttention(UNITS, chunk_size=chunk_size, noise=0))
    found = layer(
        *inputs(),
        value_mask=VALUE_MASK,
        return_attention_scores=True,
        training=training,
    )
    visible = np.broadcast_to(VALUE_MASK[:, None], (BATCH, QUERIES, KEYS))
    arrays = inputs("float64")
    formula = expected(layer, *arrays, visible, soft=training)
    assert formula[1].sum() > 3
    for one, other in zip(found, formula, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_hard_context_is_a_value():
    layer = built(MonotonicAttention(UNITS))
    query, value = inputs()
    context, weights = layer(query, value, return_attention_scores=True)
    chosen = np.argmax(weights, axis=-1)
    assert (np.diff(chosen, axis=1) >= 0).all()
    assert (np.diff(chosen, axis=1) > 0).any()
    np.testing.assert_array_equal(np.sort(weights, axis=-1)[..., :-1], 0)
    rows = np.take_along_axis(value, chosen[..., None], axis=1)
    np.testing.assert_array_equal(context, rows)


@tensorflow_is_enough
@each_chunk
def test_soft_attention_that_is_sure_is_hard(chunk_size):
    layer = built(MonotonicAttention(UNITS, chunk_size=chunk_size))
    query, value = inputs()
    layer.score.vector.assign(60000 * layer.score.vector)
    scores = energies(layer.score, query, value)
    assert np.abs(scores).min() > 40  # whatever the noise
    found = [layer(query, value, training=soft) for soft in (True, False)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@tensorflow_is_enough
@each_chunk
def test_gradients_are_those_of_differences(chunk_size):
    layer = built(MonotonicAttention(UNITS, chunk_size=chunk_size, noise=0))
    query, value = inputs()
    upstream = np.random.default_rng(5).normal(size=(BATCH, QUERIES, 1))
    found = loss_gradients(
        layer,
        {"query": query, "value": value},
        np.broadcast_to(upstream, (BATCH, QUERIES, VALUE_WIDTH)),
        training=True,
    )
    visible = np.ones((BATCH, QUERIES, KEYS), bool)
    query, value = inputs("float64")
    for name, moving in (("query", query), ("value", value)):
        arrays = {"query": query, "value": value}

        def context(moved, name=name, arrays=arrays):
            moved = {**arrays, name: moved}
            return expected(layer, **moved, visible=visible, soft=True)[0]

        differences = derivative_by_differences(context, moving, upstream)
        np.testing.assert_allclose(found[name], differences, atol=1e-4)

    def context_of_bias(bias):
        return expected(
            layer, query, value, visible, True, lambda scores: scores + bias
        )[0]

    differences = derivative_by_differences(
        context_of_bias, np.zeros(1), upstream
    )
    np.testing.assert_allclose(found["score_bias"], differences[0], atol=1e-4)


@pytest.mark.parametrize(
    "training", [pytest.param(True, marks=tensorflow_is_enough), False]
)
def test_steps_of_slots_are_the_whole_target(training):
    """In training too, since noise and dropout hang on the position."""
    layer = built(
        MonotonicAttention(
            score=DotProductAttention("general"), chunk_size=2, dropout=0.3
        )
    )
    query, value = (ops.convert_to_tensor(array) for array in inputs())
    real = ops.convert_to_tensor(VALUE_MASK)
    seed = layer.draw_seed(training)
    layer.draw_seed = lambda training: seed
    whole = layer(
        query,
        value,
        value_mask=VALUE_MASK,
        return_attention_scores=True,
        training=training,
    )
    value = ops.where(real[..., None], value, 0.0)
    memory = layer.prepare(value, mask=real)
    state = layer.initial_state(memory, slots=2)
    other = ops.flip(query, axis=1)  # in the second slot
    for step in range(QUERIES):
        two = ops.stack([query[:, step], other[:, step]], axis=1)
        context, weights, state = layer.attend(
            two,
            memory,
            state,
            positions=np.full((1, 2), step, "int32"),
            seed=seed,
            return_attention_scores=True,
            training=training,
        )
        np.testing.assert_allclose(context[:, 0], whole[0][:, step], atol=1e-5)
        np.testing.assert_allclose(weights[:, 0], whole[1][:, step], atol=1e-5)
        assert state["alignment"].dtype == weights.dtype
    assert np.abs(np.subtract(weights[:, 0], weights[:, 1])).max() > 0.01


@tensorflow_is_enough
def test_noise_is_that_of_its_seed_and_of_training():
    results = {}
    for name, noise, seed in (
        ("a", 2, 3),
        ("b", 2, 3),
        ("c", 2, 4),
        ("d", 0, 3),
    ):
        layer = built(MonotonicAttention(UNITS, noise=noise, seed=seed))
        results[name] = np.array(layer(*inputs(), training=True))
        results[name + " hard"] = np.array(layer(*inputs()))
    np.testing.assert_array_equal(results["a"], results["b"])
    assert np.abs(results["a"] - results["c"]).max() > 0.05
    assert np.abs(results["a"] - results["d"]).max() > 0.05
    np.testing.assert_array_equal(results["a hard"], results["d hard"])


def test_query_that_sees_nothing_leaves_the_place_as_it_was():
    layer = built(MonotonicAttention(UNITS, noise=0))
    query, value = inputs()
    sees = np.array([True, True, False, True, True])
    options = {"return_attention_scores": True, "training": True}
    context, weights = layer(
        query,
        value,
        attention_mask=np.broadcast_to(sees[:, None], (QUERIES, KEYS)),
        **options,
    )
    assert not np.any(np.array(context)[:, 2])
    _, expected_weights = layer(query[:, sees], value, **options)
    np.testing.assert_allclose(
        np.array(weights)[:, sees], expected_weights, atol=1e-6
    )


@tensorflow_is_enough
def test_what_walks_past_the_end_is_lost():
    layer = built(MonotonicAttention(UNITS))
    layer.score_bias_weight.assign(-100.0)
    context, weights = layer(*inputs(), return_attention_scores=True)
    assert not np.any(weights)
    assert not np.any(context)


class Fatigue(ScoredMechanism):
    """A score with a state: what it has attended to it likes less."""

    def prepare(self, value, key=None, mask=None):
        return {"value": value}

    def initial_state(self, memory, slots=1):
        batch, length = ops.shape(memory["value"])[:2]
        return {"seen": ops.zeros((batch, slots, length))}

    def scores(self, query, memory, state):
        return 0.5 - 4 * state["seen"] + 0 * ops.sum(query)

    def remember(self, state, weights):
        return {"seen": state["seen"] + weights}


def test_score_with_a_state_remembers_the_weights():
    layer = MonotonicAttention(score=Fatigue(), score_bias=0.1)
    _, weights = layer(*inputs(), return_attention_scores=True)
    np.testing.assert_array_equal(weights[0], np.eye(KEYS)[:QUERIES])


@tensorflow_is_enough
def test_chunk_score_is_a_copy_with_weights_of_its_own():
    score = AdditiveAttention(UNITS, normalize=True)
    layer = MonotonicAttention(
        score=score, chunk_size=2, normalizer="sparsemax"
    )
    layer(*inputs())
    assert layer.chunk_score.normalize
    assert layer.chunk_score.name == "chunk_score"
    kernels = layer.score.query_kernel, layer.chunk_score.query_kernel
    assert np.abs(np.subtract(*map(np.array, kernels))).max() > 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "One of `units` and `score` must be given"),
        ({"units": 3, "chunk_size": 0}, "`chunk_size` must be a positive int"),
        ({"units": 3, "noise": -1.0}, "`noise` must be a number of at least 0"),
        ({"units": 3, "score_bias": "a"}, "`score_bias` must be a number"),
        (
            {"units": 3, "normalizer": "hardmax"},
            "`normalizer` must be 'softmax' where `chunk_size` is None",
        ),
    ],
)
def test_argument_that_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MonotonicAttention(**arguments)
