"""The gradient of blockwise attention: each block of weights, once more.

With D[t] = sum over s of weight[t, s] * dweight[t, s], which is the sum over
the output of output * doutput (Dao et al. 2022, appendix B.2):

    dscore[t, s] = weight[t, s] * (dweight[t, s] - D[t])

Letters as in `tiles.py`, V value_dim.
"""

from keras import ops

from keras_attention.functional import buffers
from keras_attention.functional import compiling
from keras_attention.functional import kernels
from keras_attention.functional import tiles


def backward(problem, inputs, output, normalizers, upstream):
    """Returns the gradient of each of `inputs`, by name.

    Args:
        problem: the `Problem` that was solved.
        inputs: its `Inputs`.
        output: what came out, (B, T, N, V).
        normalizers: of each query, (count, N, I, 2); see `forward`.
        upstream: gradient of the output, (B, T, N, V).
    """
    layout = problem.layout(inputs)
    blocks = problem.cut(inputs, layout)
    dot = ops.sum(upstream * output, axis=-1, keepdims=True)  # D
    dot = tiles.cut(dot, layout.query_block)  # (count, N, I, 1)
    saved = tiles.cut(upstream, layout.query_block), normalizers, dot

    def visit(index, sums):
        tile = problem.tile(layout, blocks, index)
        return index + 1, _visit_tile(tile, saved, sums)

    sums = _empty_sums(layout, blocks, dot.dtype)
    _, sums = ops.while_loop(
        lambda index, sums: index < layout.count, visit, (0, sums)
    )
    sums = _join(layout, inputs, blocks, sums)
    if inputs.sink is not None:
        # The sink has a weight like a key, and no value: dweight = 0.
        top, total = ops.split(normalizers, 2, axis=-1)
        weight = ops.exp(problem.sink(inputs, dot.dtype) - top) / total
        sums["sink"] = -ops.sum(weight * dot, axis=(0, 2, 3))
    return {
        name: ops.cast(gradient, getattr(inputs, name).dtype)
        for name, gradient in sums.items()
    }


def _empty_sums(layout, blocks, dtype):
    sums = {
        name: buffers.zeros(ops.shape(tensor)[0], tensor.shape[1:], dtype)
        for name, tensor in blocks._asdict().items()
        if name in ("query", "key", "value")
    }
    if blocks.bias is not None:
        sums["bias"] = blocks.bias.empty_sums(layout, dtype)
    if blocks.vector is not None:
        sums["vector"] = ops.zeros(blocks.vector.shape, dtype=dtype)
    return sums


def _visit_tile(tile, saved, sums):
    """Adds the gradients of one tile to `sums`."""
    query = tile.query()  # (N, I, H)
    first, last = tile.key_range()
    saved = [tiles.take(blocks, tile.index) for blocks in saved]

    def visit(key_block, query_sum, sums):
        gradients = _block_gradients(tile, query, key_block, *saved)
        query_sum = query_sum + gradients["query"]
        return key_block + 1, query_sum, _add(tile, key_block, sums, gradients)

    rest = {name: x for name, x in sums.items() if name != "query"}
    _, query_sum, rest = ops.while_loop(
        lambda key_block, *_: key_block < last,
        visit,
        (first, ops.zeros_like(query), rest),
    )
    return {
        "query": buffers.write(sums["query"], tile.index, query_sum),
        **rest,
    }


def _block_gradients(tile, query, key_block, upstream, normalizers, dot):
    """Returns the gradients of one block, by name."""
    key, value = tile.key(key_block), tile.value(key_block)
    scores, capped = tile.scores(query, key, key_block)
    weights_gradient = kernels.weights_gradient(upstream, value)
    weights_gradient = tile.drop(weights_gradient, key_block)
    weights, scores_gradient = _softmax_gradient(
        scores, normalizers, weights_gradient, dot
    )
    dropped = tile.drop(weights, key_block)
    cap = tile.problem.logit_soft_cap
    raw_gradient = scores_gradient
    if cap is not None:
        raw_gradient = raw_gradient * (1.0 - ops.square(capped / cap))
    query, key, vector = tile.problem.kernel.gradients(
        query, key, tile.blocks.vector, raw_gradient
    )
    value = kernels.value_gradient(dropped, upstream, value.shape[0])
    return {
        "query": query,
        "key": key,
        "value": value,
        "bias": scores_gradient,
        "vector": vector,
    }


@compiling.compiled
def _softmax_gradient(scores, normalizers, weights_gradient, dot):
    """Returns the weights and the gradient of the scores, (N, I, J)."""
    top, total = ops.split(normalizers, 2, axis=-1)  # (N, I, 1)
    weights = ops.exp(scores - top) * (1.0 / total)
    return weights, weights * (weights_gradient - dot)


def _add(tile, key_block, sums, gradients):
    index = tile.key_index(key_block)
    added = {
        name: buffers.add(sums[name], index, gradients[name])
        for name in ("key", "value")
    }
    if "bias" in sums:
        added["bias"] = tile.blocks.bias.add_to_sums(
            sums["bias"], tile, key_block, gradients["bias"]
        )
    if "vector" in sums:
        added["vector"] = sums["vector"] + gradients["vector"]
    return added


def _join(layout, inputs, blocks, sums):
    lengths = {
        "query": layout.query_length,
        "key": layout.key_length,
        "value": layout.key_length,
    }
    joined = {
        name: tiles.join(buffers.stack(sums[name]), layout.batch, length)
        for name, length in lengths.items()
    }
    if "bias" in sums:
        joined["bias"] = blocks.bias.join_sums(sums["bias"], layout)
    if "vector" in sums:
        joined["vector"] = sums["vector"]
    return joined
