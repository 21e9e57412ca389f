"""One call of blockwise attention, and one tile of its score matrix.

Letters as in `tiles.py`.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_attention.functional import bias_blocks
from keras_attention.functional import biases
from keras_attention.functional import tiles


class Inputs(NamedTuple):
    """The tensors that have a gradient; None where there is none."""

    query: object
    key: object
    value: object
    bias: object = None
    sink: object = None
    vector: object = None


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What is asked, without the tensors that have a gradient.

    Args:
        block_sizes: (queries, keys) of a block.
        kernel: scores of a block, and their gradients.
        mask: a `Mask` or None.
        bias: None or the bias, whose own tensor is replaced by the input.
        logit_soft_cap: number or None.
        dropout: a `Dropout` or None.
    """

    block_sizes: tuple
    kernel: object
    mask: object
    bias: object
    logit_soft_cap: object
    dropout: object

    def layout(self, inputs):
        """Returns the `Tiles` that the score matrices are cut into."""
        batch, query_length = ops.shape(inputs.query)[:2]
        return tiles.Tiles.of(
            batch, query_length, ops.shape(inputs.key)[1], *self.block_sizes
        )

    def cut(self, inputs, layout):
        """Returns the inputs in blocks, and the bias as an object again."""
        bias, vector = None, inputs.vector
        if inputs.bias is not None:
            bias = bias_blocks.restore(self.bias, inputs.bias)
        if vector is not None:
            vector = tiles.at_least_float32(vector)
        return inputs._replace(
            query=tiles.cut(inputs.query, layout.query_block),
            key=tiles.cut(inputs.key, layout.key_block),
            value=tiles.cut(inputs.value, layout.key_block),
            bias=bias,
            vector=vector,
        )

    def sink(self, inputs, dtype):
        """Returns the sink of each head, (N, 1, 1), as a score."""
        return ops.reshape(ops.cast(inputs.sink, dtype), (-1, 1, 1))

    def tile(self, layout, blocks, index):
        """Returns one tile of the score matrix."""
        row, block = layout.place(index)
        mask = None if self.mask is None else self.mask.row(row)
        return Tile(self, layout, blocks, index, row, block, mask)


@dataclasses.dataclass(frozen=True, eq=False)
class Tile:
    """One block of queries of one row of the batch."""

    problem: Problem
    layout: tiles.Tiles
    blocks: Inputs
    index: object
    row: object
    block: object
    mask: object

    def key_range(self):
        return self.layout.key_range(self.mask, self.block)

    def query(self):
        return tiles.take(self.blocks.query, self.index)  # (N, I, H)

    def key_index(self, key_block):
        return self.row * self.layout.key_blocks + key_block

    def key(self, key_block):
        return tiles.take(self.blocks.key, self.key_index(key_block))

    def value(self, key_block):
        return tiles.take(self.blocks.value, self.key_index(key_block))

    def scores(self, query, key, key_block):
        """Returns the scores, and those before the bias, both (N, I, J).

        What is hidden is minus infinity in the first.
        """
        raw = self.problem.kernel.scores(query, key, self.blocks.vector)
        capped = biases.soft_cap(raw, self.problem.logit_soft_cap)
        scores = capped
        if self.blocks.bias is not None:
            bias = self.blocks.bias.block(self._area(key_block), self.row)
            scores = scores + ops.cast(bias, scores.dtype)
        return self._hide(scores, key_block), capped

    def drop(self, weights, key_block):
        """Returns the weights after dropout."""
        dropout = self.problem.dropout
        if dropout is None:
            return weights
        query_start, _, key_start, _ = self._area(key_block)
        starts = (self.row, 0, query_start, key_start)
        return dropout.apply(weights[None], starts)[0]

    def _hide(self, scores, key_block):
        layout = self.layout
        if layout.always_visible(self.mask):
            return scores
        area = _, _, start, size = self._area(key_block)
        first, last = layout.visible_range(self.mask, self.block)
        is_visible = ops.logical_and(start >= first, start + size <= last)

        def hidden():
            key = start + ops.arange(size, dtype="int32")
            visible = key < layout.key_length  # (J,)
            if self.mask is not None:
                mask = self.mask.block(*area)
                mask = mask[0] if len(mask.shape) == 4 else mask
                visible = ops.logical_and(mask, visible)
            lowest = ops.convert_to_tensor(-np.inf, dtype=scores.dtype)
            return ops.where(visible, scores, lowest)

        return ops.cond(is_visible, lambda: scores, hidden)

    def _area(self, key_block):
        layout = self.layout
        return (
            self.block * layout.query_block,
            layout.query_block,
            key_block * layout.key_block,
            layout.key_block,
        )
