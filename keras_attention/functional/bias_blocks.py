"""Biases as the blockwise path sees them: by block, with their gradients.

Letters as in `tiles.py`.
"""

import dataclasses
import math

from keras import ops

from keras_attention.functional import buffers
from keras_attention.functional.biases import DistanceBias
from keras_attention.functional.biases import TensorBias


def tensor_of(bias, heads):
    """Returns the tensor of a bias that has a gradient; None for None."""
    if bias is None:
        return None
    if isinstance(bias, DistanceBias):
        return ops.convert_to_tensor(bias.values)
    tensor = ops.convert_to_tensor(bias.tensor)
    missing = 4 - len(tensor.shape)
    tensor = ops.reshape(tensor, (1,) * missing + tuple(ops.shape(tensor)))
    if tensor.shape[1] is None:  # 1 or all of them, not known before
        rows, _, queries, keys = ops.shape(tensor)
        tensor = ops.broadcast_to(tensor, (rows, heads, queries, keys))
    return tensor


def restore(bias, tensor):
    """Returns the blocks of `bias`, with what `tensor_of` gave."""
    if isinstance(bias, DistanceBias):
        return DistanceBiasBlocks(DistanceBias(tensor, bias.zero))
    return TensorBiasBlocks(TensorBias(tensor))


@dataclasses.dataclass(frozen=True, eq=False)
class TensorBiasBlocks:
    """A `TensorBias` whose tensor has four axes, any of them of size 1."""

    bias: object

    def block(self, area, row):
        """Returns the bias of a block, which broadcasts to (N, I, J)."""
        return self.bias.block(*area, row=row)[0]

    def empty_sums(self, layout, dtype):
        """Returns the buffer that `add_to_sums` adds to."""
        _, heads, queries, keys = self.bias.tensor.shape
        shape = (
            heads,
            1 if queries == 1 else layout.query_block,
            1 if keys == 1 else layout.key_block,
        )
        rows, query_blocks, key_blocks = self._counts(layout)
        return buffers.zeros(rows * query_blocks * key_blocks, shape, dtype)

    def add_to_sums(self, sums, tile, key_block, gradient):
        """Adds the gradient (N, I, J) of one block."""
        counts = self._counts(tile.layout)
        index = 0
        for count, position in zip(
            counts, (tile.row, tile.block, key_block), strict=True
        ):
            if not (isinstance(count, int) and count == 1):
                index = index * count + position
        shared = [
            axis
            for axis, size in enumerate(self.bias.tensor.shape[1:])
            if size == 1
        ]
        gradient = ops.sum(gradient, axis=shared, keepdims=True)
        return buffers.add(sums, index, gradient)

    def join_sums(self, sums, layout):
        """Returns the gradient of the tensor."""
        blocks = buffers.stack(sums)
        _, heads, queries, keys = blocks.shape
        rows, query_blocks, key_blocks = self._counts(layout)
        blocks = ops.reshape(
            blocks, (rows, query_blocks, key_blocks, heads, queries, keys)
        )
        blocks = ops.transpose(blocks, (0, 3, 1, 4, 2, 5))
        gradient = ops.reshape(
            blocks, (rows, heads, query_blocks * queries, key_blocks * keys)
        )
        for axis in (0, 2, 3):
            gradient = self._fit(gradient, axis)
        return gradient

    def _counts(self, layout):
        batch, _, queries, keys = self.bias.tensor.shape
        return (
            1 if batch == 1 else layout.batch,
            1 if queries == 1 else layout.query_blocks,
            1 if keys == 1 else layout.key_blocks,
        )

    def _fit(self, gradient, axis):
        """Cuts the padding off; a size not known before may have been 1."""
        size = ops.shape(self.bias.tensor)[axis]
        gradient = ops.moveaxis(gradient, axis, 0)
        if isinstance(size, int):
            gradient = gradient[:size]
        else:
            rest = ops.sum(gradient[size - 1 :], axis=0, keepdims=True)
            gradient = ops.concatenate([gradient[: size - 1], rest], axis=0)
        return ops.moveaxis(gradient, 0, axis)


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceBiasBlocks:
    """A `DistanceBias`: its gradient is summed along the diagonals."""

    bias: object

    def block(self, area, row):
        """Returns the bias of a block, (N, I, J)."""
        return self.bias.block(*area)

    def empty_sums(self, layout, dtype):
        """Returns a buffer with a vector for each shift between blocks."""
        shape = (self.bias.values.shape[0], _distances(layout))
        return buffers.zeros(_shifts(layout), shape, dtype)

    def add_to_sums(self, sums, tile, key_block, gradient):
        """Adds the gradient (N, I, J) of one block."""
        layout = tile.layout
        step = _step(layout)
        index = key_block * (layout.key_block // step) + (
            layout.query_blocks - 1 - tile.block
        ) * (layout.query_block // step)
        return buffers.add(sums, index, _diagonal_sums(gradient))

    def join_sums(self, sums, layout):
        """Returns the gradient of the values."""
        sums = buffers.stack(sums)  # (shifts, N, distances)
        shift = ops.arange(_shifts(layout), dtype="int32") * _step(layout)
        distance = ops.arange(_distances(layout), dtype="int32")
        lowest = 1 - layout.query_blocks * layout.query_block
        index = self.bias.index(lowest + shift[:, None] + distance)
        gradient = ops.segment_sum(
            ops.reshape(ops.moveaxis(sums, 1, 2), (-1, sums.shape[1])),
            ops.reshape(index, (-1,)),
            num_segments=self.bias.values.shape[1],
        )
        return ops.transpose(gradient)


def _step(layout):
    return math.gcd(layout.query_block, layout.key_block)


def _distances(layout):
    return layout.query_block + layout.key_block - 1


def _shifts(layout):
    step = _step(layout)
    return (
        (layout.query_blocks - 1) * (layout.query_block // step)
        + (layout.key_blocks - 1) * (layout.key_block // step)
        + 1
    )


def _diagonal_sums(block):
    """Sums (N, I, J) along its diagonals, lowest key - query first."""
    heads, queries, keys = block.shape
    block = ops.flip(block, axis=1)
    block = ops.pad(block, ((0, 0), (0, 0), (0, queries)))
    # Read in rows that are one shorter, each row moves one to the right.
    flat = ops.reshape(block, (heads, queries * (keys + queries)))
    flat = flat[:, : queries * (keys + queries - 1)]
    rows = ops.reshape(flat, (heads, queries, keys + queries - 1))
    return ops.sum(rows, axis=1)
