"""Attention over some axes of an input of any rank: folded at the door.

An input is (batch, axes..., width). Attention runs over some of its axes; the
others are free: each of their entries is one more row of the batch. Inside,
everything is (batch, length, ...).

Letters: B batch, F... free axes, T... and S... the attended axes of query and
key, N heads, H width of a head.
"""

import dataclasses
import math
from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.masks.booleans import as_boolean


@dataclasses.dataclass(frozen=True)
class AttentionAxes:
    """Which axes of an input are attended over.

    Args:
        axes: the attended axes, counted from the front, in the order in which
            the scores show them.
        rank: number of axes of the input, batch and width included.
        num_heads: heads of the query.
    """

    axes: tuple
    rank: int
    num_heads: int

    @classmethod
    def resolve(
        cls,
        attention_axes: int | list | tuple | None,
        rank: int,
        num_heads: int,
    ) -> "AttentionAxes":
        """Reads the argument `attention_axes` for inputs of this rank."""
        if attention_axes is None:
            return cls(tuple(range(1, rank - 1)), rank, num_heads)
        given = attention_axes
        given = (given,) if isinstance(given, int) else tuple(given)
        axes = tuple(axis if axis >= 0 else rank + axis for axis in given)
        inside = all(0 < axis < rank - 1 for axis in axes)
        if not axes or not inside or len(set(axes)) < len(axes):
            raise validation.invalid(
                "attention_axes",
                f"distinct axes between batch and width of {rank} axes",
                attention_axes,
            )
        return cls(axes, rank, num_heads)

    @property
    def free(self) -> tuple:
        """The axes that are neither batch, nor attended, nor width."""
        return tuple(x for x in range(1, self.rank - 1) if x not in self.axes)

    @property
    def is_plain(self) -> bool:
        """Whether inputs are (batch, length, width): nothing to fold."""
        return self.rank == 3

    def check(self, query_shape: tuple, value_shape: tuple) -> None:
        """Raises a ValueError unless query and value go together."""
        received = (
            f"Received: query.shape={tuple(query_shape)}, "
            f"value.shape={tuple(value_shape)}."
        )
        if len(query_shape) != len(value_shape) or self.rank < 3:
            raise ValueError(
                "`query` and `value` must have the same number of axes, "
                f"(batch, length, width) or more. {received}"
            )
        for axis in self.free:
            sizes = {query_shape[axis], value_shape[axis]} - {None}
            if len(sizes) > 1:
                raise ValueError(
                    "`query` and `value` must have the same size on axis "
                    f"{axis}, which is not attended over. {received}"
                )

    def check_plain(self, name: str) -> None:
        """Raises a ValueError, for the argument `name`, where axes fold."""
        if not self.is_plain:
            raise ValueError(
                f"`{name}` must come with inputs of shape (batch, length, "
                f"width). Received: {self.rank} axes."
            )

    def fold_inputs(self, query: Any, value: Any, key: Any) -> tuple:
        """Returns query, value and key as (B*F, T, width).

        A tensor that is given twice comes back twice, not as two.
        """
        folded = {id(x): self.fold(x, trailing=1) for x in (query, value, key)}
        return tuple(folded[id(x)] for x in (query, value, key))

    def fold(self, tensor: Any, trailing: int = 0) -> Any:
        """Returns (B*F, T, ...) from (B, axes..., ...).

        Args:
            tensor: a tensor with the axes of the input but its width.
            trailing: how many axes follow, 1 for the width.
        """
        if self.is_plain or tensor is None:
            return tensor
        kept = range(self.rank - 1, self.rank - 1 + trailing)
        tensor = ops.transpose(tensor, (0, *self.free, *self.axes, *kept))
        sizes, rows = ops.shape(tensor), 1 + len(self.free)
        end = len(sizes) - trailing
        shape = (math.prod(sizes[:rows]), math.prod(sizes[rows:end]))
        return ops.reshape(tensor, (*shape, *sizes[end:]))

    def fold_mask(self, mask: Any, query: Any, key: Any) -> Any:
        """Returns (B*F, N or 1, T, S) from a mask as Keras takes it.

        Its last axes are (T..., S...), and whatever stands before them is the
        beginning of (B, F..., N): size 1 stands for the axes left out. A
        `masks.Mask`, packed or not, speaks of positions and stays.
        """
        is_tensor = not isinstance(mask, (dict, masks.Mask))
        if self.is_plain or mask is None or not is_tensor:
            return mask
        sizes = self._sizes(ops.shape(query), ops.shape(key))
        batch, queries, keys = sizes
        full = len(batch) + 1 + len(queries) + len(keys)
        shape = validation.shape_of(mask)
        lead = len(shape) - len(queries) - len(keys)
        aligned = (
            *shape[: max(lead, 0)],
            *(1,) * (full - len(shape)),
            *shape[max(lead, 0) :],
        )
        validation.check_broadcasts(
            "attention_mask",
            aligned,
            self.scores_shape(query.shape, key.shape),
            "(batch, free axes, num_heads, query axes, key axes)",
            "Did you swap the query and key axes?",
            received=shape,
        )
        heads = aligned[len(batch)]
        mask = as_boolean("attention_mask", mask)
        mask = ops.reshape(mask, self._known(mask, aligned))
        mask = ops.broadcast_to(mask, (*batch, heads, *queries, *keys))
        rows, queries, keys = map(math.prod, sizes)
        return ops.reshape(mask, (rows, heads, queries, keys))

    def unfold(self, tensor: Any, query: Any) -> Any:
        """Returns (B, axes..., ...) from (B*F, T, ...), as `query` has axes."""
        if self.is_plain:
            return tensor
        batch, queries, _ = self._sizes(ops.shape(query), ops.shape(query))
        tensor = ops.reshape(tensor, (*batch, *queries, *tensor.shape[2:]))
        order = (0, *self.free, *self.axes)
        order = (*order, *range(len(order), len(tensor.shape)))
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return ops.transpose(tensor, inverse)

    def unfold_scores(self, scores: Any, query: Any, key: Any) -> Any:
        """Returns (B, F..., N, T..., S...) from (B*F, N, T, S)."""
        if self.is_plain or scores is None:
            return scores
        shape = self.scores_shape(ops.shape(query), ops.shape(key))
        return ops.reshape(scores, shape)

    def scores_shape(self, query_shape: tuple, key_shape: tuple) -> tuple:
        """Returns the shape of the scores that the layer gives back."""
        batch, queries, keys = self._sizes(query_shape, key_shape)
        return (*batch, self.num_heads, *queries, *keys)

    def _sizes(self, query_shape, key_shape):
        batch = tuple(query_shape[axis] for axis in (0, *self.free))
        queries = tuple(query_shape[axis] for axis in self.axes)
        keys = tuple(key_shape[axis] for axis in self.axes)
        return batch, queries, keys

    @staticmethod
    def _known(tensor, shape):
        """Fills the unknown sizes of `shape` from the tensor, in order."""
        unknown = (
            size
            for size, static in zip(
                ops.shape(tensor), validation.shape_of(tensor), strict=True
            )
            if static is None
        )
        return tuple(next(unknown) if s is None else s for s in shape)


def checked_axes(attention_axes: Any) -> int | list | tuple | None:
    """Returns `attention_axes` as given, if it is of a type it can have."""
    is_integer = isinstance(attention_axes, int)
    if attention_axes is None or is_integer:
        return attention_axes
    if not isinstance(attention_axes, (list, tuple)):
        raise validation.invalid(
            "attention_axes", "an int, list, or tuple", repr(attention_axes)
        )
    return attention_axes
