"""Averages of neighbours, over those that are real."""

from typing import Any

from keras import ops

from keras_attention.functional.padding import keep
from keras_attention.functional.precision import at_least_float32


def average_pool(tensor: Any, pool_size: int, mask: Any = None) -> tuple:
    """Averages each `pool_size` neighbours, those that are real.

    The last average may be one of fewer.

    Args:
        tensor: (batch, length, width).
        pool_size: how many positions become one.
        mask: boolean (batch, length), True = real, or None.

    Returns:
        The averages (batch, ceil(length / pool_size), width), in the dtype of
        `tensor`, zero where nothing is real; and the mask of those that
        average something, (batch, ceil(length / pool_size)), or None without
        a mask.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import pooling
    >>> numbers = np.array([[[1.0], [3.0], [5.0]]])
    >>> pooling.average_pool(numbers, 2)[0].numpy().tolist()
    [[[2.0], [5.0]]]
    """
    tensor = ops.convert_to_tensor(tensor)
    batch, length, width = ops.shape(tensor)
    real = ops.ones((1, length), "bool") if mask is None else mask
    numbers = at_least_float32(keep(tensor, mask))
    counts = ops.cast(real, numbers.dtype)[..., None]  # (B or 1, S, 1)
    numbers, counts = (
        ops.sum(_cut(x, pool_size), axis=2) for x in (numbers, counts)
    )  # (B, S / pool_size, D), (B or 1, S / pool_size, 1)
    average = numbers / ops.maximum(counts, 1.0)
    pooled_mask = None if mask is None else counts[..., 0] > 0
    return ops.cast(average, tensor.dtype), pooled_mask


def pool_mask(mask: Any, pool_size: int) -> Any:
    """Returns which averages of `average_pool` are of something real.

    Unlike there, `mask` (batch, length) may be a `keras.KerasTensor` of a
    length not known, as in `compute_mask`.
    """
    surplus = pool_size - 1
    flags = ops.pad(mask, [(0, 0), (0, surplus)])
    result = flags[:, surplus::pool_size]  # (B, ceil(S / pool_size))
    for first in range(surplus):
        part = flags[:, first : first - surplus : pool_size]
        result = ops.logical_or(result, part)
    return result


def pooled_length(length: int | None, pool_size: int) -> int | None:
    """Returns how many positions `average_pool` leaves."""
    return None if length is None else -(-length // pool_size)


def _cut(tensor, pool_size):
    """Cuts (B, S, D) into (B, S / pool_size, pool_size, D), zeros added."""
    batch, length, width = ops.shape(tensor)
    tensor = ops.pad(tensor, [(0, 0), (0, -length % pool_size), (0, 0)])
    blocks = -(-length // pool_size)
    return ops.reshape(tensor, (batch, blocks, pool_size, width))
