"""Positions and ranges of a block, as integers or as tensors alike.

Python integers stay Python integers, so that static shapes stay static.
"""

from keras import ops


def positions(query_start, query_length, key_start, key_length):
    """Returns the positions of the queries (T, 1) and of the keys (1, S)."""
    query = query_start + ops.arange(query_length, dtype="int32")
    key = key_start + ops.arange(key_length, dtype="int32")
    return query[:, None], key[None, :]  # (T, 1), (1, S)


def per_row(number):
    """Shapes one number, or one per row, to broadcast over (B, N, T, S)."""
    if isinstance(number, int):
        return number
    number = ops.convert_to_tensor(number, dtype="int32")
    return number[:, None, None, None] if len(number.shape) else number


def window(tensor, axis, start, length):
    """Takes `length` entries from `start`; an axis of size 1 broadcasts.

    Past the end the last entry is repeated, so that a caller may read a whole
    block over the edge and hide the surplus itself.
    """
    size = tensor.shape[axis]
    if size == 1:
        return tensor
    if isinstance(start, int) and start == 0:
        if isinstance(length, int) and size == length:
            return tensor
        if not isinstance(length, int):  # the caller's own, dynamic length
            return tensor[(slice(None),) * axis + (slice(0, length),)]
    size = ops.shape(tensor)[axis]
    index = ops.minimum(start + ops.arange(length, dtype="int32"), size - 1)
    return ops.take(tensor, index, axis=axis)


def hull(flags, length):
    """Returns (first, last) around the True entries of `flags` (length,)."""
    position = ops.arange(ops.shape(flags)[0], dtype="int32")
    first = ops.min(ops.where(flags, position, length))
    last = ops.max(ops.where(flags, position + 1, 0))
    return first, last


def intersection(parts):
    """Returns the (first, last) that all the given ranges share."""
    parts = list(parts)
    first, last = parts[0]
    for other_first, other_last in parts[1:]:
        first = maximum(first, other_first)
        last = minimum(last, other_last)
    return first, last


def largest(number):
    return number if isinstance(number, int) else ops.max(_int32(number))


def smallest(number):
    return number if isinstance(number, int) else ops.min(_int32(number))


def _int32(number):
    return ops.convert_to_tensor(number, dtype="int32")


def maximum(a, b):
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return ops.maximum(a, b)


def minimum(a, b):
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return ops.minimum(a, b)
