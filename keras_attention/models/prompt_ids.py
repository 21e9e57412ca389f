"""The ids of prompts: without marks, and padded where a search needs it."""

from typing import Any

from keras import ops

from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID


def aligned(ids: Any) -> Any:
    """Returns prompts that begin with BOS and end in the same column.

    Args:
        ids: integer tensor (batch, length). Padding and BOS are left out
            wherever they stand, and so is EOS and what comes after it.

    Returns:
        int32 tensor (batch, length + 1), padded at the beginning.
    """
    ids = without_marks(ids)
    ids = ops.pad(ids, ((0, 0), (1, 0)), constant_values=BOS_ID)  # (B, P)
    return _sorted_by(ids == PAD_ID, ids)


def real_ids_first(ids: Any) -> Any:
    """Returns ids (batch, length) with all padding at the end."""
    return _sorted_by(ids != PAD_ID, ids)


def last_ids(ids: Any, count: int) -> Any:
    """Returns the last ids of prompts, which matter most to what follows.

    Args:
        ids: integer tensor (batch, length), as `aligned` reads them.
        count: integer, how many ids of a prompt are kept.

    Returns:
        int32 tensor (batch, at most count), padded at the end, the same
        wherever the padding of `ids` was.
    """
    ids = without_marks(ids)
    is_real = ops.cast(ids != PAD_ID, "int32")
    after = ops.sum(is_real, axis=1, keepdims=True)
    after = after - ops.cumsum(is_real, axis=1)  # real ids after each
    ids = ops.where(after < count, ids, PAD_ID)
    return real_ids_first(ids)[:, :count]


def without_marks(ids: Any) -> Any:
    """Returns ids as int32, 0 at BOS, at EOS and at what comes after it."""
    ids = ops.cast(ids, "int32")
    has_ended = ops.cumsum(ops.cast(ids == EOS_ID, "int32"), axis=1) > 0
    left_out = ops.logical_or(ids == BOS_ID, has_ended)
    return ops.where(left_out, PAD_ID, ids)


def _sorted_by(comes_first, ids):
    """Returns the ids that come first, then the others, each in order."""
    length = ops.shape(ids)[1]
    position = ops.arange(length, dtype="int32")
    # Distinct keys, so that ids keep their order in any sort.
    keys = ops.where(comes_first, position, position + length)
    return ops.take_along_axis(ids, ops.argsort(keys, axis=1), axis=1)
