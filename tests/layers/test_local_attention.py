"""Local attention by the equations of the paper, window by window."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import loss_gradients
from layer_checks import run_layer_checks
from models.small_models import randomize
from numpy_reference import directional_derivative

from keras_attention import AdditiveAttention
from keras_attention import DotProductAttention
from keras_attention import LocalAttention
from keras_attention import LocationSensitiveAttention
from keras_attention import SelfAttention
from keras_attention import masks

BATCH, QUERIES, KEYS, UNITS, WINDOW = 2, 5, 11, 7, 2
QUERY_WIDTH, VALUE_WIDTH, KEY_WIDTH = 19, 13, 17
PRECISE = "float32" if keras.backend.backend() == "jax" else "float64"
LENGTHS = np.array([11, 4])
VALUE_MASK = np.arange(KEYS) < LENGTHS[:, None]
QUERY_MASK = np.arange(QUERIES) < np.array([[5], [3]])
PREDICTIVE_WEIGHTS = {
    "position_kernel": (QUERY_WIDTH, QUERY_WIDTH),
    "position_vector": (QUERY_WIDTH,),
}
each_kind = pytest.mark.parametrize(
    "predictive", [False, True], ids=["local-m", "local-p"]
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


def built(predictive=False, units=UNITS, window=WINDOW, **options):
    layer = LocalAttention(window, units, predictive=predictive, **options)
    layer.build(*(inputs()[n].shape for n in ("query", "value", "key")))
    return randomize(layer)


def weights_of(layer):
    return {w.name: np.array(w, "float64") for w in layer.weights}


def expected(query, value, key, visible=None, lengths=LENGTHS, **weights):
    """Equations 9 and 10 in float64, one pair at a time."""
    visible = VALUE_MASK[:, None] if visible is None else visible
    visible = np.broadcast_to(visible, (BATCH, QUERIES, KEYS))
    alignments = np.zeros((BATCH, QUERIES, KEYS))
    for row, t in np.ndindex(BATCH, QUERIES):
        centre = float(t)
        if "position_vector" in weights:
            hidden = np.tanh(query[row, t] @ weights["position_kernel"])
            logit = hidden @ weights["position_vector"]
            centre = lengths[row] / (1 + np.exp(-logit))
        seen = [
            s
            for s in range(KEYS)
            if abs(s - centre) <= WINDOW and visible[row, t, s]
        ]
        if not seen:
            continue
        hidden = query[row, t] @ weights["query_kernel"]
        hidden = hidden + key[row, seen] @ weights["key_kernel"]
        odds = np.exp(np.tanh(hidden) @ weights["vector"])
        found = odds / odds.sum()
        if "position_vector" in weights:
            distance = np.array(seen) - centre
            found *= np.exp(-(distance**2) / (2 * (WINDOW / 2) ** 2))
        alignments[row, t, seen] = found
    return alignments @ value, alignments


def test_local_attention_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        LocalAttention,
        {
            "window": WINDOW,
            "units": UNITS,
            "score": None,
            "predictive": True,
            "dropout": 0.1,
            "seed": 3,
        },
        {**inputs(), "return_attention_scores": True},
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        {
            **PREDICTIVE_WEIGHTS,
            "score/query_kernel": (QUERY_WIDTH, UNITS),
            "score/key_kernel": (KEY_WIDTH, UNITS),
            "score/vector": (UNITS,),
        },
        tmp_path=tmp_path,
    )


@each_kind
def test_local_attention_is_its_equations(predictive):
    layer = built(predictive)
    found = layer(
        **inputs(), value_mask=VALUE_MASK, return_attention_scores=True
    )
    wanted = expected(**inputs(), **weights_of(layer))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    totals = wanted[1].sum(axis=-1)
    assert totals.max() < 1 if predictive else totals[0].min() > 0.999
    # The window of the last query of the second row holds no real key.
    assert predictive or totals[1, -1] > 0
    alone = layer(**inputs(), value_mask=VALUE_MASK)
    np.testing.assert_array_equal(alone, found[0])


PAIRS = np.random.default_rng(3).random((BATCH, QUERIES, KEYS)) < 0.6
MASKS = {
    "causal": (masks.Causal(1), np.tri(QUERIES, KEYS, 1)[None]),
    "pairs": (PAIRS, PAIRS),
    "any of two": (
        masks.SlidingWindow(0, 0) | masks.Array(PAIRS),
        np.eye(QUERIES, KEYS)[None] + PAIRS,
    ),
}


@each_kind
@pytest.mark.parametrize("name", MASKS)
def test_masks_of_queries_and_keys(name, predictive):
    layer = built(predictive)
    mask, dense = MASKS[name]
    found = layer(
        **inputs(),
        query_mask=QUERY_MASK,
        value_mask=VALUE_MASK,
        attention_mask=mask,
        return_attention_scores=True,
    )
    visible = (dense > 0) & VALUE_MASK[:, None] & QUERY_MASK[..., None]
    query = np.where(QUERY_MASK[..., None], inputs()["query"], 0)
    arrays = {**inputs(), "query": query}
    wanted = expected(**arrays, visible=visible, **weights_of(layer))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@each_kind
def test_gradients_are_finite_differences(predictive):
    arrays = inputs(PRECISE)
    layer = built(predictive, dtype=PRECISE)
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


SCORES = {
    "additive": lambda: AdditiveAttention(UNITS, normalize=True),
    "general": lambda: DotProductAttention("general"),
}
if keras.backend.backend() == "tensorflow":  # quick enough for all
    SCORES["self"] = lambda: SelfAttention(UNITS)
    SCORES["distance"] = lambda: DotProductAttention("distance")


@pytest.mark.parametrize("name", SCORES)
def test_a_window_on_everything_is_the_layer_inside(name):
    """And drops what that layer drops, at the coordinates of the keys."""
    generator = np.random.default_rng(7)
    query = generator.normal(size=(BATCH, QUERIES, 3)).astype("float32")
    value = generator.normal(size=(BATCH, KEYS, 13)).astype("float32")
    key = generator.normal(size=(BATCH, KEYS, 3)).astype("float32")
    arrays = {"query": query, "value": value, "key": key}
    inside = SCORES[name]()
    local = LocalAttention(KEYS, score=inside, dropout=0.4, seed=3)
    local.build(query.shape, value.shape, key.shape)
    randomize(inside)
    whole = type(inside).from_config(
        {**inside.get_config(), "dropout": 0.4, "seed": 3, "name": "whole"}
    )
    whole.build(query.shape, value.shape, key.shape)
    whole.set_weights(inside.get_weights())
    for training in (False, True):
        found, wanted = (
            layer(
                **arrays,
                value_mask=VALUE_MASK,
                return_attention_scores=True,
                training=training,
            )
            for layer in (local, whole)
        )
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@each_kind
def test_a_step_stands_at_its_position(predictive):
    layer = built(predictive, dropout=0.4, seed=3)
    tensors = {n: ops.convert_to_tensor(x) for n, x in inputs().items()}
    real = ops.convert_to_tensor(VALUE_MASK)
    memory = layer.prepare(tensors["value"], tensors["key"], real)
    assert layer.initial_state(memory, slots=3) == {}
    seed = layer.draw_seed(True)
    options = {"seed": seed, "training": True, "return_attention_scores": True}
    whole = layer.attend(tensors["query"], memory, {}, **options)
    for t in range(QUERIES):
        # As many slots, each at a step of its own in the rows of a batch.
        positions = np.array([[t], [QUERIES - 1 - t]], "int32")
        rows = [0, 1], [t, QUERIES - 1 - t]
        query = inputs()["query"][rows][:, None]
        step = layer.attend(query, memory, {}, positions=positions, **options)
        for one, other in zip(step[:2], whole[:2], strict=True):
            other = np.array(other)[rows]
            np.testing.assert_allclose(one[:, 0], other, atol=1e-5)


@each_kind
def test_far_and_short_sources(predictive):
    layer = built(predictive)
    layer.score.vector.assign(200 * layer.score.vector)
    arrays = inputs()
    for length in (0, 1, KEYS):
        context, weights = layer(
            arrays["query"],
            arrays["value"][:, :length],
            arrays["key"][:, :length],
            attention_mask=np.ones((QUERIES, length), bool),
            return_attention_scores=True,
        )
        assert np.isfinite(as_float64(context)).all()
        totals = as_float64(weights).sum(axis=-1)
        if not predictive:  # the window of query 4 ends before key 1
            seen = (np.arange(QUERIES) - WINDOW < length) & (length > 0)
            np.testing.assert_allclose(totals, [seen] * BATCH, atol=1e-5)


def test_a_target_past_the_source_finds_nothing():
    layer = built()
    tensors = {n: ops.convert_to_tensor(x) for n, x in inputs().items()}
    memory = layer.prepare(tensors["value"], tensors["key"])
    for position, is_there in ((KEYS + WINDOW - 1, True), (10**6, False)):
        context, _, _ = layer.attend(
            tensors["query"][:, :1],
            memory,
            {},
            positions=np.full((1, 1), position, "int32"),
        )
        assert bool(np.any(context)) is is_there


@pytest.mark.tensorflow_only
@each_kind
def test_program_has_nothing_of_all_pairs(predictive):
    import tensorflow as tf
    from programs import largest_tensor
    from programs import lowered

    queries, keys = 1009, 1201
    layer = built(predictive)

    def run(query, value, key, real, padding):
        with tf.GradientTape() as tape:
            tape.watch([query, value, key])
            found = layer(
                query, value, key, value_mask=real, query_mask=padding
            )
            loss = tf.reduce_sum(found)
        return tape.gradient(loss, [query, value, key])

    program = lowered(
        run,
        tf.zeros((1, queries, QUERY_WIDTH)),
        tf.zeros((1, keys, VALUE_WIDTH)),
        tf.zeros((1, keys, KEY_WIDTH)),
        tf.ones((1, keys), "bool"),
        tf.ones((1, queries), "bool"),
    )
    assert largest_tensor(program) < queries * keys / 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0, "units": 3}, "`window` must be a positive integer"),
        (
            {"window": 3, "score": LocationSensitiveAttention(3)},
            "`score` must be a layer without a state",
        ),
    ],
    ids=["window", "score"],
)
def test_bad_argument_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        LocalAttention(**options)
