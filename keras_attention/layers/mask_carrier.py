"""Masks as call arguments of a layer."""

from typing import Any

import keras

from keras_attention import masks
from keras_attention.masks import packing
from keras_attention.masks import saving


class MaskCarrier:
    """Mixin for layers whose call arguments may be `masks.Mask` objects.

    Keras finds tensors in dicts and lists, not inside objects, so a mask
    travels as a packed dict; `call_masks.mask_for` unpacks it. The arguments
    of a symbolic call are part of a model that may be saved, so there the
    packed dict is one that JSON can hold.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = _pack_masks(args, kwargs)
        return super().__call__(*args, **kwargs)

    def stateless_call(self, *args: Any, **kwargs: Any) -> Any:
        # Keras goes from here to `call`, past `__call__`.
        args, kwargs = _pack_masks(args, kwargs)
        return super().stateless_call(*args, **kwargs)


def _pack_masks(args, kwargs):
    """Returns the arguments with each mask as a packed dict."""
    values = [*args, *kwargs.values()]
    for place, value in enumerate(values):
        if isinstance(value, dict) and saving.is_from_file(value):
            values[place] = saving.from_file(value)
    places = [i for i, v in enumerate(values) if isinstance(v, masks.Mask)]
    for place in places:
        values[place] = packing.pack(values[place])
    if places and _is_symbolic(values):
        for place in places:
            values[place] = saving.savable(values[place])
    end = len(args)
    return values[:end], dict(zip(kwargs, values[end:], strict=True))


def _is_symbolic(values):
    leaves = keras.tree.flatten(values)
    return any(isinstance(leaf, keras.KerasTensor) for leaf in leaves)
