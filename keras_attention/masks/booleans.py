"""Masks of numbers, read as booleans: 1 = may attend, 0 = hidden."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention.masks.known import known_values


def as_boolean(name: str, mask: Any) -> Any:
    """Returns a mask of 0 and 1 as booleans; a boolean mask is not read.

    Args:
        name: name of the argument, for the error.
        mask: array, nested list or tensor. A symbolic input of a functional
            model is returned unchanged: its values come with each call.

    Raises:
        ValueError: if a number is neither 0 nor 1. While a graph is traced
            the numbers are unknown, and everything but 1 is hidden.
    """
    if isinstance(mask, keras.Variable):
        mask = ops.convert_to_tensor(mask)
    elif not hasattr(mask, "dtype"):
        mask = np.asarray(mask)
    is_symbolic = isinstance(mask, keras.KerasTensor)
    if is_symbolic or keras.backend.standardize_dtype(mask.dtype) == "bool":
        return mask
    values = known_values(mask)
    if values is not None:
        _check(name, values)
    if isinstance(mask, np.ndarray):
        return mask == 1
    return ops.equal(mask, 1)


def _check(name, values):
    is_boolean = (values == 0) | (values == 1)
    if not is_boolean.all():
        raise ValueError(
            f"`{name}` must hold only booleans, or 0 and 1 (1 = may attend). "
            f"Received: {name} with {values[~is_boolean].flat[0]}. If it is "
            f"to be added to the scores (0 = may attend), pass `{name} == 0`, "
            f"or pass it to `functional.attend` as `bias`."
        )
