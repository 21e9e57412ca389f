"""Masks as nests of tensors, the one form in which Keras carries tensors.

Keras looks for tensors in nested lists and dicts, not inside objects, and
refuses to mix tensors with other leaves. So a mask travels as a dict of one
entry: its `Structure` is the key, its tensors are the value.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.masks.base import Mask

# What a structure holds as it is.
PLAIN = (bool, int, float, str)
# Keras casts floats to the compute dtype of the layer, and nothing else: a
# float field travels as an integer with the same bits.
BITS = {
    "float16": "int16",
    "bfloat16": "int16",
    "float32": "int32",
    "float64": "int64",
}


@dataclasses.dataclass(frozen=True)
class Slot:
    """The place of a tensor: which one, and its dtype if it is a float."""

    index: int
    dtype: str | None = None


@dataclasses.dataclass(frozen=True)
class Plain:
    """A number, a string or None; 1, 1.0 and True are not the same."""

    kind: type
    value: Any


@dataclasses.dataclass(frozen=True)
class Structure:
    """A mask without its tensors.

    Two masks that differ in their tensors alone have equal structures: JAX
    and TensorFlow compare the keys of a dict to know whether they have traced
    a call before.

    Args:
        kind: class of the mask.
        fields: (name, part) of each argument of its constructor, where a part
            is a `Slot`, a `Plain`, a `Structure` or a tuple of parts.
    """

    kind: type
    fields: tuple


def pack(mask: Mask) -> dict:
    """Returns `mask` as a dict with its tensors as leaves; see `unpack`.

    Raises:
        ValueError: if a mask is no dataclass, or has a field of another kind
            than a tensor, a number, a string, a mask, None or a tuple.
    """
    tensors = []

    def describe(name, part):
        if isinstance(part, Mask):
            fields = ((n, describe(n, getattr(part, n))) for n in _fields(part))
            return Structure(type(part), tuple(fields))
        if isinstance(part, tuple):
            return tuple(describe(name, item) for item in part)
        if part is None or isinstance(part, PLAIN):
            return Plain(type(part), part)
        tensor, dtype = _carried(name, part)
        tensors.append(tensor)
        return Slot(len(tensors) - 1, dtype)

    return {describe("mask", mask): tensors}


def unpack(packed: dict) -> Mask:
    """Returns the mask that `pack` made into a dict."""
    ((key, tensors),) = packed.items()

    def rebuild(part):
        if isinstance(part, Structure):
            return part.kind(**{n: rebuild(value) for n, value in part.fields})
        if isinstance(part, tuple):
            return tuple(map(rebuild, part))
        if isinstance(part, Plain):
            return part.value
        tensor = tensors[part.index]
        return tensor if part.dtype is None else ops.view(tensor, part.dtype)

    # The key of a symbolic call is a text that knows its structure.
    return rebuild(getattr(key, "structure", key))


def _fields(mask):
    if not dataclasses.is_dataclass(mask):
        name = type(mask).__name__
        raise ValueError(
            f"A mask given to a layer must be a dataclass, so that its fields "
            f"can be read. Received: a {name}. Write "
            f"`@dataclasses.dataclass(frozen=True, eq=False)` above "
            f"`class {name}` and its tensors and numbers as fields."
        )
    return [field.name for field in dataclasses.fields(mask) if field.init]


def _carried(name, part):
    """Returns the tensor as Keras leaves it alone, and its dtype if float."""
    if isinstance(part, list):
        part = np.asarray(part)
    is_tensor = ops.is_tensor(part) or isinstance(
        part, (np.ndarray, np.generic, keras.KerasTensor, keras.Variable)
    )
    if not is_tensor or part.dtype == "object":
        raise validation.invalid(
            name,
            "a tensor, a number, a string, a mask, None or a tuple of them, "
            "as a field of a mask given to a layer",
            repr(part),
        )
    dtype = keras.backend.standardize_dtype(part.dtype)
    if dtype not in BITS:
        return part, None
    if not isinstance(part, keras.KerasTensor):
        part = ops.convert_to_tensor(part)
        # JAX may have made float64 into float32.
        dtype = keras.backend.standardize_dtype(part.dtype)
    return ops.view(part, BITS[dtype]), dtype
