"""How masks join: `&`, `|` and `combine_masks`."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_attention.masks import ranges
from keras_attention.masks.array import as_mask
from keras_attention.masks.base import Mask
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Range
from keras_attention.masks.ranges import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class And(Mask):
    """Visible where every one of `masks` is; what `a & b` makes."""

    masks: tuple[Mask, ...]

    def row(self, index: Integer) -> "And":
        return And(tuple(mask.row(index) for mask in self.masks))

    def key_padding(self, key_length: Integer) -> Tensor | None:
        return _all(mask.key_padding(key_length) for mask in self.masks)

    def query_padding(self, query_length: Integer) -> Tensor | None:
        return _all(mask.query_padding(query_length) for mask in self.masks)

    def check(self, target: tuple) -> None:
        for mask in self.masks:
            mask.check(target)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return _shapes(self.masks)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        area = (query_start, query_length, key_start, key_length)
        return _all(mask.block(*area) for mask in self.masks)

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return ranges.intersection(
            mask.key_range(query_start, query_end, key_length)
            for mask in self.masks
        )

    def key_ranges(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> tuple[Range, ...]:
        # (a | b) & (c | d): each of the first with each of the second.
        parts = (
            mask.key_ranges(query_start, query_end, key_length)
            for mask in self.masks
        )
        return tuple(map(ranges.intersection, itertools.product(*parts)))

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return ranges.intersection(
            mask.visible_range(query_start, query_end, key_length)
            for mask in self.masks
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Or(Mask):
    """Visible where at least one of `masks` is; what `a | b` makes."""

    masks: tuple[Mask, ...]

    def row(self, index: Integer) -> "Or":
        return Or(tuple(mask.row(index) for mask in self.masks))

    def check(self, target: tuple) -> None:
        for mask in self.masks:
            mask.check(target)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return _shapes(self.masks)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        area = (query_start, query_length, key_start, key_length)
        blocks = [mask.block(*area) for mask in self.masks]
        result = blocks[0]
        for block in blocks[1:]:
            result = ops.logical_or(result, block)
        return result

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        area = (query_start, query_end, key_length)
        first, last = self.masks[0].key_range(*area)
        for mask in self.masks[1:]:
            other_first, other_last = mask.key_range(*area)
            first = ranges.minimum(first, other_first)
            last = ranges.maximum(last, other_last)
        return first, last

    def key_ranges(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> tuple[Range, ...]:
        return tuple(
            part
            for mask in self.masks
            for part in mask.key_ranges(query_start, query_end, key_length)
        )


def _shapes(masks):
    return itertools.chain(*(mask.broadcast_shapes() for mask in masks))


def both(mask: Any, other: Any) -> And:
    """Returns `mask & other`, each a mask or a tensor."""
    return And((as_mask(mask), as_mask(other)))


def either(mask: Any, other: Any) -> Or:
    """Returns `mask | other`, each a mask or a tensor."""
    return Or((as_mask(mask), as_mask(other)))


def combine_masks(*masks: Any) -> Mask | None:
    """Returns the AND of all masks or tensors given, skipping None.

    Example:

    >>> from keras_attention import masks
    >>> mask = masks.combine_masks(masks.Causal(), None)
    >>> mask.dense(5, 7).shape
    TensorShape([5, 7])
    """
    present = tuple(as_mask(mask) for mask in masks if mask is not None)
    if len(present) > 1:
        return And(present)
    return present[0] if present else None


def _all(parts):
    """Returns the AND of those of `parts` that are not None, or None."""
    result = None
    for part in parts:
        if part is not None:
            result = part if result is None else ops.logical_and(result, part)
    return result
