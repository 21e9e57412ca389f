"""What is done to scores before the mask: a soft cap and additive biases.

A bias is read block by block, like a mask, so that a bias which depends only
on the distance between query and key never becomes a score matrix.
"""

import dataclasses
from collections.abc import Iterable
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


class Bias:
    """Base of all biases: what is added to each score.

    Blockwise attention has a reader for each of the classes below, which
    sums the gradient of its tensor; see `blockwise/bias_gradients.py`.
    """

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
        row: Integer | None = None,
    ) -> Tensor:
        """Returns the bias of a block, which broadcasts to (B, N, T, S).

        A block may reach past the end of the sequences: the caller hides what
        lies there, whatever its values.

        Args:
            query_start: first query, an integer or a scalar tensor.
            query_length: number of queries.
            key_start: first key, an integer or a scalar tensor.
            key_length: number of keys.
            row: the row of the batch that is meant, or None for all.
        """
        raise TypeError(f"{type(self).__name__} does not define `block`.")

    def of_first_query(self, key_length: Integer) -> Tensor:
        """Returns the bias of a step, which broadcasts to (B, N, Q, S).

        Each of the Q slots of a step stands where the first query does.
        """
        return self.block(0, 1, 0, key_length)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        """Returns (name, shape) of each tensor held, aligned with the scores.

        As `masks.Mask.broadcast_shapes`.
        """
        return ()

    def check(self, target: tuple) -> None:
        """Raises a ValueError unless the bias broadcasts to `target`."""
        raise TypeError(f"{type(self).__name__} does not define `check`.")


@dataclasses.dataclass(frozen=True, eq=False)
class TensorBias(Bias):
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
        rank = len(self.tensor.shape)
        if rank == 0:
            return ops.reshape(self.tensor, (1, 1))
        starts = (row, None, query_start, key_start)[-rank:]
        lengths = (1, None, query_length, key_length)[-rank:]
        return ranges.window(self.tensor, starts, lengths)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return (("bias", tuple(self.tensor.shape)),)

    def check(self, target: tuple) -> None:
        for name, shape in self.broadcast_shapes():
            validation.check_broadcasts(
                name, shape, target, validation.SCORE_AXES
            )


def as_bias(bias: Any) -> Bias | None:
    """Returns `bias` as an object with `block`: a tensor is wrapped."""
    if bias is None or isinstance(bias, Bias):
        return bias
    return TensorBias(ops.convert_to_tensor(bias))
