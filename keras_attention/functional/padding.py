"""Zeros in place of padding, so that it may hold anything, even NaN.

A weight of zero is no protection: zero times NaN is NaN, in the output and in
the gradient of whatever made the padding.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_attention.masks import Mask
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Range
from keras_attention.masks.ranges import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Zeroed(Mask):
    """A mask that a layer has checked and whose padding it has zeroed.

    Layers put zeros at padding before they project: what a projection makes
    of zeros is finite. The mask hides as before; `attend` does not zero the
    padding again, and checks no sizes but those that are not known before.
    """

    mask: Mask

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        return self.mask.block(query_start, query_length, key_start, key_length)

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return self.mask.key_range(query_start, query_end, key_length)

    def key_ranges(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> tuple[Range, ...]:
        return self.mask.key_ranges(query_start, query_end, key_length)

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return self.mask.visible_range(query_start, query_end, key_length)

    def row(self, index: Integer) -> "Zeroed":
        return Zeroed(self.mask.row(index))

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return self.mask.broadcast_shapes()

    def check(self, target: tuple) -> None:
        """Nothing is left to check of what is known."""


def zeroed(mask: Mask | None) -> Zeroed | None:
    """Returns `Zeroed(mask)`, or None for None."""
    return None if mask is None else Zeroed(mask)


def zero_padding(mask: Mask | None, query: Any, key: Any, value: Any) -> tuple:
    """Returns query, key and value with zeros where the mask says padding.

    Args:
        mask: a `Mask` or None. Without one, where it does not say which
            positions are real, and where they are `Zeroed`, the tensors
            themselves come back.
        query: tensor (batch, query_length, ...).
        key: tensor (batch, key_length, ...).
        value: tensor (batch, key_length, ...).
    """
    if mask is None or isinstance(mask, Zeroed):
        return query, key, value
    query_padding = mask.query_padding(ops.shape(query)[1])
    key_padding = mask.key_padding(ops.shape(key)[1])
    kept = keep(key, key_padding)
    return (
        keep(query, query_padding),
        kept,
        kept if value is key else keep(value, key_padding),
    )


def keep(tensor: Any, real: Any) -> Any:
    """Returns `tensor` with zeros where `real` is False; None keeps all.

    Args:
        tensor: tensor (batch, length, ...).
        real: boolean tensor (batch or 1, length or 1), with more axes of
            the tensor or without, or None.
    """
    if real is None:
        return tensor
    missing = len(tensor.shape) - len(real.shape)
    real = ops.expand_dims(real, axis=[-1 - axis for axis in range(missing)])
    return ops.where(real, tensor, ops.zeros((), tensor.dtype))
