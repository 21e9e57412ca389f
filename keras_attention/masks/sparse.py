"""Masks for long sequences: few keys for most queries, in several places."""

import dataclasses
import functools
from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.masks import ranges
from keras_attention.masks.base import Mask
from keras_attention.masks.integers import as_integers
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Range
from keras_attention.masks.ranges import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalTokens(Mask):
    """The first tokens see all keys, and all queries see them.

    Beside a window, the pattern of Longformer (Beltagy et al. 2020, arXiv
    2004.05150, 3.1): `SlidingWindow(256, 256) | GlobalTokens(8)`. Blockwise
    attention then visits, for most queries, the blocks of the window and of
    the global tokens, and skips what lies between; a block with a global
    query visits all keys. (Longformer's second set of projections for global
    tokens is no matter of a mask.)

    Args:
        count: number of global tokens, an integer, scalar tensor or tensor
            of shape (batch,).
        offset: as in `Causal`: position of the first query among the keys.

    Raises:
        ValueError: if `count` is no such number, or below 0 where that can
            be seen, or `offset` is no integer.

    Example:

    >>> from keras_attention import masks
    >>> masks.GlobalTokens(1).dense(3, 4).numpy()
    array([[ True,  True,  True,  True],
           [ True, False, False, False],
           [ True, False, False, False]])
    """

    count: Integer | Tensor
    offset: Integer | Tensor = 0
    tensor_fields = ("count", "offset")  # see functional/compiling.py

    def __post_init__(self):
        object.__setattr__(self, "count", _checked_count(self.count))
        offset = as_integers("offset", self.offset)
        object.__setattr__(self, "offset", offset)

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return (
            *ranges.row_shapes("count", self.count),
            *ranges.row_shapes("offset", self.offset),
        )

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        query, key = ranges.positions(
            query_start, query_length, key_start, key_length
        )
        query = query + ranges.per_row(self.offset)
        count = ranges.per_row(self.count)
        return ops.logical_or(query < count, key < count)

    def row(self, index: Integer) -> "GlobalTokens":
        return GlobalTokens(
            ranges.row(self.count, index), ranges.row(self.offset, index)
        )

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        count = ranges.largest(self.count)
        first = query_start + ranges.smallest(self.offset)
        return 0, _if_less(first, count, key_length, count)

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        count = ranges.smallest(self.count)
        last = query_end - 1 + ranges.largest(self.offset)
        return 0, _if_less(last, count, key_length, count)


