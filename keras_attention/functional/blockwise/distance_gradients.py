"""Biases of distances by block, and their gradients; see `bias_gradients.py`.

Letters as in `grid.py`; D distances that are told apart.
"""

import dataclasses
import math
from typing import Any

from keras import ops

from keras_attention.functional.blockwise import buffers
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Place
from keras_attention.functional.distance_biases import DistanceBias
from keras_attention.functional.distance_biases import LinearDistanceBias
from keras_attention.functional.distance_biases import QueryDistanceBias
from keras_attention.masks import ranges


@dataclasses.dataclass(frozen=True, eq=False)
class DistanceBlocks:
    """The values of a `DistanceBias`: summed along the diagonals."""

    zero: Any
    tensor_fields = ("zero",)

    def block(self, values: Any, area: tuple, row: Any) -> Any:
        """Returns the bias of a block, (N, I, J)."""
        return _of_one_row(self.whole(values).block(*area, row=row))

    def whole(self, values: Any) -> DistanceBias:
        """Returns the bias as an object of `distance_biases`."""
        return DistanceBias(values, self.zero)

    def sum_whole(self, values: Any, gradient: Any) -> Any:
        """Returns the gradient of the values from that of all scores."""
        queries = ops.shape(gradient)[2]
        if not self._differs_by_row:
            gradient = ops.sum(gradient, axis=0, keepdims=True)
        sums = ops.sum(_by_distance(gradient), axis=2)  # (B or 1, N, T + S - 1)
        return self._sum_to_values(values, sums, 1 - queries)

    def zeros(self, grid: Grid, values: Any, dtype: Any) -> Any:
        """Returns a buffer with a vector for each shift between blocks."""
        shape = (values.shape[0], grid.query_block + grid.key_block - 1)
        count = _shifts(grid)
        if self._differs_by_row:
            count = count * grid.batch
        return grid.zeros(count, shape, dtype)

    def add(
        self, grid: Grid, values: Any, sums: Any, place: Place, gradient: Any
    ) -> Any:
        """Adds the gradient (P, N, I, J) of the block of each tile."""
        step = _step(grid)
        from_end = grid.query_blocks - 1 - place.query_block
        index = place.key_block * (grid.key_block // step)
        index = index + from_end * (grid.query_block // step)
        if self._differs_by_row:
            index = index + place.row * _shifts(grid)
        diagonals = ops.sum(_by_distance(gradient), axis=2)  # (P, N, I + J - 1)
        return buffers.add(sums, index, diagonals)

    def join(self, grid: Grid, values: Any, sums: Any) -> Any:
        """Returns the gradient of the values, (N, D)."""
        shift = ops.arange(_shifts(grid), dtype="int32") * _step(grid)
        lowest = 1 - grid.query_blocks * grid.query_block
        return self._sum_to_values(values, sums, lowest + shift[:, None])

    @property
    def _differs_by_row(self):
        return len(getattr(self.zero, "shape", ())) == 1

    def _sum_to_values(self, values, sums, lowest):
        """Sums (rows * shifts, N, X), of distances from `lowest` on."""
        _, heads, distances = ops.shape(sums)
        distance = lowest + ops.arange(distances, dtype="int32")
        gradient = ops.segment_sum(
            ops.reshape(ops.moveaxis(sums, 1, 2), (-1, heads)),
            ops.reshape(self.whole(values).index(distance), (-1,)),
            num_segments=values.shape[1],
        )
        return ops.transpose(gradient)


@dataclasses.dataclass(frozen=True, eq=False)
class LinearDistanceBlocks:
    """The slopes of a `LinearDistanceBias`."""

    offset: Any
    tensor_fields = ("offset",)

    def block(self, slopes: Any, area: tuple, row: Any) -> Any:
        """Returns the bias of a block, (N, I, J)."""
        return _of_one_row(self.whole(slopes).block(*area, row=row))

    def whole(self, slopes: Any) -> LinearDistanceBias:
        """Returns the bias as an object of `distance_biases`."""
        return LinearDistanceBias(slopes, self.offset)

    def sum_whole(self, slopes: Any, gradient: Any) -> Any:
        """Returns the gradient of the slopes from that of all scores."""
        _, _, queries, keys = ops.shape(gradient)
        area = (0, queries, 0, keys)
        distance = self.whole(slopes).distance(*area)  # (1, T, S), or by rows
        distance = ops.cast(distance, gradient.dtype)
        return -ops.sum(gradient * distance, axis=(0, 2, 3))

    def zeros(self, grid: Grid, slopes: Any, dtype: Any) -> Any:
        """Returns the sum of no block, (N,)."""
        return ops.zeros(slopes.shape, dtype)

    def add(
        self, grid: Grid, slopes: Any, sums: Any, place: Place, gradient: Any
    ) -> Any:
        """Adds the gradient (P, N, I, J) of the block of each tile."""
        bias = self.whole(slopes)

        def distance_of(row, query_block, key_block):
            area = grid.area(query_block, key_block)
            return _of_one_row(bias.distance(*area, row=row))[0]  # (I, J)

        indices = place.row, place.query_block, place.key_block
        distance = grid.for_each(distance_of, *indices)  # (P, I, J)
        distance = ops.cast(distance, gradient.dtype)[:, None]
        return sums - ops.sum(gradient * distance, axis=(0, 2, 3))

    def join(self, grid: Grid, slopes: Any, sums: Any) -> Any:
        """Returns the gradient of the slopes, (N,)."""
        return sums


@dataclasses.dataclass(frozen=True, eq=False)
class QueryDistanceBlocks:
    """The values of a `QueryDistanceBias`: summed for each query."""

    zero: Any
    tensor_fields = ("zero",)

    def block(self, values: Any, area: tuple, row: Any) -> Any:
        """Returns the bias of a block, (N, I, J)."""
        return _of_one_row(self.whole(values).block(*area, row=row))

    def whole(self, values: Any) -> QueryDistanceBias:
        """Returns the bias as an object of `distance_biases`."""
        return QueryDistanceBias(values, self.zero)

    def sum_whole(self, values: Any, gradient: Any) -> Any:
        """Returns the gradient of the values from that of all scores."""
        _, _, queries, keys = ops.shape(gradient)
        index = self.whole(values).index(0, queries, 0, keys)
        return _sum_to_distances(gradient, index, values.shape[3])

    def zeros(self, grid: Grid, values: Any, dtype: Any) -> Any:
        """Returns a buffer with the gradient of each tile's queries."""
        shape = (grid.num_heads, grid.query_block, values.shape[3])
        return grid.zeros(grid.num_tiles, shape, dtype)

    def add(
        self, grid: Grid, values: Any, sums: Any, place: Place, gradient: Any
    ) -> Any:
        """Adds the gradient (P, N, I, J) of the block of each tile."""
        bias = self.whole(values)

        def index_of(row, query_block, key_block):
            index = bias.index(*grid.area(query_block, key_block), row=row)
            return ops.reshape(index, (-1,))  # (I + J,)

        indices = place.row, place.query_block, place.key_block
        index = grid.for_each(index_of, *indices)  # (P, I + J)
        block = _sum_to_distances(gradient, index, values.shape[3])
        return buffers.add(sums, place.tile, block)

    def join(self, grid: Grid, values: Any, sums: Any) -> Any:
        """Returns the gradient of the values, (B, N, T, D)."""
        blocks, size = grid.query_blocks, grid.query_block
        shape = (grid.batch, blocks, *sums.shape[1:])
        sums = ops.transpose(ops.reshape(sums, shape), (0, 2, 1, 3, 4))
        shape = (grid.batch, grid.num_heads, blocks * size, sums.shape[4])
        return ops.reshape(sums, shape)[:, :, : grid.query_length]


def _of_one_row(block):
    """Returns (N, I, J) of a block of one row of the batch."""
    return block[0] if len(block.shape) == 4 else block


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


def _by_distance(blocks):
    """Returns (P, N, I, J) as (P, N, I, I + J - 1), the last query first.

    Each score stands where its distance key - query does, lowest first.
    """
    *leading, queries, keys = ops.shape(blocks)
    rows = ranges.maximum(queries, 1)  # an empty block has distances too
    surplus = ops.zeros((*leading, queries, rows), blocks.dtype)
    blocks = ops.concatenate([ops.flip(blocks, axis=2), surplus], axis=3)
    # Relative shift (Music Transformer): rows that are one shorter each move
    # one to the right.
    flat = ops.reshape(blocks, (*leading, queries * (keys + rows)))
    flat = flat[:, :, : queries * (keys + rows - 1)]
    return ops.reshape(flat, (*leading, queries, keys + rows - 1))


def _sum_to_distances(gradient, index, size):
    """Sums (P, N, I, J) to (P, N, I, D), with an index (P or 1, I + J)."""
    rows = ops.flip(_by_distance(gradient), axis=2)
    index = ops.reshape(index, (-1, ops.shape(index)[-1]))[:, :-1]
    # A product, not a scatter: of a few distances it is quicker everywhere.
    chosen = ops.one_hot(index, size, dtype=gradient.dtype)  # (P, I + J - 1, D)
    return ops.matmul(rows, chosen[:, None])  # (P, N, I, D)
