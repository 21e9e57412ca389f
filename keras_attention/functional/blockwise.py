"""Exact attention that never builds the score matrix.

Each tile, a block of queries of one row of the batch, visits the blocks of
keys that its mask allows and keeps the running maximum, sum and output of the
softmax (Milakov and Gimelshein 2018; Dao et al. 2022, algorithm 1). Backward,
the same visits compute each block of weights again from the maximum and the
sum, so that memory grows with the lengths and not with their product.

Letters as in `tiles.py`, V value_dim.
"""

import numpy as np
from keras import ops

from keras_attention.functional import bias_blocks
from keras_attention.functional import buffers
from keras_attention.functional import compiling
from keras_attention.functional import kernels
from keras_attention.functional import tiles
from keras_attention.functional.by_hand import differentiable_once
from keras_attention.functional.gradients import backward
from keras_attention.functional.problem import Inputs
from keras_attention.functional.problem import Problem

# (queries, keys) of a block. Measured; see benchmarks/attention.py.
BLOCK_SIZES = (256, 256)
SECOND_DERIVATIVE = (
    "`implementation` must be 'dense' where second derivatives are taken. "
    "Received: implementation='blockwise', or 'auto' that chose it."
)


def attend_blockwise(
    query,
    key,
    value,
    score,
    mask=None,
    bias=None,
    logit_soft_cap=None,
    sink=None,
    dropout=None,
    block_sizes=BLOCK_SIZES,
):
    """Returns the output of attention, (B, T, N, V); arguments of `attend`.

    Args:
        block_sizes: (queries, keys) of a block.

    Raises:
        ValueError: if a second derivative is taken.
    """
    problem = Problem(
        block_sizes,
        score.kernel(query, key, mask),
        mask,
        bias,
        logit_soft_cap,
        None if dropout is None else dropout.with_seed_tensor(),
    )
    inputs = Inputs(
        query=score.scale_query(tiles.at_least_float32(query)),
        key=key,
        value=value,
        bias=bias_blocks.tensor_of(bias, query.shape[2]),
        sink=_tensor(sink),
        vector=_tensor(score.vector),
    )
    return ops.cast(_differentiable(problem, inputs), query.dtype)


def _differentiable(problem, inputs):
    """Solves the problem, with the gradient written by hand."""
    given = {k: v for k, v in inputs._asdict().items() if v is not None}
    is_long = problem.layout(inputs).is_long

    def named(tensors):
        return Inputs(**dict(zip(given, tensors, strict=True)))

    def solve(*tensors):
        solve_all = forward_compiled if is_long else forward
        output, normalizers = solve_all(problem, named(tensors))
        return output, (output, normalizers)

    def differentiate(*tensors):
        *tensors, output, normalizers, upstream = tensors
        inputs = named(tensors)
        differentiate_all = backward_compiled if is_long else backward
        gradients = differentiate_all(
            problem, inputs, output, normalizers, upstream
        )
        return [gradients[name] for name in given]

    run = differentiable_once(solve, differentiate, SECOND_DERIVATIVE)
    return run(*given.values())


def forward(problem, inputs):
    """Returns the output (B, T, N, V), and the normalizers of the softmax.

    Those are the largest score of each query and the sum of the powers
    exp(score - largest), cut into blocks (count, N, I, 2). Their one sum
    largest + log(sum) would lose the logarithm to rounding where scores are
    huge, as those of keys whose bias is the lowest float32.
    """
    layout = problem.layout(inputs)
    blocks = problem.cut(inputs, layout)
    heads, queries = blocks.query.shape[1:3]
    value_dim = blocks.value.shape[3]
    dtype = blocks.query.dtype

    def visit(index, outputs, normalizers):
        output, normalizer = _forward_tile(problem.tile(layout, blocks, index))
        return (
            index + 1,
            buffers.write(outputs, index, output),
            buffers.write(normalizers, index, normalizer),
        )

    count = layout.count
    _, outputs, normalizers = ops.while_loop(
        lambda index, *_: index < count,
        visit,
        (
            0,
            buffers.zeros(count, (heads, queries, value_dim), dtype),
            buffers.zeros(count, (heads, queries, 2), dtype),
        ),
    )
    output = tiles.join(
        buffers.stack(outputs), layout.batch, layout.query_length
    )
    return output, buffers.stack(normalizers)


# For long sequences as one program. Measured; see benchmarks/attention.py.
forward_compiled = compiling.compiled(forward)
backward_compiled = compiling.compiled(backward)


def _forward_tile(tile):
    """Returns the output (N, I, V) and normalizers (N, I, 2) of one tile."""
    query = tile.query()  # (N, I, H)
    first, last = tile.key_range()

    def visit(key_block, top, total, output):
        key, value = tile.key(key_block), tile.value(key_block)
        scores, _ = tile.scores(query, key, key_block)  # (N, I, J)
        powers, new_top, total, shrink = _add_to_sum(scores, top, total)
        dropped = tile.drop(powers, key_block)
        output = output * shrink + kernels.weighted_values(dropped, value)
        return key_block + 1, new_top, total, output

    _, top, total, output = ops.while_loop(
        lambda key_block, *_: key_block < last,
        visit,
        (first, *_start(tile, query)),
    )
    # A query that saw nothing has a sum of zero, and an output of zero.
    total = ops.where(total > 0, total, ops.ones_like(total))
    return output / total, ops.concatenate([top, total], axis=-1)


# Outside XLA the exponential and the two reductions are three slow passes.
@compiling.compiled
def _add_to_sum(scores, top, total):
    """Adds a block of scores to the running sum, all relative to its maximum.

    Returns:
        exp(scores - top), the new top, the new total, and the factor for what
        was summed before.
    """
    new_top = ops.maximum(top, ops.max(scores, axis=-1, keepdims=True))
    powers = ops.exp(scores - new_top)  # (N, I, J)
    shrink = ops.exp(top - new_top)  # (N, I, 1)
    total = total * shrink + ops.sum(powers, axis=-1, keepdims=True)
    return powers, new_top, total, shrink


def _start(tile, query):
    """Returns the running maximum, sum and output before the first key."""
    heads, queries, _ = query.shape
    shape = (heads, queries, 1)
    value_dim = tile.blocks.value.shape[3]
    output = ops.zeros((heads, queries, value_dim), dtype=query.dtype)
    # Finite, so that hidden scores, minus infinity, are zero weights even
    # where nothing was visible yet.
    lowest = ops.convert_to_tensor(
        np.finfo(ops.dtype(query)).min, dtype=query.dtype
    )
    if tile.blocks.sink is not None:
        # The sink joins as a key would whose value is zero.
        sink = tile.problem.sink(tile.blocks, query.dtype)
        sink = ops.broadcast_to(sink, shape)
        top = ops.maximum(sink, lowest)
        return top, ops.exp(sink - top), output
    top = ops.full(shape, lowest, dtype=query.dtype)
    return top, ops.zeros(shape, dtype=query.dtype), output


def _tensor(value):
    return None if value is None else ops.convert_to_tensor(value)
