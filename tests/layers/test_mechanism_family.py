"""What mechanisms with a state, and those that score, have in common."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import as_float64
from models.small_models import randomize
from numpy_reference import normalized

from keras_attention import AdditiveAttention
from keras_attention import CoverageAttention
from keras_attention import DotProductAttention
from keras_attention import ForwardAttention
from keras_attention import LocalAttention
from keras_attention import LocationSensitiveAttention
from keras_attention import SelfAttention
from keras_attention.functional import normalizers

BATCH, QUERIES, KEYS, UNITS, WIDTH, VALUE_WIDTH = 2, 5, 7, 11, 3, 13
VALUE_MASK = np.arange(KEYS) < np.array([[7], [4]])
WITH_A_STATE = {
    "location": lambda **o: LocationSensitiveAttention(UNITS, 3, 5, **o),
    "cumulative": lambda **o: LocationSensitiveAttention(
        UNITS, 3, 5, cumulative=True, **o
    ),
    "coverage": lambda **o: CoverageAttention(UNITS, **o),
    "forward": lambda **o: ForwardAttention(
        score=LocationSensitiveAttention(UNITS, 3, 5),
        use_transition_agent=True,
        **o,
    ),
}
MECHANISMS = {
    "additive": lambda **o: AdditiveAttention(UNITS, **o),
    "general": lambda **o: DotProductAttention("general", **o),
    "self": lambda **o: SelfAttention(UNITS, **o),
    "local": lambda **o: LocalAttention(2, UNITS, **o),
    **WITH_A_STATE,
}


def inputs():
    generator = np.random.default_rng(11)
    shapes = [(BATCH, QUERIES, WIDTH), (BATCH, KEYS, VALUE_WIDTH)]
    return [generator.normal(size=s).astype("float32") for s in shapes]


def built(make, **options):
    layer = make(**options)
    layer.build(*(array.shape for array in inputs()))
    return randomize(layer)


@pytest.mark.parametrize("name", WITH_A_STATE)
def test_slots_that_swap_places_keep_their_history(name):
    """Two slots read a target forwards and backwards, dropout and all."""
    layer = built(WITH_A_STATE[name], dropout=0.4, seed=3)
    query, value = inputs()
    for training in (False, True):
        seed = layer.draw_seed(training)
        options = {"seed": seed, "training": training}
        memory = layer.prepare(
            ops.convert_to_tensor(value), mask=ops.convert_to_tensor(VALUE_MASK)
        )
        paths = [
            whole_of(layer, one, memory, **options)
            for one in (query, query[:, ::-1])
        ]
        state = layer.initial_state(memory, slots=2)
        for t in range(QUERIES):
            order = [0, 1] if t % 2 == 0 else [1, 0]
            pair = query[:, [t, QUERIES - 1 - t]][:, order]  # (B, 2, D)
            _, weights, state = layer.attend(
                ops.convert_to_tensor(pair),
                memory,
                state,
                positions=np.full((1, 2), t, "int32"),
                return_attention_scores=True,
                **options,
            )
            for slot, path in enumerate(order):
                np.testing.assert_allclose(
                    weights[:, slot], paths[path][:, t], atol=1e-5
                )
            state = keras.tree.map_structure(lambda x: x[:, ::-1], state)


def whole_of(layer, query, memory, **options):
    """The weights of a whole target, (B, T, S), one query after the other."""
    state, found = layer.initial_state(memory), []
    for t in range(QUERIES):
        _, weights, state = layer.attend(
            ops.convert_to_tensor(query[:, t : t + 1]),
            memory,
            state,
            positions=np.full((1, 1), t, "int32"),
            **options,
        )
        found.append(np.array(weights))
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("name", WITH_A_STATE)
def test_a_whole_target_is_its_steps(name):
    layer = built(WITH_A_STATE[name], dropout=0.4, seed=3)
    query, value = inputs()
    weights = layer(
        query, value, value_mask=VALUE_MASK, return_attention_scores=True
    )[1]
    memory = layer.prepare(
        ops.convert_to_tensor(value), mask=ops.convert_to_tensor(VALUE_MASK)
    )
    steps = whole_of(layer, query, memory)
    np.testing.assert_allclose(weights, steps, atol=1e-5)


@pytest.mark.parametrize("name", WITH_A_STATE)
def test_numbers_of_a_state_are_float32_whatever_the_policy(name):
    layer = built(WITH_A_STATE[name], dtype="mixed_bfloat16")
    query, value = (ops.cast(x, "bfloat16") for x in inputs())
    memory = layer.prepare(value)
    before = layer.initial_state(memory)
    context, weights, after = layer.attend(query[:, :1], memory, before)
    assert context.dtype == weights.dtype == "bfloat16"
    keras.tree.assert_same_structure(before, after)
    for state in (before, after):
        leaves = keras.tree.flatten(state)
        assert all(leaf.dtype == "float32" for leaf in leaves)


# So much that the normalisers differ, and that they are sparse.
SCALE = 3.0


@pytest.mark.parametrize("normalizer", normalizers.NORMALIZERS)
@pytest.mark.parametrize("name", MECHANISMS)
def test_each_mechanism_takes_each_normalizer(name, normalizer):
    layer = built(MECHANISMS[name], normalizer=normalizer)
    scored = getattr(layer, "score", layer)
    for weight in scored.trainable_variables:
        weight.assign(SCALE * weight)
    query, value = inputs()
    context, weights = layer(
        query, value, value_mask=VALUE_MASK, return_attention_scores=True
    )
    weights = as_float64(weights)
    hidden = np.broadcast_to(~VALUE_MASK[:, None], weights.shape)
    assert not weights[hidden].any()
    # The first query has no history.
    memory = scored.prepare(ops.convert_to_tensor(value))
    scores = scored.scores(query[:, :1], memory, scored.initial_state(memory))
    visible = VALUE_MASK[:, None] & (name != "local" or np.arange(KEYS) <= 2)
    wanted = normalized(normalizer, as_float64(scores), visible)
    if name == "forward":
        wanted *= np.arange(KEYS) < 2
        total = wanted.sum(axis=-1, keepdims=True)
        wanted /= np.where(total > 0, total, 1)
    np.testing.assert_allclose(weights[:, :1], wanted, atol=1e-4)
    assert context.shape == layer.compute_output_shape(query.shape, value.shape)
    empty = np.zeros((BATCH, KEYS), bool)
    nothing = layer(query, value, value_mask=empty)
    assert np.abs(nothing).max() == 0
