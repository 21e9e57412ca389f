"""Masks as nests of tensors, the one form in which Keras carries tensors."""

import dataclasses
import json

import keras
import numpy as np
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.masks.base import Mask

# What JSON keeps; a tuple becomes a list, and a list of numbers a tensor.
PLAIN = (bool, int, float, str)


class Pattern(str):
    """A mask without its tensors, in JSON, and the classes that it names.

    A model that is saved keeps the text alone. One that is called has the
    classes at hand, so that any class may be called.
    """

    classes: dict


def pack(mask):
    """Returns `mask` as a dict with its tensors as leaves, for Keras to carry.

    Keras looks for tensors in nested lists and dicts, not inside objects, and
    refuses to mix tensors with other leaves; so the pattern is the key and
    the tensors are the value. `unpack` is the inverse.

    Raises:
        ValueError: if a mask is no dataclass, or has a field of another kind
            than a tensor, a number, a string, a mask, None or a tuple.
    """
    tensors, classes = [], {}

    def describe(name, part):
        if isinstance(part, Mask):
            kind = type(part)
            classes[_name(kind)] = kind
            fields = {n: describe(n, getattr(part, n)) for n in _fields(part)}
            return {"mask": _name(kind), "fields": fields}
        if isinstance(part, tuple):
            return [describe(name, item) for item in part]
        if part is None or isinstance(part, PLAIN):
            return part
        tensors.append(_tensor(name, part))
        return {"tensor": len(tensors) - 1}

    pattern = Pattern(json.dumps(describe("mask", mask)))
    pattern.classes = classes
    return {pattern: tensors}


def is_packed(value):
    """Whether `value` is what `pack` returned, or was when it was saved."""
    if not (isinstance(value, dict) and len(value) == 1):
        return False
    (key,) = value
    return isinstance(key, str) and key.startswith('{"mask": ')


def with_classes(packed):
    """Returns a packed mask that comes from a file, its classes found again.

    Raises:
        ValueError: if a class is neither ours nor registered with Keras.
    """
    ((pattern, tensors),) = packed.items()
    if isinstance(pattern, Pattern):
        return packed
    pattern = Pattern(pattern)
    pattern.classes = {name: _find(name) for name in _names(pattern)}
    return {pattern: tensors}


def unpack(packed):
    """Returns the mask that `pack` made into a dict."""
    ((pattern, tensors),) = with_classes(packed).items()

    def rebuild(part):
        if isinstance(part, list):
            return tuple(rebuild(item) for item in part)
        if not isinstance(part, dict):
            return part
        if "tensor" in part:
            return tensors[part["tensor"]]
        fields = {k: rebuild(v) for k, v in part["fields"].items()}
        return pattern.classes[part["mask"]](**fields)

    return rebuild(json.loads(pattern))


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


def _tensor(name, part):
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
    return part


def _name(kind):
    """Returns the name of a class: ours, as registered, or where it is."""
    if getattr(masks, kind.__name__, None) is kind:
        return kind.__name__
    registered = keras.saving.get_registered_name(kind)
    if registered != kind.__name__:
        return registered
    return f"{kind.__module__}.{kind.__qualname__}"


def _names(pattern):
    """Yields the name of each class of a pattern."""
    parts = [json.loads(pattern)]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts.extend(part)
        elif isinstance(part, dict) and "mask" in part:
            yield part["mask"]
            parts.extend(part["fields"].values())


def _find(name):
    short = name.rpartition(".")[2]  # as in `custom_objects`
    for kind in (
        getattr(masks, name, None),
        keras.saving.get_registered_object(name),
        keras.saving.get_registered_object(short),
    ):
        if isinstance(kind, type) and issubclass(kind, Mask):
            return kind
    raise ValueError(
        f"The class of a mask in this model must be known when the model is "
        f"loaded. Received: {name}. Write "
        f"`@keras.saving.register_keras_serializable()` above its `class` "
        f"before the model is saved, and import it before the model is loaded."
    )
