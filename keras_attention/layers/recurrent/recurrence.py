"""Any Keras RNN cell, run on one token of each beam, or on all tokens.

A cell's state is a flat list here, in the order of its `state_size`. Letters
in the shape comments: B batch, K slots of a search, T target length, S source
length.
"""

import contextlib
import inspect
import typing

import keras
from keras import ops

from keras_attention.functional.scan import scan

CELLS = {
    "lstm": keras.layers.LSTMCell,
    "gru": keras.layers.GRUCell,
    "simple": keras.layers.SimpleRNNCell,
}


def is_cell(candidate: typing.Any) -> bool:
    """Whether it is a Keras layer that keeps to the protocol of RNN cells."""
    return (
        isinstance(candidate, keras.layers.Layer)
        and not isinstance(candidate, keras.layers.RNN)
        and hasattr(candidate, "state_size")
    )


def state_sizes(cell: keras.layers.Layer) -> list[int]:
    """Returns the width of each state of a cell, a stack's one by one."""
    return keras.tree.flatten(cell.state_size)


def output_size(cell: keras.layers.Layer) -> int:
    """Returns the width of a cell's output."""
    size = getattr(cell, "output_size", None)
    return state_sizes(cell)[0] if size is None else size


def first_states(
    cell: keras.layers.Layer,
    batch: typing.Any,
    slots: int = 1,
    given: typing.Any = None,
) -> list:
    """Returns the states of a cell before the first step, (B, K, .) each.

    Args:
        cell: a Keras RNN cell.
        batch: number of rows.
        slots: how many sequences begin with each row.
        given: list of states, each (batch, width), in the order of the
            cell's `state_size`; None for the cell's own, zeros in Keras's.

    Raises:
        ValueError: if `given` has other sizes than the cell.
    """
    sizes = state_sizes(cell)
    if given is None:
        given = _own_states(cell, batch)
    given = [ops.cast(x, cell.compute_dtype) for x in keras.tree.flatten(given)]
    shapes = [tuple(state.shape) for state in given]
    if [shape[1:] for shape in shapes] != [(size,) for size in sizes]:
        raise ValueError(
            "The first states of a cell must be tensors (batch, size) with "
            f"size in {sizes}, one for each state of "
            f"{type(cell).__name__}. Received: shapes {shapes}."
        )
    return [ops.repeat(x[:, None], slots, axis=1) for x in given]  # (B, K, U)


def _own_states(cell, batch):
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch)
    dtype = cell.compute_dtype
    return [ops.zeros((batch, size), dtype) for size in state_sizes(cell)]


def first_output(cell: keras.layers.Layer, states: list) -> typing.Any:
    """Returns what stands for the output before the first step.

    In Keras's cells the first state is the output, of a stack that of its
    last cell. Where the widths differ there is none: zeros.
    """
    last = _parts(cell)[-1]
    state = states[-len(state_sizes(last))]  # (B, K, U)
    if state.shape[-1] == output_size(cell):
        return state
    shape = (*ops.shape(state)[:2], output_size(cell))
    return ops.zeros(shape, dtype=state.dtype)


def run_cell(
    cell: keras.layers.Layer,
    inputs: typing.Any,
    states: list,
    training: bool | None = None,
) -> tuple:
    """Runs a cell once.

    Args:
        cell: a Keras RNN cell.
        inputs: (batch, slots, width).
        states: flat list of the cell's states, each (batch, slots, width).
        training: whether the cell's dropouts are on.

    Returns:
        The output (batch, slots, width), and the new states.
    """
    batch, slots = ops.shape(inputs)[:2]
    rows, *old = (
        ops.reshape(x, (-1, x.shape[-1]))  # (B * K, .)
        for x in (inputs, *states)
    )
    if keras.tree.is_nested(cell.state_size):
        old = keras.tree.pack_sequence_as(cell.state_size, old)
    takes = inspect.signature(cell.call).parameters
    options = {"training": training} if "training" in takes else {}
    output, new = cell(rows, old, **options)
    output, *new = (
        ops.reshape(x, (batch, slots, x.shape[-1]))  # (B, K, .)
        for x in (output, *keras.tree.flatten(new))
    )
    # A loop keeps its dtypes, whatever the policy of the cell.
    pairs = zip(new, states, strict=True)
    new = [ops.cast(one, before.dtype) for one, before in pairs]
    return ops.cast(output, inputs.dtype), new


