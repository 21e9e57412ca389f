"""Which positions kept keys have, and the masks that are counted so.

A ring keeps the last positions alone: what a query sees is counted from the
first of them, and masks of the whole sequence are shifted to it.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Span:
    """Which positions the kept keys have, as masks and biases count them.

    Args:
        first: position of the first key in the sequence: an integer, a scalar
            tensor or one per row (batch,).
        offset: position of the first query, counted from the first key.
        filled: the mask that hides what is not written, counted so too.
        columns: which of the positions, counted so, each kept key has; None
            where the keys lie in order.
    """

    first: Any
    offset: Any
    filled: masks.Mask
    columns: Any = None


def shifted(mask: masks.Mask | None, span: Span) -> masks.Mask | None:
    """Returns a mask of the whole sequence, counted as `span` counts."""
    if mask is None or validation.is_integer(span.first):
        return mask
    if len(span.first.shape):
        raise ValueError(
            "`cache_index` must be one number where a cache with a window "
            "meets `attention_mask`, or a mask of all positions of the keys. "
            f"Received: cache_index.shape={tuple(span.first.shape)}. Mask the "
            "new positions alone."
        )
    return Shifted(mask, span.first)


def mask_of_written(first: Any, length: Any) -> masks.Mask:
    """Hides the keys before position 0, counted from `first`."""
    position = first[..., None] + ops.arange(length, dtype="int32")
    is_there = position >= 0  # (S,) or (B, S)
    return masks.Array(is_there[..., None, :])  # (1, S) or (B, 1, S)


@dataclasses.dataclass(frozen=True, eq=False)
class Shifted(masks.Mask):
    """`mask`, whose keys are counted from `first`, and hidden before key 0.

    Args:
        mask: a mask that counts keys from the beginning of the sequence.
        first: integer or scalar tensor, the key that is counted as 0; it may
            be negative.
    """

    mask: masks.Mask
    first: Any

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        first = key_start + self.first
        inside = ops.maximum(first, 0)
        area = (query_start, query_length, inside, key_length)
        block = self.mask.block(*area)
        key = first + ops.arange(key_length, dtype="int32")
        if block.shape[-1] != 1:
            index = ops.clip(key - inside, 0, key_length - 1)
            block = ops.take(block, index, axis=-1)
        return ops.logical_and(block, key >= 0)

    def row(self, index: Integer) -> "Shifted":
        return Shifted(self.mask.row(index), self.first)


@dataclasses.dataclass(frozen=True, eq=False)
class AfterPadding(masks.Mask):
    """Each row of the batch sees the keys after its first `padding` ones.

    Args:
        padding: integer tensor (batch,).
    """

    padding: Any

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        key = key_start + ops.arange(key_length, dtype="int32")
        return key >= self.padding[:, None, None, None]  # (B, 1, 1, S)
