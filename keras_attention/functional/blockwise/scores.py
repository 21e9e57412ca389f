"""What is done to the scores and weights of a block, on every visit.

Letters as in `grid.py`.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_attention.functional import biases
from keras_attention.functional.blockwise.grid import TILES
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.blockwise.grid import Place
from keras_attention.masks import ranges


def block_scores(
    grid: Grid, inputs: Inputs, query: Any, key: Any, place: Place
) -> tuple[Any, Any]:
    """Returns the scores, and those before the bias, both (P, K, R, J).

    What is hidden is minus infinity in the first.
    """
    raw = grid.kernel.scores(query, key, inputs.vector)  # (P, K, R, J)
    capped = biases.soft_cap(raw, grid.logit_soft_cap)
    scores = capped
    if grid.bias is not None:

        def bias_of(row, query_block, key_block):
            area = grid.area(query_block, key_block)
            block = grid.bias.block(inputs.bias, area, row)
            return ops.cast(block, raw.dtype)  # (1 or N, 1 or I, 1 or J)

        indices = place.row, place.query_block, place.key_block
        scores = scores + grid.fold(grid.for_each(bias_of, *indices))
    return _hide(grid, scores, place), capped


def drop(grid: Grid, weights: Any, place: Place) -> Any:
    """Returns the weights (P, K, R, J) after dropout."""
    if grid.dropout is None:
        return weights
    row, query_start, key_start = (
        ops.reshape(number, (-1, 1, 1, 1))
        for number in (
            place.row,
            place.query_block * grid.query_block,
            place.key_block * grid.key_block,
        )
    )
    heads = ops.reshape(
        ops.arange(grid.num_heads, dtype="int32"), (1, -1, 1, 1)
    )
    heads = ops.broadcast_to(heads, (1, grid.num_heads, grid.query_block, 1))
    query = ops.arange(grid.query_block, dtype="int32")
    query = ops.broadcast_to(query[:, None], heads.shape)
    query = query_start + grid.fold(query)  # (P, K, R, 1)
    key = key_start + ops.arange(grid.key_block, dtype="int32")  # (P, 1, 1, J)
    return grid.dropout.apply_at(weights, row, grid.fold(heads), query, key)


def _hide(grid, scores, place):
    is_whole = grid.mask is None and place.is_spare is None
    if is_whole and _fits(grid):
        return scores

    def hidden():
        visible = grid.fold(_visible(grid, place))
        lowest = ops.convert_to_tensor(-np.inf, dtype=scores.dtype)
        return ops.where(visible, scores, lowest)

    if grid.schedule != TILES:
        return hidden()
    first, last = 0, grid.key_length
    if grid.mask is not None:
        area = (*grid.queries(place.query_block), last)
        first, last = grid.mask.row(place.row).visible_range(*area)
        last = ranges.minimum(last, grid.key_length)
    start = place.key_block * grid.key_block
    is_inside = ops.logical_and(start >= first, start + grid.key_block <= last)
    return ops.cond(is_inside, lambda: scores, hidden)


def _fits(grid):
    """True if it is known beforehand that no block has padding."""
    length = grid.key_length
    return isinstance(length, int) and length % grid.key_block == 0


def _visible(grid, place):
    """Returns what the mask lets through, (P, 1 or N, 1 or I, J)."""

    def of_one(row, query_block, key_block):
        area = grid.area(query_block, key_block)
        key = area[2] + ops.arange(grid.key_block, dtype="int32")
        visible = (key < grid.key_length)[None, None]  # (1, 1, J)
        if grid.mask is None:
            return visible
        mask = grid.mask.row(row).block(*area)
        mask = mask[0] if len(mask.shape) == 4 else mask[None]
        return ops.logical_and(mask, visible)

    indices = place.row, place.query_block, place.key_block
    visible = grid.for_each(of_one, *indices)
    if place.is_done is None:
        return visible
    is_visited = ops.logical_not(place.is_done)
    return ops.logical_and(visible, is_visited[:, None, None, None])
