"""Masks that compare positions: they cost no memory at any length."""

import dataclasses
from collections.abc import Iterable

from keras import ops

from keras_attention import validation
from keras_attention.masks import ranges
from keras_attention.masks.algebra import Or
from keras_attention.masks.base import Mask
from keras_attention.masks.integers import as_integers
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Range
from keras_attention.masks.ranges import Tensor
from keras_attention.masks.rows import Lengths

# Neighbours beyond it are all of them, and no sum with a position overflows.
FARTHEST = 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class Causal(Mask):
    """A query sees the keys up to its own position: key <= query + offset.

    Args:
        offset: integer, scalar tensor or tensor of shape (batch,): how many
            keys come before the first query. 0 is the usual mask (top-left
            aligned); `key_length - query_length` aligns the last query with
            the last key; the number of cached keys serves a cached step.

    Raises:
        ValueError: if `offset` is no integer.

    Example:

    >>> from keras_attention import masks
    >>> masks.Causal().dense(2, 3).numpy()
    array([[ True, False, False],
           [ True,  True, False]])
    """

    offset: Integer | Tensor = 0
    tensor_fields = ("offset",)  # see functional/compiling.py

    def __post_init__(self):
        offset = as_integers("offset", self.offset)
        object.__setattr__(self, "offset", offset)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return ranges.row_shapes("offset", self.offset)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        query, key = ranges.positions(
            query_start, query_length, key_start, key_length
        )
        return ops.less_equal(key, query + ranges.per_row(self.offset))

    def row(self, index: Integer) -> "Causal":
        return Causal(ranges.row(self.offset, index))

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        last = query_end + ranges.largest(self.offset)
        return 0, ranges.minimum(key_length, last)

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        last = query_start + ranges.smallest(self.offset) + 1
        return 0, ranges.minimum(key_length, last)


@dataclasses.dataclass(frozen=True, eq=False)
class SlidingWindow(Mask):
    """A query sees `left` keys before it, itself, and `right` keys after it.

    Args:
        left: number of neighbours before the query's own position, or None
            for all of them.
        right: number of neighbours after it, or None for all of them.
        offset: as in `Causal`: position of the first query among the keys.

    Raises:
        ValueError: if `left` or `right` is a negative number, or `offset` is
            no integer.

    Example:

    >>> from keras_attention import masks
    >>> masks.SlidingWindow(left=1, right=0).dense(3, 3).numpy()
    array([[ True, False, False],
           [ True,  True, False],
           [False,  True,  True]])
    """

    left: int | None
    right: int | None
    offset: Integer | Tensor = 0
    tensor_fields = ("offset",)  # see functional/compiling.py

    def __post_init__(self):
        for name in ("left", "right"):
            size = getattr(self, name)
            if size is None:
                continue
            if not validation.is_integer(size) or size < 0:
                raise validation.invalid(
                    name, "a number of neighbours >= 0 or None", repr(size)
                )
            object.__setattr__(self, name, min(int(size), FARTHEST))
        offset = as_integers("offset", self.offset)
        object.__setattr__(self, "offset", offset)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return ranges.row_shapes("offset", self.offset)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        query, key = ranges.positions(
            query_start, query_length, key_start, key_length
        )
        distance = key - query - ranges.per_row(self.offset)
        result = ops.ones_like(distance, dtype="bool")
        if self.left is not None:
            result = ops.logical_and(result, distance >= -self.left)
        if self.right is not None:
            result = ops.logical_and(result, distance <= self.right)
        return result

    def row(self, index: Integer) -> "SlidingWindow":
        offset = ranges.row(self.offset, index)
        return SlidingWindow(self.left, self.right, offset)

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        first, last = 0, key_length
        if self.left is not None:
            first = query_start + ranges.smallest(self.offset) - self.left
            first = ranges.maximum(0, first)
        if self.right is not None:
            last = query_end + ranges.largest(self.offset) + self.right
            last = ranges.minimum(key_length, last)
        return first, last

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        first, last = 0, key_length
        if self.left is not None:
            first = query_end - 1 + ranges.largest(self.offset) - self.left
            first = ranges.maximum(0, first)
        if self.right is not None:
            last = query_start + ranges.smallest(self.offset) + self.right + 1
            last = ranges.minimum(key_length, last)
        return first, last


@dataclasses.dataclass(frozen=True, eq=False)
class PrefixLM(Mask):
    """Causal, but the first `prefix_lengths` keys of a row are seen by all.

    Args:
        prefix_lengths: integer tensor of shape (batch,).
        offset: as in `Causal`.

    Raises:
        ValueError: if `prefix_lengths` does not have one axis, or holds no
            integers.
    """

    prefix_lengths: Tensor
    offset: Integer | Tensor = 0
    tensor_fields = ("offset",)  # see functional/compiling.py

    def __post_init__(self):
        for name in ("prefix_lengths", "offset"):
            number = as_integers(name, getattr(self, name))
            object.__setattr__(self, name, number)
        validation.check_rank(
            "prefix_lengths", self.prefix_lengths, 1, "(batch,)"
        )

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        (rows,) = validation.shape_of(self.prefix_lengths)
        prefix = ("prefix_lengths", (rows, 1, 1, 1))
        return (prefix, *ranges.row_shapes("offset", self.offset))

    def _parts(self):
        return Or((Causal(self.offset), Lengths(self.prefix_lengths)))

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        return self._parts().block(
            query_start, query_length, key_start, key_length
        )

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return self._parts().key_range(query_start, query_end, key_length)

    def row(self, index: Integer) -> "PrefixLM":
        return PrefixLM(
            ranges.row(self.prefix_lengths, index),
            ranges.row(self.offset, index),
        )

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        # Both parts start at key 0, so the longer one covers the other.
        causal, prefix = self._parts().masks
        area = (query_start, query_end, key_length)
        return 0, ranges.maximum(
            causal.visible_range(*area)[1], prefix.visible_range(*area)[1]
        )
