"""`AttentionRNN`, and what a cell of several mechanisms does in it."""

import functools
import inspect

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import Case
from layer_checks import check_config_round_trip
from layer_checks import check_saved_model
from layer_checks import check_symbolic_output
from models.small_models import randomize
from models.small_models import run
from user_mechanisms import Coverage

from keras_attention import AdditiveAttention
from keras_attention import AttentionCell
from keras_attention import AttentionRNN
from keras_attention import CoverageAttention
from keras_attention import DotProductAttention
from keras_attention import ForwardAttention
from keras_attention import GaussianMixtureAttention
from keras_attention import LocalAttention
from keras_attention import LocationSensitiveAttention
from keras_attention import MonotonicAttention
from keras_attention import RNNDecoder

BATCH, LENGTH, SOURCE, WIDTH, SOURCE_WIDTH, UNITS = 2, 5, 7, 3, 11, 13
OTHER_SOURCE, OTHER_WIDTH = 4, 17
VALUE_MASK = np.arange(SOURCE) < np.array([[7], [5]])


@keras.saving.register_keras_serializable(package="tests")
def add(inputs, fed):
    return inputs + fed


CELLS = {
    "previous": {"units": UNITS},
    "current": {"query_state": "current"},
    "unfed": {"query_state": "current", "input_feeding": False},
    "attention": {"query_state": "current", "output": "attention"},
    "cell": {"output": "cell", "attention_layer_size": 6},
    "several": {"query_state": "current", "attention_layer_size": [2, 6]},
    "read": {"query_state": "current", "cell_input": add},
}


def inputs():
    generator = np.random.default_rng(4)
    shapes = (BATCH, LENGTH, WIDTH), (BATCH, SOURCE, SOURCE_WIDTH)
    return [generator.normal(size=s).astype("float32") for s in shapes]


def cell(kind, cell_class=keras.layers.LSTMCell):
    attention = AdditiveAttention(3)
    if kind == "several":
        attention = [attention, Coverage()]
    units = WIDTH if kind == "read" else 5
    return AttentionCell(cell_class(units), attention, **CELLS[kind])


def built(kind, **options):
    layer = AttentionRNN(cell(kind), return_sequences=True, **options)
    layer.build(*(array.shape for array in inputs()))
    return randomize(layer)


def first_of(nest):
    return nest[0] if isinstance(nest, (list, tuple)) else nest


@pytest.mark.parametrize("kind", CELLS)
def test_steps_are_the_whole(kind):
    layer = built(kind)
    outputs, weights = layer(
        *inputs(), value_mask=VALUE_MASK, return_attention_scores=True
    )
    tokens, value = (ops.convert_to_tensor(array) for array in inputs())
    memory = layer.cell.prepare(value, VALUE_MASK)
    state = layer.cell.initial_state(memory, BATCH, 2)
    for step in range(LENGTH):
        output, seen, state = layer.cell.step(
            ops.repeat(tokens[:, step : step + 1], 2, axis=1),
            memory,
            state,
            positions=np.full((1, 2), step, "int32"),
            return_attention_scores=True,
        )
        for slot in range(2):
            np.testing.assert_allclose(
                output[:, slot], outputs[:, step], atol=1e-5
            )
            np.testing.assert_allclose(
                seen[:, slot], first_of(weights)[:, step], atol=1e-5
            )


