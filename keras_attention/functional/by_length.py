"""attend() where a graph is traced for lengths that it does not know.

The graph holds both ways, dense and blockwise, and a switch on the lengths
inside one gradient written by hand: XLA cannot differentiate the choice, but
compiles only the branch that a `switch` takes. The dense branch keeps its
weights for the gradient, the other none. Each direction is traced once for all
layers that ask alike, so that the graph holds a call and not its operations.

Letters as in `blockwise/grid.py`.
"""

from typing import Any

from keras import ops

from keras_attention.functional import compiling
from keras_attention.functional.biases import Bias
from keras_attention.functional.blockwise import attention as blockwise
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.blockwise.question import Question
from keras_attention.functional.choice import choose
from keras_attention.functional.dense import attend_dense
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.kernels import PLAIN
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore
from keras_attention.masks import Mask


def attend_by_length(
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore | AdditiveScore,
    mask: Mask | None,
    bias: Bias | None,
    logit_soft_cap: float | None,
    sink: Any,
    dropout: Dropout | None,
    *,
    largest_dense: int,
) -> Any:
    """Returns the output of attention, (B, T, N, V); arguments of `attend`.

    Args:
        largest_dense: (query, key) pairs up to which the answer is dense.

    Raises:
        ValueError: if a second derivative is taken.
    """
    inputs, bias = blockwise.inputs_of(query, key, value, score, bias, sink)
    question = Question(
        largest_dense=largest_dense,
        schedule=blockwise.current_schedule(),
        scale=blockwise.scale_of_scores(score, query),
        mask=mask,
        bias=bias,
        logit_soft_cap=logit_soft_cap,
        dropout=None if dropout is None else dropout.with_seed_tensor(),
    )
    output = blockwise.differentiable(forward, backward, inputs, question)
    output = ops.cast(output, query.dtype)
    output.set_shape((*query.shape[:3], value.shape[3]))  # lost in the switch
    return output


def _unknown_lengths(position, shape):
    """Batch and length of query, key and value tell no programs apart."""
    return (None, None, *shape[2:]) if position < 3 else shape


@compiling.traced_once(_unknown_lengths)
def forward(inputs: Inputs, question: Question):
    """Returns the output, the statistics of blocks, and the dense weights.

    One of the last two is empty.
    """

    def dense(inputs, question):
        bias = question.bias and question.bias.whole(inputs.bias)
        output, weights = attend_dense(
            at_least_float32(inputs.query),
            inputs.key,
            inputs.value,
            question.score(inputs),
            question.mask,
            bias,
            question.logit_soft_cap,
            inputs.sink,
            question.dropout,
        )
        return output, ops.zeros((0, 0, 0, 0), output.dtype), weights

    def by_blocks(inputs, question):
        output, statistics = blockwise.forward(inputs, question)
        return output, statistics, ops.zeros((0, 0, 0, 0), output.dtype)

    return _choose_by_length([dense, by_blocks], inputs, question)


@compiling.traced_once(_unknown_lengths)
def backward(inputs, question, output, statistics, weights, output_gradient):
    """Returns the gradients of `inputs`, as `Inputs`."""

    def dense(inputs, question, output, _, weights, output_gradient):
        return given(
            _dense_backward(inputs, question, output, weights, output_gradient)
        )

    def by_blocks(inputs, question, output, statistics, _, output_gradient):
        saved = output, statistics, output_gradient
        return given(blockwise.backward(inputs, question, *saved))

    def given(gradients):
        return tuple(x for x in gradients if x is not None)

    saved = output, statistics, weights, output_gradient
    ways = [dense, by_blocks]
    gradients = iter(_choose_by_length(ways, inputs, question, *saved))
    return Inputs(*(x if x is None else next(gradients) for x in inputs))


