"""Masks as nests of tensors, the one form in which Keras carries tensors."""

import dataclasses
import json

import numpy as np

from keras_attention import masks
from keras_attention.masks.algebra import Mask


def pack(mask):
    """Returns `mask` as a dict with its tensors as leaves, for Keras to carry.

    Keras looks for tensors in nested lists and dicts, not inside objects, and
    refuses to mix tensors with other leaves; so the pattern is the key and
    the tensors are the value. `unpack` is the inverse.
    """
    tensors = []

    def describe(part):
        if isinstance(part, Mask):
            fields = {
                field.name: describe(getattr(part, field.name))
                for field in dataclasses.fields(part)
            }
            return {"mask": type(part).__name__, "fields": fields}
        if isinstance(part, tuple):
            return [describe(item) for item in part]
        if part is None or isinstance(part, int):
            return part
        tensors.append(np.asarray(part) if isinstance(part, list) else part)
        return {"tensor": len(tensors) - 1}

    return {json.dumps(describe(mask)): tensors}


def unpack(packed):
    """Returns the mask that `pack` made into a dict."""
    ((description, tensors),) = packed.items()

    def rebuild(part):
        if isinstance(part, list):
            return tuple(rebuild(item) for item in part)
        if not isinstance(part, dict):
            return part
        if "tensor" in part:
            return tensors[part["tensor"]]
        fields = {k: rebuild(v) for k, v in part["fields"].items()}
        return getattr(masks, part["mask"])(**fields)

    return rebuild(json.loads(description))
