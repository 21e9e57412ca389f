"""Biases that depend on the distance from query to key.

None of them ever is a score matrix: a block is computed where it is read.

Letters: B batch, N heads, T queries and S keys of a block, D distances that
are told apart, Q slots of a step.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.functional.biases import Bias
from keras_attention.functional.precision import at_least_float32
from keras_attention.masks import ranges
from keras_attention.masks.integers import as_integers
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceBias(Bias):
    """A bias that depends on the distance from query to key alone.

    It serves T5's buckets (arXiv 1910.10683) and learned relative biases: one
    vector per head holds the bias of each distance.

    Args:
        values: float tensor (num_heads or 1, num_distances).
            `values[head, zero + key - query]` is added to the score; distances
            outside take the nearest end.
        zero: the index of distance 0, an integer, a scalar tensor or one per
            row (batch,). With cached keys, subtract the number of keys that
            come before the first query.

    Raises:
        ValueError: if `values` does not have two axes.
    """

    values: Any
    zero: Any

    def __post_init__(self):
        validation.check_rank(
            "values", self.values, 2, "(num_heads, num_distances)"
        )
        object.__setattr__(self, "zero", _int32("zero", self.zero))

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
        row: Integer | None = None,
    ) -> Tensor:
        """Returns the bias of a block, (N, T, S), or (B, N, T, S) by rows."""
        area = query_start, query_length, key_start, key_length
        index = self.of_row(row).index(_distances(*area))
        values = ops.take(self.values, index, axis=1)  # (N, T + S)
        if len(index.shape) == 2:
            values = ops.moveaxis(values, 1, 0)  # (B, N, T + S)
        shape = (*ops.shape(values)[:-1], query_length, ops.shape(values)[-1])
        values = ops.broadcast_to(values[..., None, :], shape)
        return _by_key(values, query_length, key_length)

    def of_row(self, row: Integer | None) -> "DistanceBias":
        """Returns the bias of one row of the batch, or itself for None."""
        return (
            self
            if row is None
            else DistanceBias(self.values, ranges.row(self.zero, row))
        )

    def index(self, distance: Any) -> Tensor:
        """Returns where these distances are in `values`.

        With a `zero` per row, for each row: (batch, *distance.shape).
        """
        return _index(distance, self.zero, ops.shape(self.values)[1])

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return ranges.row_shapes("bias.zero", self.zero)

    def check(self, target: tuple) -> None:
        validation.check_broadcasts(
            "bias.values",
            (self.values.shape[0], 1, 1),
            target,
            validation.SCORE_AXES,
        )
        _check_rows("bias.zero", self.zero, target)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearDistanceBias(Bias):
    """A bias that falls with the distance from query to key, without end.

        bias[head, t, s] = -slopes[head] * |s - t + offset|

    That of ALiBi (arXiv 2108.12409), on both sides of the query.

    Args:
        slopes: float tensor (num_heads or 1,).
        offset: position of the first key less that of the first query, an
            integer, a scalar tensor or one per row (batch,).

    Raises:
        ValueError: if `slopes` does not have one axis.
    """

    slopes: Any
    offset: Any = 0

    def __post_init__(self):
        validation.check_rank("slopes", self.slopes, 1, "(num_heads,)")
        object.__setattr__(self, "offset", _int32("offset", self.offset))

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
        row: Integer | None = None,
    ) -> Tensor:
        """Returns the bias of a block, (N, T, S), or (B, N, T, S) by rows."""
        area = query_start, query_length, key_start, key_length
        # Half precision would round distances, and far ones to infinity.
        slopes = at_least_float32(ops.convert_to_tensor(self.slopes))
        slopes = slopes[:, None, None]
        return -slopes * ops.cast(self.distance(*area, row), slopes.dtype)

    def distance(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
        row: Integer | None = None,
    ) -> Tensor:
        """Returns the distances, (1, T, S), or (B, 1, T, S) by rows."""
        offset = self.offset if row is None else ranges.row(self.offset, row)
        query, key = ranges.positions(
            query_start, query_length, key_start, key_length
        )
        return ops.abs((key - query)[None] + ranges.per_row(offset))

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return ranges.row_shapes("bias.offset", self.offset)

    def check(self, target: tuple) -> None:
        validation.check_broadcasts(
            "bias.slopes",
            (self.slopes.shape[0], 1, 1),
            target,
            validation.SCORE_AXES,
        )
        _check_rows("bias.offset", self.offset, target)


@dataclasses.dataclass(frozen=True, eq=False)
class QueryDistanceBias(Bias):
    """A bias that depends on the distance from query to key, and the query.

    It serves the relative keys of Shaw et al. (arXiv 1803.02155): each query
    has a vector that holds the bias of each distance.

    Args:
        values: float tensor (batch, num_heads, query_length, num_distances),
            or 1 in place of any of the first three.
            `values[..., query, zero + key - query]` is added to the score;
            distances outside take the nearest end.
        zero: the index of distance 0, as that of a `DistanceBias`.

    Raises:
        ValueError: if `values` does not have four axes.
    """

    values: Any
    zero: Any

    def __post_init__(self):
        validation.check_rank(
            "values",
            self.values,
            4,
            "(batch, num_heads, query_length, num_distances)",
        )
        object.__setattr__(self, "zero", _int32("zero", self.zero))

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
        row: Integer | None = None,
    ) -> Tensor:
        """Returns the bias of a block, (B, N, T, S); B is 1 for one row."""
        starts = (row, None, query_start, None)
        lengths = (1, None, query_length, None)
        values = ranges.window(self.values, starts, lengths)
        area = query_start, query_length, key_start, key_length
        values = _taken(values, self.index(*area, row))  # (B, N, T, T + S)
        if values.shape[2] == 1:  # one query's values may serve all of them
            shape = (*ops.shape(values)[:2], query_length, ops.shape(values)[3])
            values = ops.broadcast_to(values, shape)
        return _by_key(values, query_length, key_length)

    def index(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
        row: Integer | None = None,
    ) -> Tensor:
        """Returns where the distances of a block, in order, are in `values`.

        Its shape is (T + S,), or (B, T + S) by rows; the last is one too many.
        """
        zero = self.zero if row is None else ranges.row(self.zero, row)
        area = query_start, query_length, key_start, key_length
        return _index(_distances(*area), zero, self.values.shape[3])

    def of_first_query(self, key_length: Integer) -> Tensor:
        key = ops.arange(key_length, dtype="int32")
        index = _index(key, self.zero, self.values.shape[3])
        return _taken(self.values, index)  # (B, N, Q, S)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        values = ("bias.values", (*self.values.shape[:3], 1))
        return (values, *ranges.row_shapes("bias.zero", self.zero))

    def check(self, target: tuple) -> None:
        (name, shape), *_ = self.broadcast_shapes()
        validation.check_broadcasts(name, shape, target, validation.SCORE_AXES)
        _check_rows("bias.zero", self.zero, target)


def _int32(name, number):
    """Returns an integer as it is, and anything else as an int32 tensor.

    One row's number is that of all rows, and need not be told apart by row.
    """
    number = as_integers(name, number)
    if isinstance(number, int):
        return number
    number = ops.cast(ops.convert_to_tensor(number), "int32")
    return number[0] if tuple(number.shape) == (1,) else number


def _distances(query_start, query_length, key_start, key_length):
    """Returns all distances of a block, lowest first, and one more: (T + S,).

    Where the block is empty there is one distance for each key, and one more.
    """
    rows = ranges.maximum(query_length, 1)
    lowest = key_start - query_start - (rows - 1)
    return lowest + ops.arange(rows + key_length, dtype="int32")


def _index(distance, zero, size):
    """Returns where distances are among `size`: as they are, or by rows."""
    if len(getattr(zero, "shape", ())):
        zero = ops.reshape(zero, (-1, *(1,) * len(distance.shape)))
    return ops.clip(distance + zero, 0, size - 1)


def _taken(values, index):
    """Returns (B, N, T, X) of (B, N, T, D) at an index (X,) or (B, X)."""
    if len(index.shape) == 1:
        return ops.take(values, index, axis=3)
    return ops.take_along_axis(values, index[:, None, None], axis=3)


def _by_key(values, query_length, key_length):
    """Returns (..., T, S) of (..., T, T + S), where distances lie in order.

    Relative shift (Music Transformer): read in rows that are one shorter than
    the period, the values of all distances shift by one from each query to
    the next.
    """
    leading, length = ops.shape(values)[:-2], ops.shape(values)[-1]
    values = ops.reshape(values, (*leading, query_length * length))
    values = values[..., : query_length * (length - 1)]
    values = ops.reshape(values, (*leading, query_length, length - 1))
    return values[..., length - 1 - key_length :]


def _check_rows(name, offset, target):
    """Raises a ValueError unless an offset is one, or one per row."""
    shape = validation.shape_of(offset) or (1,)
    if len(shape) > 1 or target[0] not in (None, 1, *shape) and shape[0] != 1:
        raise ValueError(
            f"`{name}` must be one number or one per row, (batch,)="
            f"({target[0]},). Received: {name}.shape={shape}."
        )
