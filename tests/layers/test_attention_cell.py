"""The cell of both orders against the papers, on any Keras RNN cell."""

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
from user_mechanisms import InTurn

from keras_attention import AdditiveAttention
from keras_attention import AttentionCell
from keras_attention import MultiHeadAttention
from keras_attention import SelfAttention

BATCH, LENGTH, SOURCE, WIDTH, SOURCE_WIDTH, UNITS = 2, 3, 7, 2, 11, 13
MASK = np.arange(SOURCE) < np.array([[7], [5]])


@keras.saving.register_keras_serializable(package="tests")
class OddCell(keras.layers.Layer):
    """States of two sizes, neither the output's; no argument `training`."""

    state_size = [2, 7]
    output_size = 5

    def build(self, input_shape):
        shapes = {"kernel": input_shape[-1], "short": 2, "long": 7}
        for name, width in shapes.items():
            weight = self.add_weight(shape=(width, 5), name=name)
            setattr(self, f"{name}_kernel", weight)
        self.built = True

    def call(self, inputs, states):
        short, long = states
        output = ops.tanh(
            ops.matmul(inputs, self.kernel_kernel)
            + ops.matmul(short, self.short_kernel)
            + ops.matmul(long, self.long_kernel)
        )
        long = ops.concatenate([long[:, 1:], output[:, :1]], axis=-1)
        return output, [output[:, 3:], long]


CELLS = {
    "lstm": lambda: keras.layers.LSTMCell(5),
    "gru": lambda: keras.layers.GRUCell(5),
    "simple": lambda: keras.layers.SimpleRNNCell(5),
    "stacked": lambda: keras.layers.StackedRNNCells(
        [keras.layers.LSTMCell(3), keras.layers.GRUCell(5)]
    ),
    "odd": OddCell,
}
ORDERS = {
    "previous": {"query_state": "previous"},
    "current": {"query_state": "current"},
    "unfed": {"query_state": "current", "input_feeding": False},
}
each_order = pytest.mark.parametrize("order", ORDERS)


def inputs():
    generator = np.random.default_rng(4)
    shapes = (BATCH, LENGTH, WIDTH), (BATCH, SOURCE, SOURCE_WIDTH)
    return [generator.normal(size=s).astype("float32") for s in shapes]


def built(cell, order, attention=None, **options):
    attention = attention or AdditiveAttention(3)
    layer = AttentionCell(cell, attention, **ORDERS[order], **options)
    layer.build(*(array.shape for array in inputs()))
    return randomize(layer)


# --- cells in float64 --------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(weights, x, states):
    (kernel, recurrent, bias), (h, c) = weights, states
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, [h, c]


def gru(weights, x, states):
    (kernel, recurrent, bias), (h,) = weights, states
    xz, xr, xh = np.split(x @ kernel + bias[0], 3)
    hz, hr, hh = np.split(h @ recurrent + bias[1], 3)
    z = sigmoid(xz + hz)
    h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
    return h, [h]


def simple(weights, x, states):
    (kernel, recurrent, bias), (h,) = weights, states
    h = np.tanh(x @ kernel + h @ recurrent + bias)
    return h, [h]


def stacked(weights, x, states):
    x, first = lstm(weights[:3], x, states[:2])
    x, second = gru(weights[3:], x, states[2:])
    return x, first + second


def odd(weights, x, states):
    (kernel, short, long), (a, b) = weights, states
    output = np.tanh(x @ kernel + a @ short + b @ long)
    return output, [output[3:], np.r_[b[1:], output[:1]]]


IN_FLOAT64 = {
    "lstm": (lstm, lambda states: states[0]),
    "gru": (gru, lambda states: states[0]),
    "simple": (simple, lambda states: states[0]),
    "stacked": (stacked, lambda states: states[2]),
    "odd": (odd, lambda states: np.zeros(5)),
}


