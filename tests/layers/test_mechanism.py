"""One shot = a loop over the queries = steps, for every mechanism."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import as_float64
from models.small_models import randomize
from models.small_models import run
from user_mechanisms import Coverage
from user_mechanisms import InTurn

from keras_attention import AdditiveAttention
from keras_attention import AttentionMechanism
from keras_attention import DotProductAttention
from keras_attention import LocalAttention
from keras_attention import MonotonicAttention
from keras_attention import SelfAttention
from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import blockwise
from keras_attention.functional.blockwise import attend_blockwise
from keras_attention.functional.dense import attend_dense

BATCH, QUERIES, KEYS, WIDTH, VALUE_WIDTH = 2, 5, 7, 3, 11
LAYERS = {
    "additive": lambda **o: AdditiveAttention(13, normalize=True, **o),
    "distance": lambda **o: DotProductAttention("distance", **o),
    "self": lambda **o: SelfAttention(13, **o),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
each_mode = pytest.mark.parametrize(
    "mode",
    [
        "eager",
        pytest.param("graph", marks=pytest.mark.tensorflow_only),
        "compiled",
    ],
)
VALUE_MASK = np.arange(KEYS) < np.array([[6], [3]])
QUERY_MASK = np.arange(QUERIES) < np.array([[5], [4]])


def inputs():
    generator = np.random.default_rng(3)
    shapes = [
        (BATCH, QUERIES, WIDTH),
        (BATCH, KEYS, VALUE_WIDTH),
        (BATCH, KEYS, WIDTH),
    ]
    return [generator.normal(size=s).astype("float32") for s in shapes]


def built(layer):
    query, value, key = inputs()
    layer.build(query.shape, value.shape, key.shape)
    return randomize(layer)


def pattern():
    """What differs from query to query, by a rule and by a table."""
    table = np.random.default_rng(5).random((BATCH, QUERIES, KEYS)) < 0.8
    return masks.SlidingWindow(3, 2) & masks.Array(table)


def answer(layer, *arrays, **options):
    return layer(
        *arrays,
        query_mask=QUERY_MASK,
        value_mask=VALUE_MASK,
        attention_mask=pattern(),
        return_attention_scores=True,
        **options,
    )


def answer_with_lengths(layer, *arrays):
    mask = masks.Lengths(np.array([6, 3], "int32"))
    return layer(*arrays, attention_mask=mask, return_attention_scores=True)


@each_mode
@each_layer
def test_loop_over_queries_is_one_shot(make, mode):
    layer = built(make())
    # A graph of unknown lengths has masks of unknown lengths alone.
    ask = answer_with_lengths if mode == "graph" else answer
    expected = ask(layer, *inputs())
    found = run(mode, lambda *arrays: ask(InTurn(layer), *arrays), *inputs())
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@each_layer
def test_dropout_of_a_loop_is_that_of_one_shot(make):
    results = []
    for wrap in (lambda layer: layer, InTurn):
        layer = built(make(dropout=0.4, seed=3))
        results.append(answer(wrap(layer), *inputs(), training=True)[0])
    plain = answer(layer, *inputs(), training=False)[0]
    np.testing.assert_allclose(results[1], results[0], atol=1e-5)
    assert np.abs(np.array(plain) - np.array(results[0])).max() > 0.1


@pytest.mark.parametrize("rows", [1, BATCH])
@pytest.mark.parametrize("schedule", ["tiles", "batch"])
def test_dropout_at_positions_is_the_same_by_blocks(schedule, rows):
    generator = np.random.default_rng(13)
    shapes = [(BATCH, QUERIES, 4, 3), (BATCH, KEYS, 2, 3), (BATCH, KEYS, 2, 11)]
    tensors = [
        ops.convert_to_tensor(generator.normal(size=shape).astype("float32"))
        for shape in shapes
    ]
    positions = np.array([[17], [2]])[:rows] + np.arange(QUERIES)
    positions = ops.convert_to_tensor(positions, "int32")
    layer = AdditiveAttention(5, dropout=0.4, seed=3)
    dropout = layer.dropout_at(positions, seed=7, training=True)
    score = functional.DotProductScore()
    # No mask, bias, soft cap or sink.
    arguments = (*tensors, score, None, None, None, None, dropout)
    expected, _ = attend_dense(*arguments)
    with blockwise.schedule(schedule):
        found = attend_blockwise(*arguments, block_sizes=(2, 3))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Blocks of queries that are not full read no positions of other rows.
    keep = dropout.keep((BATCH, 1, QUERIES + 1, KEYS))
    whole = functional.Dropout(0.4, seed=7).keep((BATCH, 1, 30, KEYS))
    for row in range(BATCH):
        places = np.array(positions)[min(row, rows - 1)]
        np.testing.assert_array_equal(
            np.array(keep)[row, :, :QUERIES], np.array(whole)[row][:, places]
        )


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("jit_compile", [False, True])
@each_layer
def test_gradients_of_a_loop_are_those_of_one_shot(make, jit_compile):
    import tensorflow as tf

    layer = built(make())
    upstream = tf.constant(np.random.default_rng(7).normal(size=(5, 1)))

    def gradients(layer, *arrays):
        with tf.GradientTape() as tape:
            tape.watch(arrays)
            context, _ = answer(layer, *arrays)
            loss = tf.reduce_sum(context * tf.cast(upstream, "float32"))
        # `key_dense` of a softmax that ignores it may have none.
        return tape.gradient(loss, [*arrays, *layer.trainable_weights])

    tensors = [tf.constant(array) for array in inputs()]
    expected = gradients(layer, *tensors)
    compiled = tf.function(gradients, jit_compile=jit_compile, autograph=False)
    in_turn = InTurn(layer)
    in_turn.build(*(tensor.shape for tensor in tensors))
    for one, other in zip(compiled(in_turn, *tensors), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        assert np.abs(other).max() > 0


@each_layer
def test_steps_are_one_shot(make):
    layer = built(make())
    query, value, key = (ops.convert_to_tensor(array) for array in inputs())
    real = ops.convert_to_tensor(VALUE_MASK)
    context, weights = layer(
        query,
        value,
        key,
        value_mask=VALUE_MASK,
        use_causal_mask=True,
        return_attention_scores=True,
    )
    memory = layer.prepare(value, key, real)
    state = layer.initial_state(memory, slots=1)
    for step in range(QUERIES):
        found, seen, state = layer.attend(
            query[:, step : step + 1],
            memory,
            state,
            positions=np.full((1, 1), step, "int32"),
            mask=masks.Causal(step),
            return_attention_scores=True,
        )
        np.testing.assert_allclose(found[:, 0], context[:, step], atol=1e-5)
        np.testing.assert_allclose(seen[:, 0], weights[:, step], atol=1e-5)


def coverage_of(layer, query, value):
    """The formula in float64, one row, all keys real."""
    kernel, rate = (as_float64(weight) for weight in layer.weights)
    covered, contexts, weights = np.zeros(len(value)), [], []
    for position, one in enumerate(query.astype("float64")):
        scores = value @ (one @ kernel) / np.sqrt(value.shape[-1])
        scores -= rate * position * covered
        odds = np.exp(scores - scores.max())
        weights.append(odds / odds.sum())
        contexts.append(weights[-1] @ value)
        covered += weights[-1]
    return np.array(contexts), np.array(weights)


@pytest.mark.parametrize("mode", ["eager", "compiled"])
def test_mechanism_of_a_user_is_its_formula(mode):
    layer = built(Coverage())
    query, value, _ = inputs()

    def call(query, value):
        return layer(
            query,
            value,
            value_mask=VALUE_MASK,
            return_attention_scores=True,
        )

    context, weights = run(mode, call, query, value)
    for row, length in enumerate(VALUE_MASK.sum(axis=1)):
        expected = coverage_of(layer, query[row], value[row, :length])
        np.testing.assert_allclose(context[row], expected[0], atol=1e-5)
        np.testing.assert_allclose(
            weights[row, :, :length], expected[1], atol=1e-5
        )
        assert not weights[row, :, length:].any()


def test_mechanism_of_a_user_in_a_functional_model_and_a_file(tmp_path):
    query = keras.Input((None, WIDTH))
    value = keras.Input((None, VALUE_WIDTH))
    layer = Coverage()
    model = keras.Model([query, value], layer(query, value))
    assert model.output_shape == (None, None, VALUE_WIDTH)
    randomize(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(inputs()[:2]), model(inputs()[:2]))


def test_nan_at_padding_reaches_no_mechanism():
    layer = built(Coverage())
    query, value, _ = inputs()
    expected = layer(query, value, value_mask=VALUE_MASK)
    broken = np.where(VALUE_MASK[..., None], value, np.nan)
    found = layer(query, broken, value_mask=VALUE_MASK)
    np.testing.assert_array_equal(found, expected)


def test_loop_of_no_query():
    layer = built(Coverage())
    query, value, _ = inputs()
    assert layer(query[:, :0], value).shape == (BATCH, 0, VALUE_WIDTH)


@pytest.mark.parametrize("missing", ["prepare", "attend"])
def test_method_that_a_mechanism_lacks_is_named(missing):
    class Half(AttentionMechanism):
        def prepare(self, value, key=None, mask=None):
            return {"value": value}

    if missing == "prepare":
        del Half.prepare
    query, value, _ = inputs()
    with pytest.raises(TypeError, match=f"Half does not define `{missing}`"):
        Half()(query, value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DotProductAttention(use_scale=True),
        lambda: MonotonicAttention(score=DotProductAttention("dot")),
        lambda: LocalAttention(3, score=DotProductAttention("dot")),
    ],
    ids=["dot product", "monotonic", "local"],
)
def test_widths_may_be_corrected_after_an_error(make):
    layer, query = make(), np.ones((2, 3, 5), "float32")
    for _ in range(2):
        with pytest.raises(ValueError, match="must have the width of `query`"):
            layer(query, np.ones((2, 7, 6), "float32"))
    assert layer(query, np.ones((2, 7, 5), "float32")).shape == (2, 3, 5)
