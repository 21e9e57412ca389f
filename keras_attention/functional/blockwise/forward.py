"""The output of attention, by blocks of keys.

Each tile keeps the running maximum, sum and output of its softmax (Milakov
and Gimelshein 2018, arXiv 1805.02867; Rabe and Staats 2021, 2112.05682; Dao et
al. 2022, 2205.14135, algorithm 1). Letters as in `grid.py`.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_attention.functional import compiling
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.blockwise.grid import Place
from keras_attention.functional.blockwise.scores import block_scores
from keras_attention.functional.blockwise.scores import drop
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.precision import dtype_of_sums


def forward(inputs: Inputs, grid: Grid) -> tuple[Any, Any]:
    """Returns the output (B, T, N, V), and the softmax statistics.

    Those are the row maximum and the row sum of exp(score - maximum), side by
    side in (tiles, K, R, 2). Their logsumexp, maximum + log(sum), would lose
    the logarithm to rounding where scores are huge, as those of keys whose
    bias is the lowest float32.
    """
    query = grid.cut_queries(inputs.query)  # (tiles, K, R, H)
    key, value = map(grid.cut_keys, (inputs.key, inputs.value))
    value_dim = value.shape[3]

    def visit_tile(place: Place, sums):
        queries = grid.take_queries(query, place)  # (P, K, R, H)

        def visit(place, maximum, total, output):
            keys = grid.take_keys(key, place)  # (P, K, J, H)
            values = grid.take_keys(value, place)  # (P, K, J, V)
            scores, _ = block_scores(grid, inputs, queries, keys, place)
            powers, maximum, total, shrink = add_to_sum(scores, maximum, total)
            dropped = drop(grid, powers, place)  # (P, K, R, J)
            output = output * shrink + grid.products.multiply(dropped, values)
            return maximum, total, output

        state = _start(grid, inputs, queries, value_dim)
        maximum, total, output = grid.visit_keys(visit, place, state)
        # A query that saw nothing has a sum of zero, and an output of zero.
        total = ops.where(total > 0, total, ops.ones_like(total))
        statistics = ops.concatenate([maximum, total], axis=-1)
        return (output / total, statistics), sums

    (output, statistics), _ = grid.visit_tiles(
        visit_tile, (value_dim, 2), dtype_of_sums(query), {}
    )
    return grid.join_queries(output), statistics


def _start(grid, inputs, queries, value_dim):
    """Returns the row maximum, row sum and output before the first key."""
    zeros = at_least_float32(ops.zeros_like(queries[..., :1]))  # (P, K, R, 1)
    output = ops.zeros((*ops.shape(zeros)[:3], value_dim), dtype=zeros.dtype)
    # Finite, so that hidden scores, minus infinity, are zero weights even
    # where nothing was visible yet.
    lowest = ops.cast(np.finfo(ops.dtype(zeros)).min, zeros.dtype)
    if inputs.sink is None:
        return zeros + lowest, zeros, output
    # The sink joins as a key would whose value is zero.
    sink = zeros + grid.per_row(ops.cast(inputs.sink, zeros.dtype))
    maximum = ops.maximum(sink, lowest)
    return maximum, ops.exp(sink - maximum), output


# Outside XLA the exponential and the two reductions are three slow passes.
@compiling.separately_compiled
def add_to_sum(scores, maximum, total):
    """Adds a block of scores to the running sum, all relative to its maximum.

    Returns:
        exp(scores - maximum), the new maximum and sum of the rows, and the
        factor for what was summed before.
    """
    highest = ops.max(scores, axis=-1, keepdims=True)  # (P, K, R, 1)
    new_maximum = ops.maximum(maximum, highest)
    powers = ops.exp(scores - new_maximum)  # (P, K, R, J)
    shrink = ops.exp(maximum - new_maximum)  # (P, K, R, 1)
    total = total * shrink + ops.sum(powers, axis=-1, keepdims=True)
    return powers, new_maximum, total, shrink