def float64(weights):
    return [np.array(weight, "float64") for weight in weights]


def row_in_float64(layer, kind, order, inputs, value, states):
    """Bahdanau et al. 2015, A.2.2; Luong et al. 2015, 3.1 and 3.3; one row."""
    move, output_of = IN_FLOAT64[kind]
    query, key, vector = float64(layer.attention.weights)
    kernel, bias = float64(layer.readout.weights)
    weights = float64(layer.cell.weights)

    def ask(h):
        scores = np.tanh(h @ query + value @ key) @ vector
        odds = np.exp(scores - scores.max())
        return odds / odds.sum(), odds / odds.sum() @ value

    h, o = output_of(states), np.zeros(layer.output_width)
    outputs, alignments = [], []
    for x in inputs:
        if order == "previous":
            a, c = ask(h)
            h, states = move(weights, np.r_[x, c], states)
            o = np.tanh(np.r_[h, c, x] @ kernel + bias)
        else:
            h, states = move(
                weights, np.r_[x, o] if order == "current" else x, states
            )
            a, c = ask(h)
            o = np.tanh(np.r_[h, c] @ kernel + bias)
        outputs.append(o)
        alignments.append(a)
    return np.array(outputs), np.array(alignments)


def first_states(layer, batch=BATCH):
    generator = np.random.default_rng(9)
    sizes = keras.tree.flatten(layer.cell.state_size)
    return [generator.normal(size=(batch, n)).astype("float32") for n in sizes]


@each_order
@pytest.mark.parametrize("kind", CELLS)
def test_cell_is_the_papers_and_its_steps(kind, order):
    layer = built(CELLS[kind](), order, units=UNITS)
    tokens, value = inputs()
    states = first_states(layer)
    outputs, weights = layer(
        tokens,
        value,
        value_mask=MASK,
        cell_state=states,
        return_attention_scores=True,
    )
    assert outputs.shape == (BATCH, LENGTH, UNITS)
    for row, length in enumerate(MASK.sum(axis=1)):
        expected = row_in_float64(
            layer,
            kind,
            order,
            tokens[row].astype("float64"),
            value[row, :length].astype("float64"),
            [state[row].astype("float64") for state in states],
        )
        np.testing.assert_allclose(outputs[row], expected[0], atol=1e-5)
        np.testing.assert_allclose(
            weights[row, :, :length], expected[1], atol=1e-5
        )
    assert_steps_are(layer, outputs, weights, states)


def assert_steps_are(layer, outputs, weights, cell_state):
    """Two slots alike, so that states of slots are states of their own."""
    tokens, value = (ops.convert_to_tensor(array) for array in inputs())
    real = ops.convert_to_tensor(MASK)
    memory = layer.attention.prepare(
        ops.where(real[..., None], value, 0.0), mask=real
    )
    state = layer.initial_state(memory, BATCH, 2, cell_state)
    for step in range(LENGTH):
        output, seen, state = layer.step(
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
                seen[:, slot], weights[:, step], atol=1e-5
            )


MECHANISMS = {
    "wide": lambda: SelfAttention(17),
    "looped": lambda: InTurn(SelfAttention(17)),
    "coverage": Coverage,
}


