"""Integers of masks: lengths, offsets, ids of segments.

They become int32 where they are read. What would change on the way there is
refused, where it can be seen.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.masks.known import known_values

RANGE = np.iinfo("int32")


def as_integers(name: str, number: Any) -> Any:
    """Returns an integer, or integers as an array or tensor, as they are.

    Args:
        name: name of the argument, for the error.
        number: integer, array, nested list or tensor. The values of one that
            is being traced are not known.

    Raises:
        ValueError: if it does not hold integers, or one beyond int32.
    """
    number = _with_dtype(name, number)
    if not _is_int32(number):
        raise validation.invalid(name, "within int32", number)
    return number


def as_ids(name: str, ids: Any) -> Any:
    """Returns integers of which only equality counts; int64 may stay.

    Args:
        name: name of the argument, for the error.
        ids: as of `as_integers`.

    Raises:
        ValueError: if it does not hold integers, or one that no tensor of the
            backend can hold.
    """
    ids = _with_dtype(name, ids)
    if not isinstance(ids, np.ndarray):
        return ids
    if _is_int32(ids):
        return ids.astype("int32")
    if dtype_of(ops.convert_to_tensor(ids)) != dtype_of(ids):
        raise validation.invalid(
            name, "within int32", ids, "Number the segments anew."
        )
    return ids


def dtype_of(tensor: Any) -> str:
    """Returns the name of the dtype of an array or tensor."""
    return keras.backend.standardize_dtype(tensor.dtype)


def _with_dtype(name, number):
    """Returns a Python integer, or integers with a dtype."""
    if validation.is_integer(number):
        return int(number)
    if not hasattr(number, "dtype"):
        leaves = keras.tree.flatten(number)
        has_tensors = any(map(ops.is_tensor, leaves))
        read = ops.convert_to_tensor if has_tensors else np.asarray
        number = read(number)
    if validation.shape_of(number) and not np.prod(
        [size for size in validation.shape_of(number) if size is not None]
    ):
        return ops.cast(number, "int32")  # of no number an array is of floats
    if "int" not in str(number.dtype):
        raise validation.invalid(
            name,
            "of an integer dtype",
            f"{number.dtype} of shape {validation.shape_of(number)}",
            "Cast it to int32.",
        )
    return number


def _is_int32(number):
    """Whether the values fit, as far as they are known."""
    if isinstance(number, int):
        return RANGE.min <= number <= RANGE.max
    if np.can_cast(dtype_of(number), "int32"):
        return True
    values = known_values(number)
    return values is None or (
        not values.size
        or (values.min() >= RANGE.min and values.max() <= RANGE.max)
    )
