"""Packed masks as keys of JSON, for functional models, which are saved.

A model keeps the arguments of each symbolic call and writes them to its file.
There the key of a packed mask is a text. An eager call never needs it.
"""

import json

import keras

from keras_attention import masks
from keras_attention.masks.base import Mask
from keras_attention.masks.packing import Plain
from keras_attention.masks.packing import Slot
from keras_attention.masks.packing import Structure

OPENING = '{"mask": '


class Text(str):
    """A `Structure` in JSON, and the structure itself.

    A file keeps the text alone. The model that is called has the structure at
    hand, so that it reads no JSON, and may hold classes that no name finds.
    """

    structure: Structure


def savable(packed: dict) -> dict:
    """Returns what `packing.pack` returned with a `Text` for its key."""
    ((structure, tensors),) = packed.items()
    return {_text(json.dumps(_describe(structure)), structure): tensors}


def is_from_file(value: dict) -> bool:
    """Whether `value` is a packed mask as a saved model holds it."""
    return len(value) == 1 and all(
        type(key) is str and key.startswith(OPENING) for key in value
    )


def from_file(packed: dict) -> dict:
    """Returns the packed mask of a saved model with its classes found again.

    Raises:
        ValueError: if a class is neither ours nor registered with Keras.
    """
    ((text, tensors),) = packed.items()
    return {_text(text, _restore(json.loads(text))): tensors}


def _text(text, structure):
    text = Text(text)
    text.structure = structure
    return text


def _describe(part):
    if isinstance(part, Structure):
        fields = {name: _describe(value) for name, value in part.fields}
        return {"mask": _name(part.kind), "fields": fields}
    if isinstance(part, tuple):
        return [_describe(item) for item in part]
    if isinstance(part, Plain):
        return part.value
    dtype = {} if part.dtype is None else {"dtype": part.dtype}
    return {"tensor": part.index, **dtype}


def _restore(part):
    if isinstance(part, list):
        return tuple(map(_restore, part))
    if not isinstance(part, dict):
        return Plain(type(part), part)
    if "tensor" in part:
        return Slot(part["tensor"], part.get("dtype"))
    fields = ((name, _restore(value)) for name, value in part["fields"].items())
    return Structure(_find(part["mask"]), tuple(fields))


def _name(kind):
    """Returns the name of a class: ours, as registered, or where it is."""
    if getattr(masks, kind.__name__, None) is kind:
        return kind.__name__
    registered = keras.saving.get_registered_name(kind)
    if registered != kind.__name__:
        return registered
    return f"{kind.__module__}.{kind.__qualname__}"


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
