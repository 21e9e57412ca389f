"""Biases by block, and their gradients summed block by block.

The tensor of a bias stands among the `Inputs`, for it has a gradient; what is
here says how to read it and how to add to its gradient. Letters as in
`grid.py`.
"""

import dataclasses
import math
from typing import Any

from keras import ops

from keras_attention.functional.biases import DistanceBias
from keras_attention.functional.biases import TensorBias
from keras_attention.functional.blockwise import buffers
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Place


def part(
    bias: TensorBias | DistanceBias | None, heads: int
) -> "tuple[TensorBlocks | DistanceBlocks | None, Any]":
    """Returns how to read a bias, and its tensor; None, None for None."""
    if bias is None:
        return None, None
    if isinstance(bias, DistanceBias):
        return DistanceBlocks(bias.zero), ops.convert_to_tensor(bias.values)
    tensor = ops.convert_to_tensor(bias.tensor)
    missing = 4 - len(tensor.shape)
    tensor = ops.reshape(tensor, (1,) * missing + tuple(ops.shape(tensor)))
    if tensor.shape[1] is None:  # 1 or all of them, not known before
        rows, _, queries, keys = ops.shape(tensor)
        tensor = ops.broadcast_to(tensor, (rows, heads, queries, keys))
    return TensorBlocks(), tensor


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


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceBlocks:
    """The values of a `DistanceBias`: summed along the diagonals."""

    zero: Any
    tensor_fields = ("zero",)

    def block(self, values: Any, area: tuple, row: Any) -> Any:
        """Returns the bias of a block, (N, I, J)."""
        return self.whole(values).block(*area)

    def whole(self, values: Any) -> DistanceBias:
        """Returns the bias as an object of `biases`."""
        return DistanceBias(values, self.zero)

    def sum_whole(self, values: Any, gradient: Any) -> Any:
        """Returns the gradient of the values from that of all scores."""
        queries = ops.shape(gradient)[2]
        gradient = ops.sum(gradient, axis=0, keepdims=True)  # (1, N, T, S)
        sums = _diagonal_sums(gradient)  # (1, N, T + S - 1)
        return self._sum_to_values(values, sums, 1 - queries)

    def zeros(self, grid: Grid, values: Any, dtype: Any) -> Any:
        """Returns a buffer with a vector for each shift between blocks."""
        shape = (values.shape[0], grid.query_block + grid.key_block - 1)
        return grid.zeros(_shifts(grid), shape, dtype)

    def add(
        self, grid: Grid, values: Any, sums: Any, place: Place, gradient: Any
    ) -> Any:
        """Adds the gradient (P, N, I, J) of the block of each tile."""
        step = _step(grid)
        from_end = grid.query_blocks - 1 - place.query_block
        index = place.key_block * (grid.key_block // step)
        index = index + from_end * (grid.query_block // step)
        return buffers.add(sums, index, _diagonal_sums(gradient))

    def join(self, grid: Grid, values: Any, sums: Any) -> Any:
        """Returns the gradient of the values, (N, distances)."""
        shift = ops.arange(_shifts(grid), dtype="int32") * _step(grid)
        lowest = 1 - grid.query_blocks * grid.query_block
        return self._sum_to_values(values, sums, lowest + shift[:, None])

    def _sum_to_values(self, values, sums, lowest):
        """Sums (shifts, N, X), whose first distances are `lowest`, by value."""
        _, heads, distances = ops.shape(sums)
        distance = lowest + ops.arange(distances, dtype="int32")
        gradient = ops.segment_sum(
            ops.reshape(ops.moveaxis(sums, 1, 2), (-1, heads)),
            ops.reshape(self.whole(values).index(distance), (-1,)),
            num_segments=values.shape[1],
        )
        return ops.transpose(gradient)


def _step(grid):
    return math.gcd(grid.query_block, grid.key_block)


def _shifts(grid):
    """Returns how many distances there are between corners of blocks."""
    step = _step(grid)
    return (
        (grid.query_blocks - 1) * (grid.query_block // step)
        + (grid.key_blocks - 1) * (grid.key_block // step)
        + 1
    )


def _diagonal_sums(blocks):
    """Sums (P, N, I, J) along diagonals, lowest key - query first."""
    _, heads, queries, keys = ops.shape(blocks)
    blocks = ops.flip(blocks, axis=2)
    surplus = ops.zeros((*ops.shape(blocks)[:3], queries), blocks.dtype)
    blocks = ops.concatenate([blocks, surplus], axis=3)
    # Relative shift (Music Transformer): rows that are one shorter each move
    # one to the right.
    flat = ops.reshape(blocks, (-1, heads, queries * (keys + queries)))
    flat = flat[:, :, : queries * (keys + queries - 1)]
    rows = ops.reshape(flat, (-1, heads, queries, keys + queries - 1))
    return ops.sum(rows, axis=2)  # (P, N, I + J - 1)
