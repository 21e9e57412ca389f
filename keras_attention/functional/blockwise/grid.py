"""How score matrices are cut into blocks, which are visited, in what order.

A tile is one row of the batch and one block of queries. It visits the blocks
of keys that the mask lets it see, one after the other. The schedule says how
many tiles are under way at once:

    TILES   one: what a processor's caches like. A tile stops where its mask
            says so, and applies the mask only where a block needs it.
    BATCH   a wave of many: few large steps, as an accelerator likes. Step d
            visits the d-th visible block of keys of every tile, so that a
            window and lengths cost what they let see; all wait for the tile of
            the wave that sees most (see `waves.py`).

Letters: B batch, T query length, S key length, N heads, K key/value heads,
G = N / K heads that share one, H key_dim, V value_dim; P tiles under way, I
queries and J keys of a block, R = G * I rows of queries that share a key head.
"""

import dataclasses
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from keras import ops

from keras_attention.functional.blockwise import buffers
from keras_attention.functional.blockwise import spans
from keras_attention.functional.blockwise.waves import Waves
from keras_attention.functional.kernels import PLAIN
from keras_attention.functional.precision import at_least_float32
from keras_attention.masks import ranges

TILES, BATCH = "tiles", "batch"


class Inputs(NamedTuple):
    """The tensors that have a gradient; None where there is none."""

    query: Any  # (B, T, N, H), scaled
    key: Any  # (B, S, K, H)
    value: Any  # (B, S, K, V)
    bias: Any = None
    sink: Any = None  # (N,)
    vector: Any = None  # of the score


