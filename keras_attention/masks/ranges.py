"""Positions and ranges of a block, as integers or as tensors.

Python integers stay Python integers, so that static shapes stay static.
"""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attention import validation

Tensor = Any  # of the backend, symbolic, or an array
Integer = Any  # a Python integer or a scalar integer tensor
Range = tuple[Integer, Integer]  # (first, last): first <= position < last


def positions(
    query_start: Integer,
    query_length: Integer,
    key_start: Integer,
    key_length: Integer,
) -> tuple[Tensor, Tensor]:
    """Returns the positions of the queries (T, 1) and of the keys (1, S)."""
    query = query_start + ops.arange(query_length, dtype="int32")
    key = key_start + ops.arange(key_length, dtype="int32")
    return query[:, None], key[None, :]  # (T, 1), (1, S)


def per_row(number: Tensor) -> Tensor:
    """Shapes one number, or one per row, to broadcast over (B, N, T, S)."""
    if isinstance(number, int):
        return number
    number = ops.convert_to_tensor(number, dtype="int32")
    return number[:, None, None, None] if len(number.shape) else number


def row_shapes(name: str, number: Tensor) -> tuple[tuple[str, tuple], ...]:
    """Returns what `broadcast_shapes` has of one number, or one per row."""
    shape = validation.shape_of(number)
    return ((name, (*shape, 1, 1, 1)),) if shape else ()


def window(tensor: Tensor, starts: Sequence, lengths: Sequence) -> Tensor:
    """Takes `lengths` entries from `starts`; axes of size 1 broadcast.

    A caller may read a whole block over the edge, and hide the surplus itself:
    it holds any entry of the tensor, or zeros.

    Args:
        tensor: tensor of any rank.
        starts: for each axis its first entry, an integer or a scalar tensor,
            or None for the whole axis.
        lengths: for each axis the number of entries.
    """
    whole = [
        start is None
        or size == 1
        or (_is_zero(start) and _is_integer(length) and size == length)
        for start, size, length in zip(
            starts, tensor.shape, lengths, strict=True
        )
    ]
    if all(whole):
        return tensor
    sizes = ops.shape(tensor)
    starts = [0 if w else s for w, s in zip(whole, starts, strict=True)]
    lengths = [
        size if w else length
        for w, size, length in zip(whole, sizes, lengths, strict=True)
    ]
    if all(map(_is_zero, starts)) and not all(map(_is_integer, lengths)):
        # The lengths are those of the tensor itself, known when it runs. A
        # whole axis keeps its static size.
        return tensor[
            tuple(
                slice(None) if w else slice(0, n)
                for w, n in zip(whole, lengths, strict=True)
            )
        ]
    areas = list(zip(starts, lengths, sizes, strict=True))
    # XLA refuses a slice longer than its axis, even in a branch not taken.
    if not all(map(_surely_fits, areas, whole)):
        return _repeat_last(tensor, areas, whole)
    # The last whole window, moved up to where it should start. No `cond`: XLA
    # compiles both branches, and many blocks at once have one program.
    safe = [minimum(start, size - length) for start, length, size in areas]
    block = _gather(tensor, safe, lengths)
    surplus = [(0, 0 if w else n) for w, n in zip(whole, lengths, strict=True)]
    moved = [a[0] - at for a, at in zip(areas, safe, strict=True)]
    return _gather(ops.pad(block, surplus), moved, lengths)


def _gather(tensor, starts, lengths):
    """Returns what `ops.slice` returns.

    XLA takes the start of a slice for a part of the program, and would compile
    one for each mask that the start follows from.
    """
    for axis, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        if not _is_zero(start):
            tensor = ops.take(tensor, start + ops.arange(length), axis=axis)
    return tensor[tuple(slice(0, length) for length in lengths)]


def _surely_fits(area, is_whole):
    _, length, size = area
    known = _is_integer(length) and _is_integer(size)
    return is_whole or (known and length <= size)


def _repeat_last(tensor, areas, whole):
    for axis, (start, length, size) in enumerate(areas):
        if not whole[axis]:
            index = start + ops.arange(length, dtype="int32")
            tensor = ops.take(tensor, ops.minimum(index, size - 1), axis=axis)
    return tensor


def row(tensor: Tensor, index: Integer) -> Tensor:
    """Takes one row of the batch; what is shared by all rows stays."""
    if isinstance(tensor, int):
        return tensor
    tensor = ops.convert_to_tensor(tensor)
    if len(tensor.shape) == 0 or tensor.shape[0] == 1:
        return tensor
    # A batch size not known until the call may turn out to be 1.
    index = ops.minimum(index, ops.shape(tensor)[0] - 1)
    return ops.take(tensor, ops.reshape(index, (1,)), axis=0)


def _is_zero(number):
    return isinstance(number, int) and number == 0


def _is_integer(number):
    return isinstance(number, int)


def span_of(flags: Tensor, length: Integer) -> Range:
    """Returns (first, last) around the True entries of `flags` (length,).

    A single flag holds for every position.
    """
    if flags.shape[0] == 1:
        return ops.where(flags[0], 0, length), ops.where(flags[0], length, 0)
    position = ops.arange(ops.shape(flags)[0], dtype="int32")
    first = ops.min(ops.where(flags, position, length), initial=length)
    last = ops.max(ops.where(flags, position + 1, 0), initial=0)
    return first, last


def between(flags: Tensor, start: Integer, end: Integer) -> Tensor:
    """Returns `flags` (B, length), False outside start <= position < end."""
    if flags.shape[1] == 1:  # a single flag holds for every position
        return flags
    position = ops.arange(ops.shape(flags)[1], dtype="int32")
    inside = ops.logical_and(position >= start, position < end)
    return ops.logical_and(flags, inside)


def intersection(parts: Iterable[Range]) -> Range:
    """Returns the (first, last) that all the given ranges share."""
    parts = list(parts)
    first, last = parts[0]
    for other_first, other_last in parts[1:]:
        first = maximum(first, other_first)
        last = minimum(last, other_last)
    return first, last


def largest(number: Tensor) -> Integer:
    return number if isinstance(number, int) else ops.max(_int32(number))


def smallest(number: Tensor) -> Integer:
    return number if isinstance(number, int) else ops.min(_int32(number))


def _int32(number):
    return ops.convert_to_tensor(number, dtype="int32")


def maximum(a: Integer, b: Integer) -> Integer:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return ops.maximum(a, b)


def minimum(a: Integer, b: Integer) -> Integer:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return ops.minimum(a, b)
