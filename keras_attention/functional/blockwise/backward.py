"""The gradients of blockwise attention: each block of weights, once more.

With D[t] = sum over s of weight[t, s] * dweight[t, s], which is the sum over
the output of output * doutput (Dao et al. 2022, appendix B.2):

    dscore[t, s] = weight[t, s] * (dweight[t, s] - D[t])

Letters as in `grid.py`.
"""

from typing import Any

from keras import ops

from keras_attention.functional import compiling
from keras_attention.functional.blockwise import buffers
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.blockwise.grid import Place
from keras_attention.functional.blockwise.scores import block_scores
from keras_attention.functional.blockwise.scores import drop
from keras_attention.functional.precision import at_least_float32


def backward(
    inputs: Inputs,
    grid: Grid,
    output: Any,
    statistics: Any,
    output_gradient: Any,
) -> Inputs:
    """Returns the gradients of `inputs`, as `Inputs`.

    Args:
        inputs: the `Inputs` of the forward pass.
        grid: its `Grid`.
        output: what came out, (B, T, N, V).
        statistics: row maximum and row sum, (tiles, K, R, 2).
        output_gradient: (B, T, N, V).
    """
    query = grid.cut_queries(inputs.query)  # (tiles, K, R, H)
    key, value = map(grid.cut_keys, (inputs.key, inputs.value))
    dot = ops.sum(output_gradient * output, axis=-1, keepdims=True)
    dot = grid.cut_queries(dot)  # D, (tiles, K, R, 1)
    # The gradient of an output in half precision, so exact as such.
    upstream = grid.products.rounded(output_gradient)
    upstream = grid.cut_queries(upstream)  # (tiles, K, R, V)

    def visit_tile(place: Place, sums):
        tile = [
            grid.take_queries(blocks, place)  # (P, K, R, ...)
            for blocks in (query, upstream, statistics, dot)
        ]

        def visit(place, query_gradient, sums):
            keys = grid.take_keys(key, place)  # (P, K, J, H)
            values = grid.take_keys(value, place)  # (P, K, J, V)
            block = _block_gradients(grid, inputs, *tile, keys, values, place)
            query_gradient = query_gradient + block.query
            return query_gradient, _add(grid, inputs, sums, block, place)

        state = at_least_float32(ops.zeros_like(tile[0])), sums
        query_gradient, sums = grid.visit_keys(visit, place, state)
        return (query_gradient,), sums

    sums = {
        "key": grid.zeros(ops.shape(key)[0], key.shape[1:], dot.dtype),
        "value": grid.zeros(ops.shape(value)[0], value.shape[1:], dot.dtype),
    }
    if grid.bias is not None:
        sums["bias"] = grid.bias.zeros(grid, inputs.bias, dot.dtype)
    if inputs.vector is not None:
        sums["vector"] = ops.zeros(inputs.vector.shape, dtype=dot.dtype)
    (query_gradient,), sums = grid.visit_tiles(
        visit_tile, query.shape[3:], dot.dtype, sums
    )
    return Inputs(
        query=grid.join_queries(query_gradient),
        key=grid.join_keys(buffers.stack(sums["key"])),
        value=grid.join_keys(buffers.stack(sums["value"])),
        bias=_bias_gradient(grid, inputs, sums),
        sink=_sink_gradient(grid, inputs, statistics, dot),
        vector=sums.get("vector"),
    )


def _block_gradients(
    grid, inputs, query, upstream, statistics, dot, key, value, place
):
    """Returns the gradients of one block; that of the scores as `bias`."""
    scores, capped = block_scores(grid, inputs, query, key, place)
    multiply = grid.products.multiply
    weights_gradient = multiply(upstream, value, transpose_right=True)
    weights_gradient = drop(grid, weights_gradient, place)  # (P, K, R, J)
    weights, scores_gradient = _softmax_gradient(
        scores, statistics, weights_gradient, dot
    )
    raw_gradient, cap = scores_gradient, grid.logit_soft_cap
    if cap is not None:
        raw_gradient = raw_gradient * (1.0 - ops.square(capped / cap))
    query, key, vector = grid.kernel.gradients(
        query, key, inputs.vector, raw_gradient
    )
    dropped = drop(grid, weights, place)
    value = multiply(dropped, upstream, transpose_left=True)  # (P, K, J, V)
    return Inputs(query, key, value, bias=scores_gradient, vector=vector)


@compiling.separately_compiled
def _softmax_gradient(scores, statistics, weights_gradient, dot):
    """Returns the weights and the gradient of the scores, (P, K, R, J)."""
    maximum, total = ops.split(statistics, 2, axis=-1)  # (P, K, R, 1)
    weights = ops.exp(scores - maximum) * (1.0 / total)
    return weights, weights * (weights_gradient - dot)


def _add(grid, inputs, sums, block, place):
    index = grid.key_index(place)
    added = {
        "key": buffers.add(sums["key"], index, block.key),
        "value": buffers.add(sums["value"], index, block.value),
    }
    if "bias" in sums:
        gradient = grid.unfold(block.bias)  # (P, N, I, J)
        added["bias"] = grid.bias.add(
            grid, inputs.bias, sums["bias"], place, gradient
        )
    if "vector" in sums:
        added["vector"] = sums["vector"] + block.vector
    return added


def _bias_gradient(grid, inputs, sums):
    if inputs.bias is None:
        return None
    return grid.bias.join(grid, inputs.bias, buffers.stack(sums["bias"]))


def _sink_gradient(grid, inputs, statistics, dot):
    """The sink has a weight like a key, and no value: dweight = 0."""
    if inputs.sink is None:
        return None
    maximum, total = ops.split(statistics, 2, axis=-1)  # (tiles, K, R, 1)
    sink = grid.per_row(ops.cast(inputs.sink, dot.dtype))
    weight = ops.exp(sink - maximum) / total
    return -ops.sum(grid.unfold(weight * dot), axis=(0, 2, 3))  # (N,)