def _choose_by_length(ways, inputs, question, *saved):
    """Returns what one of two functions returns, chosen by the lengths."""
    # In floats: in integers the product of two long lengths overflows.
    queries, keys = (
        ops.cast(ops.shape(tensor)[1], "float32")
        for tensor in (inputs.query, inputs.key)
    )
    is_long = queries * keys > float(question.largest_dense)
    if question.largest_dense:  # one query is a step: dense at any length
        is_long = ops.logical_and(is_long, queries > 1.0)
    # Not a `cond`, of which XLA compiles both branches.
    index = ops.cast(is_long, "int32")
    return choose(index, ways, (inputs, question, *saved))


def _dense_backward(inputs, question, output, weights, output_gradient):
    """Returns the gradients of `attend_dense`; see `blockwise/backward.py`."""
    key_heads = inputs.key.shape[2]
    multiply = PLAIN.multiply
    query = at_least_float32(inputs.query)
    query = _fold(query, key_heads)  # (B, K, G * T, H)
    upstream = _fold(output_gradient, key_heads)  # (B, K, G * T, V)
    key, value = (
        ops.transpose(at_least_float32(x), (0, 2, 1, 3))  # (B, K, S, ...)
        for x in (inputs.key, inputs.value)
    )

    def drop(tensor):
        if question.dropout is None:
            return tensor
        tensor = question.dropout.apply(ops.reshape(tensor, ops.shape(weights)))
        return ops.reshape(tensor, ops.shape(rows))

    batch, _, _, keys = ops.shape(weights)
    rows = ops.reshape(weights, (*ops.shape(query)[:3], keys))  # (B, K, GT, S)
    weights_gradient = drop(multiply(upstream, value, transpose_right=True))
    dot = _fold(output_gradient * output, key_heads)
    dot = ops.sum(dot, axis=-1, keepdims=True)  # D, (B, K, G * T, 1)
    scores_gradient = raw_gradient = rows * (weights_gradient - dot)
    kernel, cap = question.kernel(inputs), question.logit_soft_cap
    if cap is not None:
        raw = kernel.scores(query, key, inputs.vector)
        slope = 1.0 - ops.square(ops.tanh(raw / cap))
        raw_gradient = raw_gradient * slope
    query_gradient, key_gradient, vector_gradient = kernel.gradients(
        query, key, inputs.vector, raw_gradient
    )
    value_gradient = multiply(drop(rows), upstream, transpose_left=True)
    bias_gradient = sink_gradient = None
    if inputs.bias is not None:
        gradient = ops.reshape(scores_gradient, ops.shape(weights))
        bias_gradient = question.bias.sum_whole(inputs.bias, gradient)
    if inputs.sink is not None:
        rest = 1.0 - ops.sum(rows, axis=-1, keepdims=True)  # weight of the sink
        gradient = ops.reshape(rest * dot, ops.shape(weights)[:3])  # (B, N, T)
        sink_gradient = -ops.sum(gradient, axis=(0, 2))
    return Inputs(
        query=_unfold(query_gradient, inputs.query),
        key=ops.transpose(key_gradient, (0, 2, 1, 3)),
        value=ops.transpose(value_gradient, (0, 2, 1, 3)),
        bias=bias_gradient,
        sink=sink_gradient,
        vector=vector_gradient,
    )


def _fold(tensor, key_heads):
    """Returns (B, K, G * T, X) from (B, T, N, X)."""
    batch, length, heads, width = ops.shape(tensor)
    shape = (batch, length, key_heads, heads // key_heads, width)
    tensor = ops.transpose(ops.reshape(tensor, shape), (0, 2, 3, 1, 4))
    rows = heads // key_heads * length
    return ops.reshape(tensor, (batch, key_heads, rows, width))


def _unfold(tensor, like):
    """Returns a tensor of the shape of `like` from what `_fold` made of it."""
    batch, length, heads, width = ops.shape(like)
    key_heads = tensor.shape[1]
    shape = (batch, key_heads, heads // key_heads, length, width)
    tensor = ops.transpose(ops.reshape(tensor, shape), (0, 3, 1, 2, 4))
    return ops.reshape(tensor, (batch, length, heads, width))
