"""Masks as call arguments of a layer."""

from keras_attention import masks
from keras_attention.masks import packing


class MaskCarrier:
    """Mixin for layers whose call arguments may be `masks.Mask` objects.

    Keras finds tensors in dicts and lists, not inside objects, so a mask
    travels as a packed dict; `base.mask_for` unpacks it.
    """

    def __call__(self, *args, **kwargs):
        args, kwargs = _pack_masks(args, kwargs)
        return super().__call__(*args, **kwargs)

    def stateless_call(self, *args, **kwargs):
        # Keras goes from here to `call`, past `__call__`.
        args, kwargs = _pack_masks(args, kwargs)
        return super().stateless_call(*args, **kwargs)


def _pack_masks(args, kwargs):
    return (
        [_packed(value) for value in args],
        {name: _packed(value) for name, value in kwargs.items()},
    )


def _packed(value):
    if isinstance(value, masks.Mask):
        return packing.pack(value)
    # Of a model that is being loaded.
    return packing.with_classes(value) if packing.is_packed(value) else value
