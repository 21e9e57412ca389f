"""Stacks of recurrent cells, run on one token of each beam."""

import keras
from keras import ops

CELLS = {
    "lstm": keras.layers.LSTMCell,
    "gru": keras.layers.GRUCell,
    "simple": keras.layers.SimpleRNNCell,
}


def scan(advance, first, inputs):
    """Runs `advance` along axis 0 of `inputs` and returns every state.

    Args:
        advance: function (state, input) -> state, shapes unchanged.
        first: nest of tensors, the state before the first input.
        inputs: tensor (length, ...).

    Returns:
        The nest of states, each tensor with an axis of length in front.
    """
    if keras.config.backend() == "tensorflow":
        # `ops.scan` gives its loop no bound on TensorFlow, and XLA cannot
        # differentiate a loop without one.
        import tensorflow as tf

        return tf.scan(advance, inputs, initializer=first)

    def step(state, x):
        state = advance(state, x)
        return state, state

    return ops.scan(step, first, inputs)[1]


def run_cells(cells, inputs, states):
    """Runs a stack of cells once.

    Args:
        cells: Keras RNN cells, the first reads `inputs`.
        inputs: (batch, beams, width).
        states: flat list of all states of all cells, (batch, beams, units).

    Returns:
        The new states, in the same order.
    """
    batch, beams = ops.shape(inputs)[:2]
    size = len(states) // len(cells)
    x = ops.reshape(inputs, (-1, inputs.shape[-1]))  # (B * K, .)
    new = []
    for number, cell in enumerate(cells):
        old = states[number * size : (number + 1) * size]
        old = [ops.reshape(state, (-1, cell.units)) for state in old]
        x, old = cell(x, old)
        new += [ops.reshape(s, (batch, beams, cell.units)) for s in old]
    return new


def ends_of(encoded, mask):
    """Returns the first and the last real position, side by side (B, 2D).

    Args:
        encoded: (batch, source_length, width).
        mask: boolean (batch, source_length), real positions first.
    """
    position = ops.arange(ops.shape(encoded)[1], dtype="int32")
    last = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True) - 1
    is_last = ops.equal(position, last)[..., None]  # (B, S, 1)
    last = ops.sum(ops.where(is_last, encoded, ops.zeros_like(encoded)), axis=1)
    return ops.concatenate([encoded[:, 0], last], axis=-1)


def join_steps(steps):
    """Joins steps: (T, B, 1, U) -> (B, T, U)."""
    return ops.swapaxes(steps[:, :, 0], 0, 1)


def no_weights(hidden, source_mask):
    """Returns zeros (B, T, S): the weights where nothing is attended to."""
    shape = (*ops.shape(hidden)[:2], ops.shape(source_mask)[1])
    return ops.zeros(shape, dtype="float32")