def run_cell_over(
    cell: keras.layers.Layer,
    inputs: typing.Any,
    states: list,
    training: bool | None = None,
) -> tuple:
    """Runs a cell over a sequence.

    Args:
        cell: a Keras RNN cell.
        inputs: (batch, length, width).
        states: flat list of the cell's first states, each (batch, 1, width).
        training: whether the cell's dropouts are on.

    Returns:
        The outputs (batch, length, width), and the last states.
    """

    def step(state, now):
        output, state = run_cell(cell, now[:, None], state, training)
        return state, output

    shape = (inputs.shape[0], 1, output_size(cell))
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    like = keras.KerasTensor(shape, dtype)
    with dropout_masks(cell, ops.shape(inputs)[0], inputs.shape[-1], training):
        steps = ops.swapaxes(inputs, 0, 1)  # (T, B, .)
        last, outputs = scan(step, states, steps, like)
    return join_steps(outputs), last


@contextlib.contextmanager
def dropout_masks(
    cell: keras.layers.Layer,
    batch: typing.Any,
    width: int,
    training: bool | None,
) -> typing.Iterator[None]:
    """Makes the dropout masks of a cell for the loop inside it.

    A cell makes them where it is first called, and keeps them for the steps
    to come: inside a loop they could not be used outside.

    Args:
        cell: a Keras RNN cell.
        batch: how many rows it will be called with.
        width: that of its inputs.
        training: whether dropout is on.
    """
    parts = [x for x in _parts(cell) if hasattr(x, "reset_dropout_mask")]
    widths = [width, *map(output_size, _parts(cell))]
    if training:
        for part, size in zip(_parts(cell), widths, strict=False):
            if part in parts:
                dtype = part.compute_dtype
                hidden = state_sizes(part)[0]
                part.get_dropout_mask(ops.ones((batch, size), dtype))
                part.get_recurrent_dropout_mask(
                    ops.ones((batch, hidden), dtype)
                )
    try:
        yield
    finally:
        for part in parts:
            part.reset_dropout_mask()
            part.reset_recurrent_dropout_mask()


def _parts(cell):
    """Returns the cells of a stack, or the cell alone, in a list."""
    return getattr(cell, "cells", None) or [cell]


def ends_of(encoded: typing.Any, mask: typing.Any) -> typing.Any:
    """Returns the first and the last real position, side by side (B, 2D).

    Args:
        encoded: (batch, source_length, width).
        mask: boolean (batch, source_length), True at real positions. A row
            without one has zeros.
    """
    length = ops.shape(encoded)[1]
    position = ops.arange(length, dtype="int32")
    first = ops.where(mask, position, length)
    last = ops.where(mask, position, -1)
    ends = (
        ops.min(first, axis=1, keepdims=True, initial=length),
        ops.max(last, axis=1, keepdims=True, initial=-1),
    )
    return ops.concatenate([_vector_at(encoded, end) for end in ends], axis=-1)


def _vector_at(encoded, place):
    """Returns the vector at a place (B, 1) of each row; zeros at none."""
    position = ops.arange(ops.shape(encoded)[1], dtype="int32")
    is_there = ops.expand_dims(ops.equal(position, place), -1)  # (B, S, 1)
    return ops.sum(
        ops.where(is_there, encoded, ops.zeros_like(encoded)), axis=1
    )


def join_steps(steps: typing.Any) -> typing.Any:
    """Joins steps: (T, B, 1, U) -> (B, T, U)."""
    return ops.swapaxes(steps[:, :, 0], 0, 1)
