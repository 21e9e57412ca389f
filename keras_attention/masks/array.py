"""The mask that is written out, entry by entry."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.masks import ranges
from keras_attention.masks.base import Mask
from keras_attention.masks.booleans import as_boolean
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Array(Mask):
    """Any pattern, written out.

    Args:
        mask: tensor of shape (query_length, key_length), (batch,
            query_length, key_length) or (batch, num_heads, query_length,
            key_length), where any size may be 1: booleans, or numbers 0 and
            1, which become booleans.

    Raises:
        ValueError: if `mask` does not have two, three or four axes, or holds
            a number that is neither 0 nor 1.
    """

    mask: Tensor

    def __post_init__(self):
        object.__setattr__(self, "mask", as_boolean("mask", self.mask))
        if len(validation.shape_of(self.mask)) not in (2, 3, 4):
            raise ValueError(
                "`mask` must have shape (query_length, key_length), (batch, "
                "query_length, key_length) or (batch, num_heads, "
                "query_length, key_length). "
                f"Received: mask.shape={validation.shape_of(self.mask)}."
            )

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        shape = validation.shape_of(self.mask)
        if len(shape) == 3:
            shape = (shape[0], 1, *shape[1:])  # (B, 1, T, S)
        return (("mask", shape),)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        return _array_block(
            self.mask,
            (None, None, query_start, key_start),
            (None, None, query_length, key_length),
        )

    def row(self, index: Integer) -> Mask:
        return _ArrayRow(self.mask, index)


@dataclasses.dataclass(frozen=True, eq=False)
class _ArrayRow(Mask):
    """One row of an `Array`, read block by block and never as a whole."""

    mask: Tensor
    index: Integer

    def block(self, query_start, query_length, key_start, key_length):
        return _array_block(
            self.mask,
            (self.index, None, query_start, key_start),
            (1, None, query_length, key_length),
        )


def _array_block(mask, starts, lengths):
    mask = ops.convert_to_tensor(mask)
    if len(mask.shape) == 3:
        mask = mask[:, None]  # (B, 1, T, S)
    rank = len(mask.shape)
    return ranges.window(mask, starts[-rank:], lengths[-rank:])


def as_mask(mask: Any) -> Mask | None:
    """Returns `mask` as a `Mask`: a tensor becomes an `Array`, None stays."""
    return mask if mask is None or isinstance(mask, Mask) else Array(mask)
