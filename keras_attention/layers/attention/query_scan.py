"""A whole target through a mechanism that knows only steps."""

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_attention.functional.scan import scan
from keras_attention.masks import Mask
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Range
from keras_attention.masks.ranges import Tensor


def attend_in_turn(
    mechanism: Any,
    query: Any,
    memory: Any,
    state: Any,
    context_width: int,
    source_length: int | None,
    mask: Mask | None = None,
    return_attention_scores: bool = False,
    **options,
) -> tuple:
    """Attends with one query after the other, each with the state before it.

    Args:
        mechanism: an `AttentionMechanism`.
        query: (batch, query_length, width).
        memory: what its `prepare` returned.
        state: what its `initial_state` returned.
        context_width: width of what it finds.
        source_length: number of keys, None where not known.
        mask: what the query side adds, or None.
        return_attention_scores: whether to return the weights too.
        **options: `seed` and `training`, for each step alike.

    Returns:
        The contexts (batch, query_length, context_width), and the weights
        (batch, query_length, source_length) or None.
    """
    dtype, batch = mechanism.compute_dtype, query.shape[0]

    def step(state, now):
        one, index = now
        context, weights, state = mechanism.attend(
            one[:, None],  # (B, 1, D)
            memory,
            state,
            positions=ops.reshape(index, (1, 1)),
            mask=None if mask is None else MaskFrom(mask, index),
            return_attention_scores=return_attention_scores,
            **options,
        )
        found = [context, weights] if return_attention_scores else [context]
        return state, [ops.cast(tensor, dtype)[:, 0] for tensor in found]

    like = [keras.KerasTensor((batch, context_width), dtype)]
    if return_attention_scores:
        like.append(keras.KerasTensor((batch, source_length), dtype))
    steps = ops.swapaxes(query, 0, 1)  # (T, B, D)
    indices = ops.arange(ops.shape(query)[1], dtype="int32")
    _, found = scan(step, state, (steps, indices), like)
    found = [ops.swapaxes(tensor, 0, 1) for tensor in found]  # (B, T, .)
    return found[0], found[1] if return_attention_scores else None


@dataclasses.dataclass(frozen=True, eq=False)
class MaskFrom(Mask):
    """A mask whose first query is number `index` of another mask.

    A loop reads the row of a step from the mask itself: nothing of the size
    of the scores is written out.
    """

    mask: Mask
    index: Integer

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        return self.mask.block(
            self.index + query_start, query_length, key_start, key_length
        )

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return self.mask.key_range(
            self.index + query_start, self.index + query_end, key_length
        )

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        return self.mask.visible_range(
            self.index + query_start, self.index + query_end, key_length
        )

    def row(self, index: Integer) -> "MaskFrom":
        return MaskFrom(self.mask.row(index), self.index)
