"""Weights of one layer into another."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import ops

from keras_attention import validation


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
    for old, new in zip(source.weights, target.weights, strict=True):
        new.trainable = old.trainable


def set_weights(layer: Any, values: Iterable[Any]) -> None:
    """Gives a built layer its weights, after their shapes were compared."""
    values = [np.asarray(value) for value in values]
    expected = [tuple(weight.shape) for weight in layer.weights]
    received = [value.shape for value in values]
    if expected != received:
        raise validation.invalid(
            "weights", f"of the shapes {expected}", received
        )
    for weight, value in zip(layer.weights, values, strict=True):
        weight.assign(value)