@dataclasses.dataclass(frozen=True, eq=False)
class RandomBlocks(Mask):
    """Each block of queries sees a few blocks of keys, drawn from a seed.

    Beside a window and global tokens, the pattern of BigBird (Zaheer et al.
    2020, arXiv 2007.14062, section 2):

        SlidingWindow(96, 96) | GlobalTokens(64)
        | RandomBlocks(num_blocks=3, block_size=64, length=4096)

    The blocks of keys are cut into `num_blocks` stretches, and one block is
    drawn from each, so that they differ. Blockwise attention skips the keys
    between them, but in blocks of its own, of some hundred positions: where
    one of its blocks of queries holds several of this mask, it visits, in
    each stretch, everything from the first to the last block that they drew.

    Args:
        num_blocks: how many blocks of keys a block of queries sees.
        block_size: number of positions of a block.
        length: number of keys that blocks are drawn from. Later queries see
            what those of the first `length` see, in turn.
        seed: integer seed.
        offset: as in `Causal`: position of the first query among the keys.

    Raises:
        ValueError: if there are fewer than `num_blocks` blocks, or a number is
            no integer.

    Example:

    >>> import numpy as np
    >>> from keras_attention import masks
    >>> mask = masks.RandomBlocks(num_blocks=2, block_size=2, length=8)
    >>> np.sum(mask.dense(8, 8), axis=1).tolist()
    [4, 4, 4, 4, 4, 4, 4, 4]
    """

    num_blocks: int
    block_size: int
    length: int
    seed: int = 0
    offset: Integer | Tensor = 0
    tensor_fields = ("offset",)  # see functional/compiling.py

    def __post_init__(self):
        for name in ("num_blocks", "block_size", "length"):
            size = validation.check_positive_integer(name, getattr(self, name))
            object.__setattr__(self, name, size)
        if not validation.is_integer(self.seed):
            raise validation.invalid("seed", "an integer", repr(self.seed))
        object.__setattr__(self, "seed", int(self.seed))
        offset = as_integers("offset", self.offset)
        object.__setattr__(self, "offset", offset)
        if self.num_blocks > self._total:
            raise validation.invalid(
                "num_blocks",
                f"at most the {self._total} blocks of block_size="
                f"{self.block_size} in length={self.length}",
                self.num_blocks,
            )

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        return ranges.row_shapes("offset", self.offset)

    @property
    def _total(self):
        return -(-self.length // self.block_size)

    @property
    def _drawn(self):
        return _drawn_blocks(self._total, self.num_blocks, self.seed)

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        query, key = ranges.positions(
            query_start, query_length, key_start, key_length
        )
        query = query + ranges.per_row(self.offset)  # (T, 1) or (B, 1, T, 1)
        row = query[..., 0] // self.block_size % self._total
        drawn = ops.take(self._drawn, row, axis=0)  # (..., T, num_blocks)
        key_block = key // self.block_size  # (1, S)
        visible = ops.equal(drawn[..., :1], key_block)
        for number in range(1, self.num_blocks):
            visible = ops.logical_or(
                visible, ops.equal(drawn[..., number, None], key_block)
            )
        return visible

    def row(self, index: Integer) -> "RandomBlocks":
        offset = ranges.row(self.offset, index)
        return dataclasses.replace(self, offset=offset)

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        parts = self.key_ranges(query_start, query_end, key_length)
        return parts[0][0], parts[-1][1]

    def key_ranges(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> tuple[Range, ...]:
        first = query_start + ranges.smallest(self.offset)
        last = query_end - 1 + ranges.largest(self.offset)
        first = first // self.block_size
        count = last // self.block_size - first
        # How far each row of blocks is behind the first of the queries.
        behind = (np.arange(self._total, dtype="int32") - first) % self._total
        asked = behind <= count  # (total,)
        parts = []
        for drawn in self._drawn.T:  # (total,)
            first = ops.min(ops.where(asked, drawn, self._total))
            last = ops.max(ops.where(asked, drawn, -1)) + 1
            parts.append((first * self.block_size, last * self.block_size))
        return tuple(parts)


def _checked_count(count):
    """Returns a number of tokens: an integer, or integers of the backend."""
    if isinstance(count, (np.ndarray, np.generic)) or not hasattr(
        count, "dtype"
    ):
        array = np.asarray(count)
        fits = array.ndim < 2 and np.issubdtype(array.dtype, np.integer)
        if not fits or (array < 0).any():
            raise _bad_count(count)
        return int(count) if array.ndim == 0 else array
    is_integer = "int" in keras.backend.standardize_dtype(count.dtype)
    if not is_integer or len(validation.shape_of(count)) > 1:
        raise _bad_count(count)
    return count


def _bad_count(count):
    return validation.invalid(
        "count", "a number of tokens >= 0, one or one per row (batch,)", count
    )


@functools.lru_cache(maxsize=64)
def _drawn_blocks(total, num_blocks, seed):
    """Returns the blocks of keys for each block of queries, in order."""
    edges = np.arange(num_blocks + 1) * total // num_blocks
    generator = np.random.default_rng(seed)
    drawn = generator.integers(edges[:-1], edges[1:], (total, num_blocks))
    return drawn.astype("int32")


def _if_less(number, other, value, otherwise):
    numbers = (number, other, value, otherwise)
    if all(isinstance(each, int) for each in numbers):
        return value if number < other else min(otherwise, value)
    otherwise = ranges.minimum(otherwise, value)
    return ops.where(ops.less(number, other), value, otherwise)