@pytest.mark.parametrize("kind", CELLS)
def test_a_call_goes_on_from_a_state(kind):
    layer = built(kind, return_state=True)
    tokens, value = inputs()
    whole, end = layer(tokens, value)
    start, state = layer(tokens[:, :2], value)
    rest, last = layer(tokens[:, 2:], value, initial_state=state)
    np.testing.assert_allclose(whole[:, :2], start, atol=1e-5)
    np.testing.assert_allclose(whole[:, 2:], rest, atol=1e-5)
    leaves = [keras.tree.flatten(nest) for nest in (last, end)]
    for one, other in zip(*leaves, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert np.array(last["position"]).tolist() == [[LENGTH]] * BATCH


MECHANISMS = {
    "additive": AdditiveAttention,
    "coverage": CoverageAttention,
    "location": LocationSensitiveAttention,
    "forward": ForwardAttention,
    "chunks": functools.partial(MonotonicAttention, chunk_size=2),
    "mixture": GaussianMixtureAttention,
}


@pytest.mark.parametrize("kind", MECHANISMS)
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_a_call_goes_on_in_half_precision_from_float32(kind, dtype):
    mechanism = MECHANISMS[kind](3, dtype=dtype)
    cell = keras.layers.GRUCell(5, dtype=dtype)
    layer = AttentionRNN(
        AttentionCell(cell, mechanism, dtype=dtype),
        return_sequences=True,
        return_state=True,
        dtype=dtype,
    )
    tokens, value = inputs()
    whole, end = layer(tokens, value)
    assert whole.dtype == dtype.removeprefix("mixed_")
    # In a model, whose scope of casts the layer is in, the same numbers.
    given = [keras.Input(x.shape[1:], dtype="float32") for x in inputs()]
    model = keras.Model(given, layer(*given))
    model.dtype_policy = keras.DTypePolicy(dtype)
    in_model, _ = model([tokens, value])
    np.testing.assert_array_equal(
        ops.cast(in_model, "float32"), ops.cast(whole, "float32")
    )
    start, state = layer(tokens[:, :2], value)
    rest, last = layer(tokens[:, 2:], value, initial_state=state)
    joined = ops.concatenate([start, rest], axis=1)
    np.testing.assert_allclose(
        ops.cast(joined, "float32"), ops.cast(whole, "float32"), atol=0.02
    )
    leaves = [keras.tree.flatten(x["mechanism"]) for x in (last, end)]
    for one, other in zip(*leaves, strict=True):
        assert ops.dtype(one) == ops.dtype(other) == "float32"
        np.testing.assert_allclose(one, other, atol=0.02)


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_shape_is_known_before_the_first_call(kind, return_sequences):
    layer = AttentionRNN(cell(kind), return_sequences=return_sequences)
    shapes = [array.shape for array in inputs()]
    found = layer.compute_output_shape(*shapes)
    assert found == tuple(layer(*inputs()).shape)


@pytest.mark.parametrize("kind", ["previous", "unfed"])
def test_a_window_goes_on_from_where_it_was(kind):
    """Local attention has no state, and needs to know the position."""
    layer = AttentionRNN(
        AttentionCell(
            keras.layers.GRUCell(5), LocalAttention(1, 3), **CELLS[kind]
        ),
        return_sequences=True,
        return_state=True,
    )
    tokens, value = inputs()
    whole = layer(tokens, value, return_attention_scores=True)
    state = layer(tokens[:, :2], value)[-1]
    rest = layer(
        tokens[:, 2:], value, initial_state=state, return_attention_scores=True
    )
    for one, other in zip(whole[:2], rest[:2], strict=True):
        np.testing.assert_allclose(one[:, 2:], other, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, "eager") for kind in CELLS),
        # One program without and one with a state.
        ("unfed", "compiled"),
        ("several", "compiled"),
    ],
)
def test_padded_inputs_change_nothing(kind, mode):
    """As if they were not there, in front and behind."""
    layer = built(kind, return_state=True)
    tokens, value = inputs()
    whole, end = layer(tokens[:, 1:4], value)
    real = np.tile([False, True, True, True, False], (BATCH, 1))
    tokens = np.where(real[..., None], tokens, np.nan)

    def call(tokens, value):
        return layer(
            tokens, value, inputs_mask=real, return_attention_scores=True
        )

    outputs, weights, last = run(mode, call, tokens, value)
    np.testing.assert_array_equal(outputs[:, 0], 0)
    np.testing.assert_allclose(outputs[:, 1:4], whole, atol=1e-5)
    np.testing.assert_allclose(outputs[:, 4], whole[:, 2], atol=1e-5)
    for one, other in zip(
        *(keras.tree.flatten(state) for state in (last, end)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    seen = np.array(first_of(weights)).sum(axis=-1)
    np.testing.assert_allclose(seen, real.astype("float32"), atol=1e-5)


def test_mechanisms_have_memories_of_their_own():
    """What each finds is what it finds alone, in a layer or without one."""
    generator = np.random.default_rng(8)
    other = generator.normal(size=(BATCH, OTHER_SOURCE, OTHER_WIDTH))
    tokens, value = inputs()
    attentions = [AdditiveAttention(3), DotProductAttention("general")]
    layer = AttentionRNN(
        AttentionCell(
            keras.layers.GRUCell(5),
            attentions,
            query_state="current",
            input_feeding=False,
            output="attention",
        ),
        return_sequences=True,
    )
    real = np.arange(OTHER_SOURCE) < np.array([[3], [4]])
    values, masks = [value, other.astype("float32")], [VALUE_MASK, real]
    outputs, weights = layer(
        tokens, values, value_mask=masks, return_attention_scores=True
    )
    hidden = keras.layers.RNN(layer.cell.cell, return_sequences=True)(tokens)
    found = []
    for index, attention in enumerate(attentions):
        context, expected = attention(
            hidden,
            values[index],
            value_mask=masks[index],
            return_attention_scores=True,
        )
        np.testing.assert_allclose(weights[index], expected, atol=1e-5)
        found.append(context)
    np.testing.assert_allclose(outputs, np.concatenate(found, -1), atol=1e-5)


def test_last_output_is_that_of_the_last_real_step():
    layer = built("previous")
    real = np.arange(LENGTH) < np.array([[5], [3]])
    outputs = np.array(layer(*inputs(), inputs_mask=real))
    layer.return_sequences = False
    last = layer(*inputs(), inputs_mask=real)
    np.testing.assert_array_equal(last[0], outputs[0, 4])
    np.testing.assert_array_equal(last[1], outputs[1, 2])


@pytest.mark.parametrize("kind", ["previous", "several"])
def test_layer_is_a_good_one(kind, tmp_path):
    tokens, value = inputs()
    number = 2 if kind == "several" else 1
    width = UNITS if kind == "previous" else 5
    case = Case(
        AttentionRNN,
        {"cell": cell(kind), "return_sequences": True},
        {"inputs": tokens, "value": value},
        [(BATCH, LENGTH, width)],
    )
    arguments = set(inspect.signature(AttentionRNN.__init__).parameters)
    assert arguments - {"self", "kwargs"} <= set(case.new_layer().get_config())
    check_config_round_trip(case)
    check_symbolic_output(case)
    check_saved_model(case, tmp_path / "model.keras")
    assert len(case.built_layer().cell.mechanism.weights) >= 2 * number


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only  # where JAX compiles its loop for 40 s
def test_it_trains_in_a_functional_model_with_keras_masks(tmp_path):
    """A source that ends in padding, states of its encoder, all weights out."""
    source = keras.Input((None,), dtype="int32")
    target = keras.Input((None,), dtype="int32")
    encoded, *states = keras.layers.LSTM(
        5, return_sequences=True, return_state=True, use_cudnn=False
    )(keras.layers.Embedding(9, 4, mask_zero=True)(source))
    layer = AttentionRNN(cell("several"), return_sequences=True)
    outputs, weights = layer(
        keras.layers.Embedding(9, 3, mask_zero=True)(target),
        encoded,
        initial_state=states,
        return_attention_scores=True,
    )
    model = keras.Model([source, target], keras.layers.Dense(9)(outputs))
    seen = keras.Model([source, target], weights)
    generator = np.random.default_rng(3)
    ids = generator.integers(1, 9, (2, 6, LENGTH)).astype("int32")
    ids[:, :3, 3:] = 0
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    history = model.fit(list(ids), ids[1], epochs=12, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    for one in seen.predict(list(ids), verbose=0):
        assert one.shape == (6, LENGTH, LENGTH)
        assert np.abs(one[:3, :, 3:]).max() == 0  # padding of the source
        assert np.abs(one[:3, 3:]).max() == 0  # and of the target
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        loaded.predict(list(ids), verbose=0),
        model.predict(list(ids), verbose=0),
    )


def test_decoder_of_a_given_cell_is_its_steps():
    decoder = RNNDecoder(9, units=5, cell=cell("several"), embedding_dim=3)
    encoded = inputs()[1]
    target = np.array([[1, 5, 4], [1, 7, 2]])
    logits, weights = decoder(
        target, encoded, VALUE_MASK, return_attention_scores=True
    )
    state = decoder.start(encoded, VALUE_MASK, None, beams=2)
    for index in range(3):
        found, state, seen = decoder.step(
            np.repeat(target[:, index : index + 1], 2, axis=1), state, index
        )
        np.testing.assert_allclose(found[:, 1], logits[:, index], atol=1e-5)
        np.testing.assert_allclose(seen[:, 1], weights[:, index], atol=1e-5)
    copy = RNNDecoder.from_config(decoder.get_config())
    copy.build(target.shape, encoded.shape)
    copy.set_weights(decoder.get_weights())
    np.testing.assert_array_equal(
        copy(target, encoded), decoder(target, encoded)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention": []}, "`attention` must be an AttentionMechanism"),
        ({"attention_layer_size": [2, 3]}, "one size for each .* there are 1"),
        ({"attention_layer_size": 0}, "must be a positive integer"),
        ({"output": "both"}, "`output` must be one of 'readout', 'attention'"),
        ({"output": "cell", "units": 5}, "`units` must be None with output="),
        ({"cell_input": "add"}, "`cell_input` must be a function of two"),
    ],
)
def test_bad_options_of_a_cell_are_refused(options, message):
    good = {"cell": keras.layers.GRUCell(5), "attention": AdditiveAttention(3)}
    with pytest.raises(ValueError, match=message):
        AttentionCell(**{**good, **options})


def test_what_is_no_attention_cell_is_refused():
    with pytest.raises(
        ValueError, match=r"`cell` must be an AttentionCell.*RNN"
    ):
        AttentionRNN(keras.layers.GRUCell(5))
    with pytest.raises(ValueError, match="`attention` must be None where"):
        RNNDecoder(9, 5, AdditiveAttention(3), cell=cell("cell"))
    with pytest.raises(ValueError, match="`query_state` must be left out, lik"):
        RNNDecoder(9, 5, cell=cell("cell"), query_state="current")
    with pytest.raises(ValueError, match="`units` must be 5, the width of"):
        RNNDecoder(9, 6, cell=cell("cell"))(np.ones((2, 3)), inputs()[1])


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (2, {"value": 3}, "`value` must be one tensor, or a list .* of 3"),
        (1, {"value": 1}, "`value` must be one tensor, or .* has 1 mechanism"),
        (2, {"value": 2, "value_mask": 1}, "`value_mask` must be a list of 2"),
        (2, {"value_mask": 2}, "`value_mask` must be one tensor, as `value`"),
        (1, {"initial_state": {"cell": []}}, "`initial_state` must be a state"),
        (1, {"inputs": np.ones((2, 3))}, r"`inputs` must have shape \(batch"),
    ],
)
def test_bad_arguments_of_a_call_are_refused(number, changes, message):
    """A number stands for a list of as many values or masks."""
    tokens, value = inputs()
    each = {"value": value, "value_mask": VALUE_MASK}
    changes = {
        name: [each[name]] * change if name in each else change
        for name, change in changes.items()
    }
    attention = [AdditiveAttention(3) for _ in range(number)]
    cell = AttentionCell(
        keras.layers.GRUCell(5), attention if number > 1 else attention[0]
    )
    with pytest.raises(ValueError, match=message):
        AttentionRNN(cell)(**{"inputs": tokens, "value": value, **changes})


@pytest.mark.tensorflow_only
def test_layer_that_makes_the_input_of_the_cell_trains_compiled():
    """XLA cannot differentiate a layer's product of three axes in a loop."""

    @keras.saving.register_keras_serializable(package="tests")
    class Mix(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = keras.layers.Dense(4)

        def call(self, inputs, fed):
            return self.dense(ops.concatenate([inputs, fed], axis=-1))

    tokens, value = keras.Input((LENGTH, WIDTH)), keras.Input((SOURCE, 2))
    cell = AttentionCell(
        keras.layers.GRUCell(5),
        AdditiveAttention(3),
        output="attention",
        cell_input=Mix(),
    )
    model = keras.Model([tokens, value], AttentionRNN(cell)(tokens, value))
    model.compile("sgd", "mse", jit_compile=True)
    before = np.array(cell.cell_input.dense.kernel)
    tokens, value = inputs()
    model.train_on_batch([tokens, value[..., :2]], value[:, 0, :2])
    assert np.abs(before - cell.cell_input.dense.kernel).max() > 0
