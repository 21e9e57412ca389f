"""What is done to scores before the mask: a soft cap and additive biases.

A bias is read block by block, like a mask, so that a bias which depends only
on the distance between query and key never becomes a score matrix.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.masks import ranges
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Tensor


def soft_cap(scores: Any, cap: float | None) -> Any:
    """Returns cap * tanh(scores / cap): scores held inside (-cap, cap).

    From Gemma 2 (arXiv 2408.00118). None leaves the scores as they are.
    """
    return scores if cap is None else cap * ops.tanh(scores / cap)


@dataclasses.dataclass(frozen=True, eq=False)
class TensorBias:
    """A bias written out.

    Args:
        tensor: float tensor that broadcasts to (batch, num_heads,
            query_length, key_length).
    """

    tensor: Any

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
        row: Integer | None = None,
    ) -> Tensor:
        """Returns the bias of a block, which broadcasts to (B, N, T, S).

        With `row`, of that row of the batch alone.
        """
        rank = len(self.tensor.shape)
        if rank == 0:
            return ops.reshape(self.tensor, (1, 1))
        starts = (row, None, query_start, key_start)[-rank:]
        lengths = (1, None, query_length, key_length)[-rank:]
        return ranges.window(self.tensor, starts, lengths)

    def check(self, target: tuple) -> None:
        """Raises a ValueError unless the tensor broadcasts to `target`."""
        validation.check_broadcasts(
            "bias", self.tensor.shape, target, validation.SCORE_AXES
        )


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceBias:
    """A bias that depends on the distance from query to key alone.

    It serves ALiBi (arXiv 2108.12409), T5's buckets (1910.10683) and learned
    relative biases: one vector per head holds the bias of each distance.

    Args:
        values: float tensor (num_heads, num_distances).
            `values[head, zero + key - query]` is added to the score; distances
            outside take the nearest end.
        zero: integer or scalar tensor: the index of distance 0. With cached
            keys, subtract the number of keys that come before the first query.

    Raises:
        ValueError: if `values` does not have two axes.
    """

    values: Any
    zero: Any

    def __post_init__(self):
        validation.check_rank(
            "values", self.values, 2, "(num_heads, num_distances)"
        )

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        """Returns the bias of a block, shape (num_heads, T, S)."""
        rows = ranges.maximum(query_length, 1)
        distances = rows + key_length - 1
        lowest = key_start - query_start - (rows - 1)
        distance = lowest + ops.arange(distances + 1, dtype="int32")
        index = self.index(distance)
        values = ops.take(self.values, index, axis=1)  # (N, T + S)
        # Relative shift (Music Transformer): pad, then reshape. Read in rows
        # that are one shorter than the period, the values of
        # all distances shift by one from each query to the next.
        heads = self.values.shape[0]
        values = ops.broadcast_to(values[:, None], (heads, rows, distances + 1))
        values = ops.reshape(values, (heads, -1))  # (N, T * (T + S))
        values = values[:, : rows * distances]
        values = ops.reshape(values, (heads, rows, distances))
        return values[:, :query_length, rows - 1 :]  # (N, T, S)

    def index(self, distance: Any) -> Tensor:
        """Returns where these distances are in `values`."""
        last = ops.shape(self.values)[1] - 1
        return ops.clip(distance + self.zero, 0, last)

    def check(self, target: tuple) -> None:
        """Raises a ValueError unless there is one vector for each head."""
        validation.check_broadcasts(
            "bias.values",
            (self.values.shape[0], 1, 1),
            target,
            validation.SCORE_AXES,
        )


def as_bias(bias: Any) -> TensorBias | DistanceBias | None:
    """Returns `bias` as an object with `block`: a tensor is wrapped."""
    if bias is None or isinstance(bias, (TensorBias, DistanceBias)):
        return bias
    return TensorBias(ops.convert_to_tensor(bias))
