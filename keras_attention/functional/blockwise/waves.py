"""Tiles in waves: those of one wave are under way at once.

All tiles at once wait for the one that sees most keys: with a causal mask, for
the last of each row, so that the mask saves nothing. A wave is neighbouring
blocks of queries, of all rows of the batch, and waits for its own: n waves
visit (n + 1) / 2n of what all at once would. Scores of one step stand in
memory, so that waves bound these, too.

Letters as in `grid.py`.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention.masks import ranges


@dataclasses.dataclass(frozen=True, eq=False)
class Waves:
    """How tiles are dealt to waves.

    Args:
        batch: rows of the batch.
        query_blocks: blocks of queries of each.
        smallest: how many blocks of queries all rows together have in a wave,
            at least, where they have as many.
    """

    batch: Any
    query_blocks: Any
    smallest: int

    @property
    def count(self) -> Any:
        blocks = -(-self.smallest // ranges.maximum(self.batch, 1))
        return -(-self.query_blocks // blocks)

    @property
    def blocks(self) -> Any:
        """Returns how many blocks of queries of a row are in a wave."""
        return -(-self.query_blocks // self.count)

    def tiles(self) -> tuple[Any, Any]:
        """Returns the tiles, and which stand in for none: (waves, P) both.

        The last wave may have more places than there are blocks left. There
        its last block stands again.
        """
        shape = (self.count, 1, self.blocks)
        block = ops.arange(self.count * self.blocks, dtype="int32")
        block = ops.reshape(block, shape)
        row = ops.arange(self.batch, dtype="int32")[None, :, None]
        last = self.query_blocks - 1
        tile = row * self.query_blocks + ops.minimum(block, last)
        is_spare = ops.broadcast_to(block > last, ops.shape(tile))
        shape = (self.count, self.batch * self.blocks)
        return ops.reshape(tile, shape), ops.reshape(is_spare, shape)

    def join(self, results: Any) -> Any:
        """Returns (tiles, K, R, X) of the results of waves."""
        rest = results.shape[2:]
        shape = (self.count, self.batch, self.blocks, *rest)
        results = ops.transpose(ops.reshape(results, shape), (1, 0, 2, 3, 4, 5))
        shape = (self.batch, self.count * self.blocks, *rest)
        results = ops.reshape(results, shape)[:, : self.query_blocks]
        return ops.reshape(results, (-1, *rest))
