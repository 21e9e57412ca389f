"""Checks of what an `AttentionCell` is made with."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.attention.mechanism import AttentionMechanism
from keras_attention.layers.recurrent import recurrence

ORDERS = ("previous", "current")
OUTPUTS = ("readout", "attention", "cell")


def check_order(query_state: str, input_feeding: bool) -> None:
    """Raises a ValueError unless the two arguments make one of the orders."""
    validation.check_choice("query_state", query_state, ORDERS)
    if query_state == "previous" and not input_feeding:
        raise validation.invalid(
            "input_feeding",
            "True where query_state='previous', since what the query found "
            "must reach the cell",
            input_feeding,
            "Or set query_state='current'.",
        )


def check_attention(attention: Any) -> Any:
    """Returns `attention` if it is a mechanism, or a list of mechanisms."""
    is_one = not isinstance(attention, (list, tuple))
    for one in [attention] if is_one else attention or [None]:
        if not isinstance(one, AttentionMechanism):
            raise validation.invalid(
                "attention",
                "an AttentionMechanism, such as AdditiveAttention(units), or "
                "a list of them",
                repr(attention),
                "`AttentionMechanism` says how to write one.",
            )
    return attention


def check_layer_sizes(sizes: Any, attention: Any) -> list[int] | None:
    """Returns one width for each mechanism, or None where there is none."""
    if sizes is None:
        return None
    number = len(attention) if isinstance(attention, (list, tuple)) else 1
    several = list(sizes) if isinstance(sizes, (list, tuple)) else [sizes]
    if len(several) != number:
        raise validation.invalid(
            "attention_layer_size",
            f"one size for each mechanism, of which there are {number}",
            sizes,
        )
    return [
        validation.check_positive_integer("attention_layer_size", size)
        for size in several
    ]


def check_units(units: int | None, output: str) -> int | None:
    """Returns `units`, the width of the readout; None stands for the cell's."""
    if units is not None and output != "readout":
        raise validation.invalid(
            "units",
            f"None with output='{output}', where there is no readout",
            units,
        )
    return validation.check_positive_integer("units", units, optional=True)


def check_cell_input(cell_input: Any, input_feeding: bool) -> Any:
    """Returns `cell_input` if it is a function of what is fed, or None."""
    if cell_input is None or (callable(cell_input) and input_feeding):
        return cell_input
    raise validation.invalid(
        "cell_input",
        "a function of two tensors, and None where nothing is fed",
        repr(cell_input),
    )


def check_cell(cell: Any) -> keras.layers.Layer:
    """Returns `cell` if it is a Keras RNN cell, else raises a ValueError."""
    if recurrence.is_cell(cell):
        return cell
    raise validation.invalid(
        "cell",
        "a Keras RNN cell: a layer with `state_size`, such as "
        "keras.layers.LSTMCell(units)",
        repr(cell),
        "Of a layer like keras.layers.LSTM, pass its `cell`.",
    )


def check_output(output: str) -> str:
    """Returns `output` if it says what comes out of a step."""
    return validation.check_choice("output", output, OUTPUTS)