class Place(NamedTuple):
    """Where tiles stand: integers of one tile, or of P tiles, (P,)."""

    tile: Any
    row: Any
    query_block: Any
    key_block: Any = None
    is_done: Any = None  # BATCH: the tile has seen all that it may
    is_spare: Any = None  # and where it stands in for none, in several waves


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """A batch of score matrices in blocks, and what is done to each score.

    Lengths and batch may be tensors; the sizes of blocks are integers.

    Args:
        batch, query_length, key_length, num_heads, key_heads: sizes.
        query_block, key_block: queries and keys of a block.
        schedule: TILES or BATCH.
        kernel: the products of the score, such as a `DotProductKernel`.
        products: `Products`, how values are multiplied.
        scores_per_step: how many a step of BATCH has at least.
        mask: a `Mask` or None.
        bias: a bias of blocks, whose own tensor stands among `Inputs`.
        logit_soft_cap: number or None.
        dropout: a `Dropout` or None.
    """

    batch: Any
    query_length: Any
    key_length: Any
    num_heads: int
    key_heads: int
    query_block: int
    key_block: int
    schedule: str
    kernel: Any
    products: Any = PLAIN
    scores_per_step: int = 1
    mask: Any = None
    bias: Any = None
    logit_soft_cap: float | None = None
    dropout: Any = None

    @classmethod
    def of(cls, inputs: Inputs, block_sizes: tuple, **rest: Any) -> "Grid":
        """Returns the grid of `inputs`, in blocks of at most these sizes."""
        batch, query_length = ops.shape(inputs.query)[:2]
        lengths = query_length, ops.shape(inputs.key)[1]
        blocks = (
            max(min(size, length), 1) if isinstance(length, int) else size
            for size, length in zip(block_sizes, lengths, strict=True)
        )
        heads = inputs.query.shape[2], inputs.key.shape[2]
        return cls(batch, *lengths, *heads, *blocks, **rest)

    @property
    def query_blocks(self) -> Any:
        return num_blocks(self.query_length, self.query_block)

    @property
    def key_blocks(self) -> Any:
        return num_blocks(self.key_length, self.key_block)

    @property
    def num_tiles(self) -> Any:
        return self.batch * self.query_blocks

    @property
    def group(self) -> int:
        return self.num_heads // self.key_heads

    def cut_queries(self, tensor: Any) -> Any:
        """Cuts (B, T, N, X) into (tiles, K, R, X), padded with zeros."""
        blocks = self.query_blocks
        tensor = _pad(tensor, blocks * self.query_block - self.query_length)
        heads, width = (self.key_heads, self.group), tensor.shape[3]
        shape = (self.batch, blocks, self.query_block, *heads, width)
        tensor = ops.transpose(ops.reshape(tensor, shape), (0, 1, 3, 4, 2, 5))
        rows = self.group * self.query_block
        return ops.reshape(tensor, (-1, self.key_heads, rows, width))

    def join_queries(self, blocks: Any) -> Any:
        """Joins (tiles, K, R, X) into (B, T, N, X); `cut_queries` backwards."""
        width = blocks.shape[3]
        shape = (self.batch, self.query_blocks, self.key_heads, self.group)
        blocks = ops.reshape(blocks, (*shape, self.query_block, width))
        blocks = ops.transpose(blocks, (0, 1, 4, 2, 3, 5))
        length = self.query_blocks * self.query_block
        shape = (self.batch, length, self.num_heads, width)
        return ops.reshape(blocks, shape)[:, : self.query_length]

    def cut_keys(self, tensor: Any) -> Any:
        """Cuts (B, S, K, X) into (B * blocks, K, J, X), padded with zeros."""
        blocks = self.key_blocks
        tensor = _pad(tensor, blocks * self.key_block - self.key_length)
        shape = (-1, self.key_block, *tensor.shape[2:])
        return ops.transpose(ops.reshape(tensor, shape), (0, 2, 1, 3))

    def join_keys(self, blocks: Any) -> Any:
        """Joins (B * blocks, K, J, X) into (B, S, K, X)."""
        length = self.key_blocks * self.key_block
        shape = (self.batch, length, self.key_heads, blocks.shape[3])
        joined = ops.reshape(ops.transpose(blocks, (0, 2, 1, 3)), shape)
        return joined[:, : self.key_length]

    def take(self, blocks: Any, index: Any) -> Any:
        """Returns the block of each tile, (P, ...), as it is multiplied."""
        if self.schedule == BATCH:
            return self._read(ops.take(blocks, index, axis=0))
        # Not a slice, whose start XLA takes for a part of the program: it would
        # compile one for each mask that the start follows from.
        return self._read(ops.take(blocks, index, axis=0)[None])

    def take_queries(self, blocks: Any, place: Place) -> Any:
        """Returns the block of queries of each tile, (P, K, R, X)."""
        if self.schedule == BATCH:
            if place.is_spare is None:
                return self._read(blocks)  # all of them are under way
        return self.take(blocks, place.tile)

    def take_keys(self, blocks: Any, place: Place) -> Any:
        """Returns the block of keys that each tile visits, (P, K, J, X)."""
        return self.take(blocks, self.key_index(place))

    def _read(self, block):
        return at_least_float32(block) if self.products.half is None else block

    def key_index(self, place: Place) -> Any:
        """Returns which of the blocks of `cut_keys` each tile visits."""
        return place.row * self.key_blocks + place.key_block

    def fold(self, block: Any) -> Any:
        """Folds (P, 1 or N, 1 or I, X) so that it broadcasts to (P, K, R, X).

        Query heads that share a key head lie one below the other.
        """
        _, heads, queries, width = block.shape
        if self.group == 1 or (heads == 1 and queries == 1):
            return block
        if heads == 1:
            return ops.tile(block, (1, 1, self.group, 1))
        if queries == 1:
            block = ops.repeat(block, self.query_block, axis=2)
        rows = self.group * self.query_block
        return ops.reshape(block, (-1, self.key_heads, rows, width))

    def unfold(self, block: Any) -> Any:
        """Returns (P, N, I, X) from (P, K, R, X)."""
        shape = (-1, self.num_heads, self.query_block, block.shape[3])
        return ops.reshape(block, shape) if self.group > 1 else block

    def per_row(self, sink: Any) -> Any:
        """Returns a number per head, (N,), as (1, K, R or 1, 1)."""
        return self.fold(ops.reshape(sink, (1, -1, 1, 1)))

    def visit_tiles(
        self, visit: Callable, widths: tuple, dtype: Any, sums: dict
    ) -> tuple[tuple, dict]:
        """Calls `visit(place, sums)` until each tile was visited.

        Args:
            visit: returns a tuple of results, each (P, K, R, X), and `sums`
                with what the tiles add to it.
            widths: X of each result.
            dtype: of the results.
            sums: nest of tensors and buffers.

        Returns:
            The results of all tiles, each (tiles, K, R, X), and `sums`.
        """
        if self.schedule == TILES:
            return self._visit_each(
                lambda tile, sums: visit(self._place(tile), sums),
                (self.num_tiles,),
                *(widths, dtype, sums),
            )
        waves = self._waves()
        if isinstance(waves.count, int) and waves.count == 1:
            return visit(self._place(ops.arange(self.num_tiles)), sums)
        tiles, are_spare = waves.tiles()  # (waves, P)

        def visit_wave(number, sums):
            place = self._place(ops.take(tiles, number, axis=0))
            is_spare = ops.take(are_spare, number, axis=0)
            found, sums = visit(place._replace(is_spare=is_spare), sums)
            return [x[None] for x in found], sums

        results, sums = self._visit_each(
            visit_wave, ops.shape(tiles), widths, dtype, sums
        )
        return tuple(map(waves.join, results)), sums

    def _visit_each(self, visit, counts, widths, dtype, sums):
        """Calls `visit(number, sums)` in a loop; returns its results."""
        rows = self.group * self.query_block
        count, *parts = counts
        results = tuple(
            buffers.zeros(
                count, (*parts, self.key_heads, rows, width), dtype, True
            )
            for width in widths
        )

        def visit_next(number, results, sums):
            found, sums = visit(number, sums)
            pairs = zip(results, found, strict=True)
            results = tuple(buffers.write(a, number, b[0]) for a, b in pairs)
            return number + 1, results, sums

        _, results, sums = ops.while_loop(
            lambda number, *_: number < count, visit_next, (0, results, sums)
        )
        return tuple(map(buffers.stack, results)), sums

    def _waves(self):
        of_block = self.num_heads * self.query_block * self.key_block
        smallest = -(-self.scores_per_step // of_block)
        return Waves(self.batch, self.query_blocks, smallest)

    def visit_keys(self, visit: Callable, place: Place, state: tuple) -> list:
        """Calls `state = visit(place, *state)` for each block of keys seen."""
        first, counts = spans.visible(self, place)
        if place.is_spare is not None:
            counts = ops.where(place.is_spare[:, None], 0, counts)
        count = ops.sum(counts, axis=-1)

        def visit_next(step, *state):
            if self.schedule == TILES:
                block = spans.block_at(step, first, counts)
                visited = place._replace(key_block=block)
            else:
                # Neighbours begin a block apart: fewer of them add to the
                # gradient of the same keys at a time.
                turn = (step + place.query_block) % ops.maximum(count, 1)
                block = spans.block_at(turn[:, None], first, counts)
                visited = place._replace(
                    key_block=ops.minimum(block, self.key_blocks - 1),
                    is_done=step >= count,
                )
            return step + 1, *visit(visited, *state)

        steps = ops.max(count, initial=0)  # there may be no tile
        _, *state = ops.while_loop(
            lambda step, *_: step < steps, visit_next, (0, *state)
        )
        return state

    def for_each(self, function: Callable, *indices: Any) -> Any:
        """Returns `function` of the indices of each tile, stacked: (P, ...)."""
        if self.schedule == TILES:
            return function(*indices)[None]
        return ops.vectorized_map(lambda each: function(*each), indices)

    def zeros(self, count: Any, shape: tuple, dtype: Any) -> Any:
        """Returns a buffer of `count` blocks of zeros, to be added to."""
        return buffers.zeros(count, shape, dtype, self.schedule == TILES)

    def queries(self, query_block: Any) -> ranges.Range:
        """Returns the (first, last) query of a block."""
        start = query_block * self.query_block
        end = ranges.minimum(start + self.query_block, self.query_length)
        return start, end

    def area(self, query_block: Any, key_block: Any) -> tuple:
        """Returns first query, how many, first key, how many of a block."""
        rows, columns = self.query_block, self.key_block
        return query_block * rows, rows, key_block * columns, columns

    def _place(self, tile) -> Place:
        return Place(tile, tile // self.query_blocks, tile % self.query_blocks)


def num_blocks(length: Any, size: int) -> Any:
    """Returns how many blocks hold a sequence: one, if it is empty."""
    return ranges.maximum(-(-length // size), 1)


def _pad(tensor, surplus):
    if isinstance(surplus, int) and surplus == 0:
        return tensor
    batch, _, heads, width = ops.shape(tensor)
    zeros = ops.zeros((batch, surplus, heads, width), dtype=tensor.dtype)
    return ops.concatenate([tensor, zeros], axis=1)
