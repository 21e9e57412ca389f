"""Weights of one layer into another."""

import contextlib
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation


def build_at(layer: Any, path: str, *shapes: tuple, **named: tuple) -> None:
    """Builds a layer where another stood, so that its weights have its paths.

    Args:
        layer: a layer that is not built.
        path: the `path` of the other layer.
        *shapes: arguments of `build`.
        **named: arguments of `build`.
    """
    with contextlib.ExitStack() as scopes:
        for name in path.split("/")[:-1]:
            scopes.enter_context(keras.name_scope(name))
        layer.build(*shapes, **named)


def move_weights(source: Any, target: Any) -> None:
    """Copies all weights of a layer, one by one, and what is trainable.

    Args:
        source: a built layer.
        target: a built layer with weights of the same shapes in this order.

    Raises:
        ValueError: unless the shapes agree; nothing is copied then.
    """
    values = [ops.convert_to_numpy(weight) for weight in source.weights]
    set_weights(target, values)
    copy_trainable(source, target)


def copy_trainable(source: Any, target: Any) -> None:
    """Freezes the weights of `target` that are frozen in `source`."""
    for old, new in zip(source.weights, target.weights, strict=True):
        new.trainable = old.trainable


def set_weights(layer: Any, values: Iterable[Any]) -> None:
    """Gives a built layer its weights, after their shapes were compared."""
    assign(layer.weights, values)


def assign(weights: Sequence[Any], values: Iterable[Any]) -> None:
    """Gives weights their values, after their shapes were compared."""
    values = [np.asarray(value) for value in values]
    expected = [tuple(weight.shape) for weight in weights]
    received = [value.shape for value in values]
    if expected != received:
        raise validation.invalid(
            "weights", f"of the shapes {expected}", received
        )
    for weight, value in zip(weights, values, strict=True):
        weight.assign(value)
