"""Masks that each row of the batch brings along: lengths, padding, segments."""

import dataclasses
from collections.abc import Iterable

import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.masks import ranges
from keras_attention.masks.base import Mask
from keras_attention.masks.booleans import as_boolean
from keras_attention.masks.integers import as_ids
from keras_attention.masks.integers import as_integers
from keras_attention.masks.integers import dtype_of
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Range
from keras_attention.masks.ranges import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Lengths(Mask):
    """Each row of the batch sees its first `lengths` keys.

    The cheapest way to say *padded*: keys past the longest row are skipped.

    Args:
        lengths: integer tensor of shape (batch,).

    Raises:
        ValueError: if `lengths` does not have one axis, or no integers.
    """

    lengths: Tensor

    def __post_init__(self):
        lengths = as_integers("lengths", self.lengths)
        object.__setattr__(self, "lengths", lengths)
        validation.check_rank("lengths", self.lengths, 1, "(batch,)")

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        (batch,) = validation.shape_of(self.lengths)
        return (("lengths", (batch, 1, 1, 1)),)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        key = key_start + ops.arange(key_length, dtype="int32")  # (S,)
        visible = ops.less(key, ranges.per_row(self.lengths))  # (B, 1, 1, S)
        return visible

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return 0, ranges.minimum(key_length, ranges.largest(self.lengths))

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return 0, ranges.minimum(key_length, ranges.smallest(self.lengths))

    def row(self, index: Integer) -> "Lengths":
        return Lengths(ranges.row(self.lengths, index))

    def key_padding(self, key_length: Integer) -> Tensor:
        return self.block(0, 1, 0, key_length)[:, 0, 0, :]  # (B, S)


@dataclasses.dataclass(frozen=True, eq=False)
class Padding(Mask):
    """Each row of the batch sees the keys that `key_mask` marks as real.

    Args:
        key_mask: tensor of shape (batch, key_length), True or 1 = real. This
            is what Keras keeps as the mask of an embedded sequence.

    Raises:
        ValueError: if `key_mask` does not have two axes, or holds a number
            that is neither 0 nor 1.
    """

    key_mask: Tensor

    def __post_init__(self):
        key_mask = as_boolean("key_mask", self.key_mask)
        object.__setattr__(self, "key_mask", key_mask)
        validation.check_rank(
            "key_mask", self.key_mask, 2, "(batch, key_length)"
        )

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        batch, key_length = validation.shape_of(self.key_mask)
        return (("key_mask", (batch, 1, 1, key_length)),)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        key_mask = ops.convert_to_tensor(self.key_mask)
        visible = ranges.window(
            key_mask, (None, key_start), (None, key_length)
        )  # (B, S)
        return ops.expand_dims(visible, axis=(1, 2))

    def row(self, index: Integer) -> "Padding":
        return Padding(ranges.row(self.key_mask, index))

    def key_padding(self, key_length: Integer) -> Tensor:
        return ops.convert_to_tensor(self.key_mask)

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        is_real = ops.any(ops.convert_to_tensor(self.key_mask), axis=0)  # (S,)
        return ranges.span_of(is_real, key_length)


@dataclasses.dataclass(frozen=True, eq=False)
class QueryPadding(Mask):
    """The queries that `query_mask` marks as padding see nothing.

    Args:
        query_mask: tensor of shape (batch, query_length), True or 1 = real.

    Raises:
        ValueError: if `query_mask` does not have two axes, or holds a number
            that is neither 0 nor 1.
    """

    query_mask: Tensor

    def __post_init__(self):
        query_mask = as_boolean("query_mask", self.query_mask)
        object.__setattr__(self, "query_mask", query_mask)
        validation.check_rank(
            "query_mask", self.query_mask, 2, "(batch, query_length)"
        )

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        batch, query_length = validation.shape_of(self.query_mask)
        return (("query_mask", (batch, 1, query_length, 1)),)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        query_mask = ops.convert_to_tensor(self.query_mask)
        real = ranges.window(
            query_mask, (None, query_start), (None, query_length)
        )  # (B, T)
        return ops.expand_dims(real, axis=(1, 3))

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        query_mask = ops.convert_to_tensor(self.query_mask)
        real = ranges.between(query_mask, query_start, query_end)
        return 0, ops.where(ops.any(real), key_length, 0)

    def row(self, index: Integer) -> "QueryPadding":
        return QueryPadding(ranges.row(self.query_mask, index))

    def query_padding(self, query_length: Integer) -> Tensor:
        return ops.convert_to_tensor(self.query_mask)


@dataclasses.dataclass(frozen=True, eq=False)
class Segments(Mask):
    """A query sees the keys of its own segment: packed sequences, kept apart.

    Args:
        query_ids: integer tensor (batch, query_length): the segment of each
            query.
        key_ids: the same for the keys, (batch, key_length). Defaults to
            `query_ids`, for self-attention.

    Raises:
        ValueError: if the ids do not have two axes, or are no integers.
    """

    query_ids: Tensor
    key_ids: Tensor | None = None

    def __post_init__(self):
        for name in ("query_ids", "key_ids"):
            ids = getattr(self, name)
            if ids is not None:
                object.__setattr__(self, name, as_ids(name, ids))
        validation.check_rank(
            "query_ids", self.query_ids, 2, "(batch, query_length)"
        )
        if self.key_ids is not None:
            validation.check_rank(
                "key_ids", self.key_ids, 2, "(batch, key_length)"
            )

    def _ids(self):
        key_ids = self.query_ids if self.key_ids is None else self.key_ids
        ids = [ops.convert_to_tensor(x) for x in (self.query_ids, key_ids)]
        # Ids of 64 bits would meet those of others in 32.
        is_small = all(np.can_cast(dtype_of(x), "int32") for x in ids)
        return [ops.cast(x, "int32" if is_small else "int64") for x in ids]

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        query_ids, key_ids = self._ids()
        batch, query_length = query_ids.shape
        yield "query_ids", (batch, 1, query_length, 1)
        batch, key_length = key_ids.shape
        name = "query_ids" if self.key_ids is None else "key_ids"
        yield name, (batch, 1, 1, key_length)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        query_ids, key_ids = self._ids()
        query_ids = ranges.window(
            query_ids, (None, query_start), (None, query_length)
        )  # (B, T)
        key_ids = ranges.window(
            key_ids, (None, key_start), (None, key_length)
        )  # (B, S)
        return ops.equal(query_ids[:, None, :, None], key_ids[:, None, None, :])

    def row(self, index: Integer) -> "Segments":
        query_ids, key_ids = self._ids()
        return Segments(
            ranges.row(query_ids, index), ranges.row(key_ids, index)
        )

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        # Keys whose segment lies between the lowest and the highest segment
        # of these queries: exact when segments are numbered in order.
        query_ids, key_ids = self._ids()
        everything = ops.ones_like(query_ids, dtype="bool")
        inside = ranges.between(everything, query_start, query_end)
        largest = np.iinfo(dtype_of(query_ids)).max
        low = ops.min(ops.where(inside, query_ids, largest), axis=1)  # (B,)
        high = ops.max(ops.where(inside, query_ids, -largest), axis=1)
        near = ops.logical_and(
            key_ids >= low[:, None], key_ids <= high[:, None]
        )
        return ranges.span_of(ops.any(near, axis=0), key_length)
