"""How queries and keys are cut into blocks, and which blocks meet.

Letters: B batch, T query length, S key length, N heads, K key/value heads,
H width of a head; I and J the sizes of a block of queries and of keys.
"""

import dataclasses

from keras import ops

from keras_attention.masks import ranges

# (query, key) pairs of a row of the batch, where compiling takes about as long
# as it saves in a few calls.
PAIRS_TO_COMPILE = 1024 * 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Tiles:
    """A batch of score matrices, cut into tiles.

    A tile is one row of the batch and one block of queries; the blocks of
    keys it sees are visited one after the other. Lengths may be tensors, the
    sizes of the blocks are integers.
    """

    batch: object
    query_length: object
    key_length: object
    query_block: int
    key_block: int

    @classmethod
    def of(cls, batch, query_length, key_length, query_block, key_block):
        """Returns the tiles of sequences, none longer than these."""
        return cls(
            batch,
            query_length,
            key_length,
            _at_most(query_block, query_length),
            _at_most(key_block, key_length),
        )

    @property
    def is_long(self):
        """Whether a program of its own repays the time to compile it."""
        lengths = self.query_length, self.key_length
        known = all(isinstance(length, int) for length in lengths)
        return known and lengths[0] * lengths[1] >= PAIRS_TO_COMPILE

    @property
    def query_blocks(self):
        return num_blocks(self.query_length, self.query_block)

    @property
    def key_blocks(self):
        return num_blocks(self.key_length, self.key_block)

    @property
    def count(self):
        return self.batch * self.query_blocks

    def place(self, tile):
        """Returns the row of the batch and the block of queries of a tile."""
        return tile // self.query_blocks, tile % self.query_blocks

    def key_range(self, mask, block):
        """Returns the blocks of keys, (first, last), to visit.

        Args:
            mask: mask of one row of the batch, or None.
            block: the block of queries.
        """
        first, last = 0, self.key_length
        if mask is not None:
            first, last = mask.key_range(*self._queries(block), last)
        first = ranges.maximum(first, 0) // self.key_block
        last = ranges.minimum(last, self.key_length)
        last = -(-last // self.key_block)
        return ops.cast(first, "int32"), ops.cast(last, "int32")

    def visible_range(self, mask, block):
        """Returns the keys, (first, last), that need no mask."""
        if mask is None:
            return 0, self.key_length
        first, last = mask.visible_range(*self._queries(block), self.key_length)
        return first, ranges.minimum(last, self.key_length)

    def _queries(self, block):
        start = block * self.query_block
        end = ranges.minimum(start + self.query_block, self.query_length)
        return start, end

    def always_visible(self, mask):
        """True if it is known beforehand that no block needs a mask."""
        return (
            mask is None
            and isinstance(self.key_length, int)
            and self.key_length % self.key_block == 0
        )


def num_blocks(length, size):
    """Returns how many blocks hold a sequence: one, if it is empty."""
    return ranges.maximum(-(-length // size), 1)


def cut(tensor, size):
    """Cuts (B, L, N, H) into blocks: (B * blocks, N, size, H), zero-padded."""
    batch, length, heads, width = ops.shape(tensor)
    blocks = num_blocks(length, size)
    tensor = _pad(tensor, blocks * size - length)
    tensor = ops.reshape(tensor, (batch, blocks, size, heads, width))
    tensor = ops.transpose(tensor, (0, 1, 3, 2, 4))
    return ops.reshape(tensor, (batch * blocks, heads, size, width))


def join(blocks, batch, length):
    """Joins (B * blocks, N, size, H) into (B, L, N, H); `cut` backwards."""
    _, heads, size, width = blocks.shape
    count = num_blocks(length, size)
    blocks = ops.reshape(blocks, (batch, count, heads, size, width))
    blocks = ops.transpose(blocks, (0, 1, 3, 2, 4))
    joined = ops.reshape(blocks, (batch, count * size, heads, width))
    return joined[:, :length]


def take(blocks, index):
    """Returns one block, in at least float32."""
    starts = (index,) + (0,) * (len(blocks.shape) - 1)
    block = ops.slice(blocks, starts, (1, *blocks.shape[1:]))
    return at_least_float32(ops.squeeze(block, axis=0))


def at_least_float32(tensor):
    """Casts half precision to float32, and leaves everything else."""
    if ops.dtype(tensor) in ("float16", "bfloat16"):
        return ops.cast(tensor, "float32")
    return tensor


def _at_most(size, length):
    return min(size, length) if isinstance(length, int) else size


def _pad(tensor, surplus):
    if isinstance(surplus, int) and surplus == 0:
        return tensor
    batch, _, heads, width = ops.shape(tensor)
    zeros = ops.zeros((batch, surplus, heads, width), dtype=tensor.dtype)
    return ops.concatenate([tensor, zeros], axis=1)
