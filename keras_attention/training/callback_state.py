"""The state of callbacks, in and out of a checkpoint.

The state of a callback is the attributes that its class names in
`remembered`, a tuple of str. A checkpoint is a file that somebody may have
changed, so no other attribute is ever set from it: not a path, for example.
"""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_attention import validation

# What the callbacks of Keras count from epoch to epoch.
REMEMBERED_BY_KERAS = {
    keras.callbacks.EarlyStopping: (
        "wait",
        "stopped_epoch",
        "best",
        "best_epoch",
        "best_weights",
    ),
    keras.callbacks.ReduceLROnPlateau: ("wait", "cooldown_counter", "best"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def remembered(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    """Returns the names of the attributes that are the callback's state."""
    of_keras = [
        name
        for kind, names in REMEMBERED_BY_KERAS.items()
        if isinstance(callback, kind)
        for name in names
    ]
    return (*getattr(callback, "remembered", ()), *of_keras)


def capture(callbacks: Sequence) -> tuple[list, list]:
    """Returns the state of callbacks: dicts for JSON, and a list of arrays.

    Raises:
        ValueError: if an attribute is neither a number, nor None, nor a list
            of arrays.
    """
    states, arrays = [], []
    for callback in _with_state(callbacks):
        state = {}
        for name in remembered(callback):
            value = getattr(callback, name, None)
            if isinstance(value, list):
                arrays += map(np.asarray, value)
                state[name] = {"arrays": len(value)}
            else:
                state[name] = _number(callback, name, value)
        states.append(state)
    return states, arrays


def is_valid(states: Any) -> bool:
    """Whether `states` has the form of the dicts of `capture`."""
    return isinstance(states, list) and all(
        isinstance(state, dict) and all(map(_is_value, state.values()))
        for state in states
    )


def match(
    callbacks: Sequence, states: list, arrays: list, path: str | os.PathLike
) -> list:
    """Returns (callback, dict of its attributes) pairs; sets nothing.

    Callbacks without a state may have come or gone.

    Args:
        callbacks: list of callbacks.
        states: valid dicts of `capture`.
        arrays: the arrays of `capture`.
        path: path of the checkpoint, for the errors.

    Raises:
        ValueError: if the state is of other callbacks, or names an attribute
            that its callback does not remember.
    """
    callbacks = _with_state(callbacks)
    if len(states) != len(callbacks):
        raise ValueError(
            f"`callbacks` must be the {len(states)} with a state of the "
            f"checkpoint {str(path)!r}. Received: {len(callbacks)}, "
            f"{[type(callback).__name__ for callback in callbacks]}."
        )
    position, found = 0, []
    for callback, state in zip(callbacks, states, strict=True):
        unknown = sorted(set(state) - set(remembered(callback)))
        if unknown:
            raise ValueError(
                f"The checkpoint {str(path)!r} must set only what "
                f"{type(callback).__name__} remembers, "
                f"{list(remembered(callback))}. Received: {unknown}."
            )
        attributes = {}
        for name, value in state.items():
            if isinstance(value, dict):
                end = position + value["arrays"]
                value, position = list(arrays[position:end]), end
            attributes[name] = value
        found.append((callback, attributes))
    if position != len(arrays):
        raise ValueError(
            f"The checkpoint {str(path)!r} must hold {position} arrays of "
            f"callbacks. Received: {len(arrays)}."
        )
    return found


def _with_state(callbacks):
    return [callback for callback in callbacks if remembered(callback)]


def _number(callback, name, value):
    if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if value is not None and not isinstance(value, (bool, int, float)):
        raise validation.invalid(
            f"{type(callback).__name__}.{name}",
            "a number, None or a list of arrays, since `remembered` names it",
            repr(value),
        )
    return value


def _is_value(value):
    if isinstance(value, dict):
        count = value.get("arrays")
        return list(value) == ["arrays"] and type(count) is int and count >= 0
    return value is None or isinstance(value, (bool, int, float))
