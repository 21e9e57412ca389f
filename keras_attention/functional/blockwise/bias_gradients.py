"""Biases by block, and their gradients summed block by block.

The tensor of a bias stands among the `Inputs`, for it has a gradient; what is
here says how to read it and how to add to its gradient. Letters as in
`grid.py`.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention.functional.biases import Bias
from keras_attention.functional.biases import TensorBias
from keras_attention.functional.blockwise import buffers
from keras_attention.functional.blockwise.distance_gradients import (
    DistanceBlocks,
)
from keras_attention.functional.blockwise.distance_gradients import (
    LinearDistanceBlocks,
)
from keras_attention.functional.blockwise.distance_gradients import (
    QueryDistanceBlocks,
)
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Place
from keras_attention.functional.distance_biases import DistanceBias
from keras_attention.functional.distance_biases import LinearDistanceBias
from keras_attention.functional.distance_biases import QueryDistanceBias


def part(bias: Bias | None, query: Any) -> "tuple[BiasBlocks | None, Any]":
    """Returns how to read a bias, and its tensor; None, None for None.

    What all heads, rows or queries share is repeated here, outside of what
    sums gradients by block, so that its own gradient is the sum of theirs.

    Args:
        bias: the bias.
        query: (B, T, N, H).
    """
    batch, length, heads = ops.shape(query)[:3]
    # No `match`, of which AutoGraph warns in the graph functions of users.
    if bias is None:
        return None, None
    if isinstance(bias, DistanceBias):
        return DistanceBlocks(bias.zero), _repeated(bias.values, (heads,))
    if isinstance(bias, LinearDistanceBias):
        slopes = _repeated(bias.slopes, (heads,))
        return LinearDistanceBlocks(bias.offset), slopes
    if isinstance(bias, QueryDistanceBias):
        values = _repeated(bias.values, (batch, heads, length))
        return QueryDistanceBlocks(bias.zero), values
    tensor = ops.convert_to_tensor(bias.tensor)
    missing = 4 - len(tensor.shape)
    tensor = ops.reshape(tensor, (1,) * missing + tuple(ops.shape(tensor)))
    if tensor.shape[1] is None:  # 1 or all of them, not known before
        rows, _, queries, keys = ops.shape(tensor)
        tensor = ops.broadcast_to(tensor, (rows, heads, queries, keys))
    return TensorBlocks(), tensor


def _repeated(tensor, leading):
    """Returns a tensor whose first axes have these sizes, where one was 1."""
    tensor = ops.convert_to_tensor(tensor)
    if 1 not in tensor.shape[: len(leading)]:
        return tensor
    rest = ops.shape(tensor)[len(leading) :]
    return ops.broadcast_to(tensor, (*leading, *rest))


@dataclasses.dataclass(frozen=True, eq=False)
class TensorBlocks:
    """A tensor of four axes, any of them of size 1."""

    def block(self, tensor: Any, area: tuple, row: Any) -> Any:
        """Returns the bias of a block, (1 or N, 1 or I, 1 or J)."""
        return TensorBias(tensor).block(*area, row=row)[0]

    def whole(self, tensor: Any) -> TensorBias:
        """Returns the bias as an object of `biases`."""
        return TensorBias(tensor)

    def sum_whole(self, tensor: Any, gradient: Any) -> Any:
        """Returns the gradient of the tensor from that of all scores."""
        for axis in range(4):
            if tensor.shape[axis] == 1:
                gradient = ops.sum(gradient, axis=axis, keepdims=True)
            elif tensor.shape[axis] is None:
                size = ops.shape(tensor)[axis]
                gradient = _without_padding(gradient, axis, size)
        return gradient

    def zeros(self, grid: Grid, tensor: Any, dtype: Any) -> Any:
        """Returns the buffer that `add` adds to."""
        _, heads, queries, keys = tensor.shape
        shape = (
            heads,
            1 if queries == 1 else grid.query_block,
            1 if keys == 1 else grid.key_block,
        )
        rows, query_blocks, key_blocks = _counts(grid, tensor)
        return grid.zeros(rows * query_blocks * key_blocks, shape, dtype)

    def add(
        self, grid: Grid, tensor: Any, sums: Any, place: Place, gradient: Any
    ) -> Any:
        """Adds the gradient (P, N, I, J) of the block of each tile."""
        index = ops.zeros_like(place.row)
        positions = place.row, place.query_block, place.key_block
        counts = _counts(grid, tensor)
        for count, position in zip(counts, positions, strict=True):
            if not (isinstance(count, int) and count == 1):
                index = index * count + position
        shared = [axis for axis in (1, 2, 3) if tensor.shape[axis] == 1]
        gradient = ops.sum(gradient, axis=shared, keepdims=True)
        return buffers.add(sums, index, gradient)

    def join(self, grid: Grid, tensor: Any, sums: Any) -> Any:
        """Returns the gradient of the tensor."""
        _, heads, queries, keys = sums.shape
        rows, query_blocks, key_blocks = _counts(grid, tensor)
        shape = (rows, query_blocks, key_blocks, heads, queries, keys)
        sums = ops.transpose(ops.reshape(sums, shape), (0, 3, 1, 4, 2, 5))
        shape = (rows, heads, query_blocks * queries, key_blocks * keys)
        gradient = ops.reshape(sums, shape)
        for axis in (0, 2, 3):
            size = ops.shape(tensor)[axis]
            gradient = _without_padding(gradient, axis, size)
        return gradient


BiasBlocks = (
    TensorBlocks | DistanceBlocks | LinearDistanceBlocks | QueryDistanceBlocks
)


def _counts(grid, tensor):
    """Returns how many (rows, query blocks, key blocks) have a sum."""
    batch, _, queries, keys = tensor.shape
    return (
        1 if batch == 1 else grid.batch,
        1 if queries == 1 else grid.query_blocks,
        1 if keys == 1 else grid.key_blocks,
    )


def _without_padding(gradient, axis, size):
    """Cuts the padding off; a size not known before may have been 1."""
    gradient = ops.moveaxis(gradient, axis, 0)
    if isinstance(size, int):
        gradient = gradient[:size]
    else:
        rest = ops.sum(gradient[size - 1 :], axis=0, keepdims=True)
        gradient = ops.concatenate([gradient[: size - 1], rest], axis=0)
    return ops.moveaxis(gradient, 0, axis)