@each_order
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_any_mechanism_is_its_steps(mechanism, order):
    layer = built(keras.layers.GRUCell(5), order, MECHANISMS[mechanism]())
    arguments = {"value_mask": MASK, "return_attention_scores": True}
    results = {
        mode: run(mode, lambda *a: layer(*a, **arguments), *inputs())
        for mode in ("eager", "compiled")
    }
    for one, other in zip(*results.values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert_steps_are(layer, *results["eager"], None)
    assert not layer(*inputs(), value_mask=MASK).shape[2] == 17


@each_order
def test_loop_of_a_state_changes_nothing(order):
    plain = built(keras.layers.GRUCell(5), order, SelfAttention(17))
    looped = built(keras.layers.GRUCell(5), order, InTurn(SelfAttention(17)))
    looped.set_weights(plain.get_weights())
    for one, other in zip(
        *(
            layer(*inputs(), value_mask=MASK, return_attention_scores=True)
            for layer in (plain, looped)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


@each_order
def test_dropout_is_drawn_once_for_a_sequence(order):
    """Of cells, which keep their masks for a call, and of the mechanism."""
    cell = keras.layers.LSTMCell(5, dropout=0.5, recurrent_dropout=0.3, seed=2)
    layer = built(cell, order, SelfAttention(17, dropout=0.4, seed=3))

    def call(*arrays):
        return layer(*arrays, training=True)

    first, second = (run("eager", call, *inputs()) for _ in range(2))
    assert np.abs(first - second).max() > 1e-2
    plain = layer(*inputs(), training=False)
    np.testing.assert_array_equal(layer(*inputs()), plain)
    if keras.backend.backend() == "tensorflow":  # on JAX, seeds are arguments
        compiled = run("compiled", call, *inputs())
        assert np.abs(compiled - plain).max() > 1e-2
    # No mask of a loop that is over is left.
    assert np.isfinite(run("eager", call, *inputs())).all()


@pytest.mark.parametrize("mechanism", ["wide", "coverage"])
@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "order",
    [
        pytest.param(
            order, marks=[pytest.mark.exhaustive] * (order == "current")
        )
        for order in ORDERS
    ],
)
def test_gradient_compiled_is_that_of_eager(order, mechanism):
    import tensorflow as tf

    layer = built(keras.layers.LSTMCell(5), order, MECHANISMS[mechanism]())

    def gradients(*arrays):
        with tf.GradientTape() as tape:
            outputs = layer(*arrays, value_mask=MASK)
            loss = tf.reduce_sum(outputs[:, :, 0] - outputs[:, :, 1] ** 2)
        return tape.gradient(loss, layer.trainable_weights)

    tensors = [tf.constant(array) for array in inputs()]
    compiled = tf.function(gradients, jit_compile=True, autograph=False)
    for one, other in zip(compiled(*tensors), gradients(*tensors), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        assert np.abs(other).max() > 0


def test_cell_is_a_good_layer(tmp_path):
    tokens, value = inputs()
    case = Case(
        AttentionCell,
        {"cell": keras.layers.GRUCell(5), "attention": AdditiveAttention(3)},
        {"inputs": tokens, "value": value, "return_attention_scores": True},
        [(BATCH, LENGTH, 5), (BATCH, LENGTH, SOURCE)],
    )
    arguments = set(inspect.signature(AttentionCell.__init__).parameters)
    assert arguments - {"self", "kwargs"} <= set(case.new_layer().get_config())
    check_config_round_trip(case)
    check_symbolic_output(case)
    check_saved_model(case, tmp_path / "model.keras")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": keras.layers.LSTM(5)}, "`cell` .*LSTM, pass its `cell`"),
        ({"cell": "lstm"}, "`cell` must be a Keras RNN cell: a layer with"),
        (
            {"attention": MultiHeadAttention(2, 3)},
            "`attention` must be an AttentionMechanism.*says how to write one",
        ),
        ({"query_state": "next"}, "`query_state` must be one of 'previous'"),
        ({"input_feeding": False}, "`input_feeding` must be True where"),
        ({"units": 0}, "`units` must be a positive integer"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    good = {"cell": keras.layers.GRUCell(5), "attention": AdditiveAttention(3)}
    with pytest.raises(ValueError, match=message):
        AttentionCell(**{**good, **change})


def test_states_of_another_cell_are_refused():
    layer = built(keras.layers.LSTMCell(5), "current")
    states = [np.zeros((BATCH, 5), "float32")]
    with pytest.raises(ValueError, match=r"size in \[5, 5\].*LSTMCell"):
        layer(*inputs(), cell_state=states)
