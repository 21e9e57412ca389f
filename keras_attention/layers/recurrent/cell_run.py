"""An `AttentionCell` over a whole sequence."""

from typing import Any

import keras
from keras import ops

from keras_attention.functional.scan import scan
from keras_attention.layers.recurrent import recurrence


def run_cell_with_attention(
    cell: Any,
    inputs: Any,
    memory: Any,
    state: dict,
    source_length: Any = None,
    *,
    mask: Any = None,
    first_position: Any = 0,
    return_attention_scores: bool = False,
    training: bool | None = None,
) -> tuple:
    """Runs a cell over a sequence; equals its steps.

    Args:
        cell: an `AttentionCell`.
        inputs: (batch, length, width).
        memory: what its `prepare` returned.
        state: what its `initial_state` returned, with one slot.
        source_length: number of source positions, None where not known; of
            several values a list.
        mask: boolean (batch, length), or None. Where it is False the state
            stays as it is, the output is that of the step before, zeros
            before the first, and the weights are zero; it has no position.
        first_position: integer or int32 (batch or 1, 1), where in its sequence
            the first input stands.
        return_attention_scores: whether to return the weights too.
        training: whether the dropouts are on.

    Returns:
        The outputs (batch, length, width); the weights, float32 (batch,
        length, source_length), a list of them, or None; the last state.
    """
    options = {
        "seed": cell.mechanism.draw_seed(training),
        "return_attention_scores": return_attention_scores,
        "training": training,
    }
    is_stateless = not keras.tree.flatten(state["mechanism"])
    can_wait = is_stateless and mask is None
    if can_wait and cell.query_state == "current" and not cell.input_feeding:
        options["positions"] = _positions_of(inputs, first_position)
        return _move_all_then_ask(cell, inputs, memory, state, options)
    if can_wait:
        options["return_attention_scores"] = False
    like = _found_like(cell, inputs.shape[0], mask)
    if options["return_attention_scores"]:
        like["weights"] = _weights_like(cell, inputs.shape[0], source_length)
    step = _step_of(cell, memory, first_position, options)
    with recurrence.dropout_masks(
        cell.cell, ops.shape(inputs)[0], cell.read_width, training
    ):
        found, last = _move_in_turn(cell, step, inputs, state, mask, like)
    weights = found.pop("weights", None)
    if return_attention_scores and can_wait:
        options["return_attention_scores"] = True
        options["positions"] = _positions_of(inputs, first_position)
        weights = _weights_of_all_steps(cell, found, memory, state, options)
    if mask is not None:
        return found["output"], weights, last
    return cell.outputs_of(found, inputs), weights, last


def _positions_of(inputs, first_position):
    """Returns where each input stands, (batch or 1, T); None for 0, 1, ..."""
    if isinstance(first_position, int) and first_position == 0:
        return None
    steps = ops.arange(ops.shape(inputs)[1], dtype="int32")
    return steps[None] + first_position


def _move_all_then_ask(cell, inputs, memory, state, options):
    """Runs a cell that does not read what it finds: asks once, at the end."""
    hidden, states = recurrence.run_cell_over(
        cell.cell, inputs, state["cell"], options["training"]
    )  # (B, T, H)
    context, weights, _ = cell.ask(hidden, memory, state, **options)
    if not options["return_attention_scores"]:
        weights = None
    found = {"hidden": hidden, "context": context}
    last = {**state, "cell": states}
    return cell.outputs_of(found, inputs), _in_float32(weights), last


def _step_of(cell, memory, first_position, options):
    """Returns one step as `scan` wants it."""

    def step(state, now):
        token, index = now
        found, weights, state = cell.advance(
            token[:, None],  # (B, 1, E)
            memory,
            state,
            positions=ops.reshape(index, (-1, 1)) + first_position,
            **options,
        )
        if options["return_attention_scores"]:
            found["weights"] = _in_float32(weights)
        return state, found

    return step


def _move_in_turn(cell, step, inputs, state, mask, like):
    """Returns what each step found, (B, T, .), by name; and the last state."""
    batch, length = ops.shape(inputs)[:2]
    steps = [ops.swapaxes(inputs, 0, 1), ops.arange(length, dtype="int32")]
    if mask is not None:
        step = _unless_masked(cell, step)
        mask = ops.swapaxes(mask, 0, 1)  # (T, B)
        is_real = ops.cast(mask, "int32")
        # Padding takes no position, as if it were not there.
        positions = ops.cumsum(is_real, axis=0) - is_real
        steps = [steps[0], positions, mask]
        nothing = (batch, 1, cell.output_width)
        state = [state, ops.zeros(nothing, dtype=cell.compute_dtype)]
    last, found = scan(step, state, steps, like)
    found = keras.tree.map_structure(recurrence.join_steps, found)
    return found, last if mask is None else last[0]


def _unless_masked(cell, step):
    """Returns a step that keeps its state and output where it is masked."""

    def masked_step(state, now):
        before, shown = state
        token, index, is_real = now
        after, found = step(before, [token, index])

        def pick(new, old):
            ones = (1,) * (len(new.shape) - 1)
            return ops.where(ops.reshape(is_real, (-1, *ones)), new, old)

        weights = found.pop("weights", None)
        shown = pick(cell.outputs_of(found, token[:, None]), shown)
        found = {"output": shown}
        if weights is not None:
            found["weights"] = keras.tree.map_structure(
                lambda tensor: pick(tensor, ops.zeros_like(tensor)), weights
            )
        return [keras.tree.map_structure(pick, after, before), shown], found

    return masked_step


def _found_like(cell, batch, mask):
    """Returns the shape and dtype of what one step finds, by name."""
    if mask is not None:
        widths = {"output": cell.output_width}
    elif cell.query_state == "current" and cell.output_kind == "readout":
        widths = {"output": cell.fed_width}
    else:
        widths = {"context": cell.context_width}
    if mask is None:
        widths["hidden"] = recurrence.output_size(cell.cell)
    return {
        name: keras.KerasTensor((batch, 1, width), cell.compute_dtype)
        for name, width in widths.items()
    }


def _weights_like(cell, batch, source_length):
    several = source_length
    if not isinstance(source_length, list):
        number = len(cell.attention) if cell.has_several else 1
        several = [source_length] * number
    like = [
        keras.KerasTensor((batch, 1, length), "float32") for length in several
    ]
    return like if cell.has_several else like[0]


def _weights_of_all_steps(cell, found, memory, state, options):
    query = found["hidden"]
    if cell.query_state == "previous":
        query = ops.concatenate([state["output"], query[:, :-1]], axis=1)
    return _in_float32(cell.ask(query, memory, state, **options)[1])


def _in_float32(weights):
    if isinstance(weights, list):
        return [_in_float32(one) for one in weights]
    return None if weights is None else ops.cast(weights, "float32")
