"""attend() by blocks: which schedule, which program, and its gradient."""

import contextlib
import contextvars
import math
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from keras import backend
from keras import ops

from keras_attention import validation
from keras_attention.functional import compiling
from keras_attention.functional import devices
from keras_attention.functional.biases import Bias
from keras_attention.functional.blockwise import bias_gradients
from keras_attention.functional.blockwise.backward import (
    backward as run_backward,
)
from keras_attention.functional.blockwise.bias_gradients import BiasBlocks
from keras_attention.functional.blockwise.forward import forward as run_forward
from keras_attention.functional.blockwise.grid import BATCH
from keras_attention.functional.blockwise.grid import TILES
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.blockwise.question import EITHER
from keras_attention.functional.blockwise.question import Question
from keras_attention.functional.blockwise.question import is_long
from keras_attention.functional.custom_gradient import first_order_only
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.precision import HALF
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore
from keras_attention.masks import Mask

SECOND_DERIVATIVE = (
    "`implementation` must be 'dense' where second derivatives are taken. "
    "Received: implementation='blockwise', 'flash' or 'fused', or 'auto' that "
    "chose one of them."
)
SCHEDULES = ("auto", TILES, BATCH)

_schedule = contextvars.ContextVar("schedule", default="auto")


@contextlib.contextmanager
def schedule(name: str) -> Iterator[None]:
    """Within it, blockwise attention visits its blocks in this order.

    Args:
        name: "tiles" is one tile after the other, as processors like; "batch"
            is all tiles at once, as accelerators like; "auto" asks the device.
            The results are the same to rounding.

    Example:

    >>> from keras_attention.functional import blockwise
    >>> with blockwise.schedule("batch"):
    ...     pass  # attend, or trace
    """
    token = _schedule.set(validation.check_choice("name", name, SCHEDULES))
    try:
        yield
    finally:
        _schedule.reset(token)


def current_schedule() -> str:
    """Returns TILES, BATCH or EITHER, by what is asked or by the device."""
    name = _schedule.get()
    if name != "auto":
        return name
    of_target = {devices.CPU: TILES, devices.GPU: BATCH, devices.ANY: EITHER}
    return of_target[devices.current_target()]


def forward(inputs: Inputs, question: Question) -> tuple[Any, Any]:
    """Returns the output and the statistics, in the schedule asked for."""

    def by_grid(grid, inputs):
        return run_forward(inputs, grid)

    def separately(question, inputs):
        return _forward_compiled(inputs, question)

    return question.answer(by_grid, separately, inputs)


def backward(
    inputs: Inputs,
    question: Question,
    output: Any,
    statistics: Any,
    output_gradient: Any,
) -> Inputs:
    """Returns the gradients of `inputs`, as `Inputs`."""

    def by_grid(grid, inputs, *saved):  # a switch has no result that is None
        return without_none(run_backward(inputs, grid, *saved))

    def separately(question, inputs, *saved):
        return without_none(_backward_compiled(inputs, question, *saved))

    def without_none(gradients):
        return tuple(x for x in gradients if x is not None)

    # What is lost in a switch on devices: the static part of the shape.
    grid = question.grid(inputs)
    shape = (-1, grid.key_heads, grid.group * grid.query_block, 2)
    saved = output, ops.reshape(statistics, shape), output_gradient
    gradients = iter(question.answer(by_grid, separately, inputs, *saved))
    return Inputs(*(x if x is None else next(gradients) for x in inputs))


_forward_compiled = compiling.separately_compiled(forward)
_backward_compiled = compiling.separately_compiled(backward)


def attend_blockwise(
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore | AdditiveScore,
    mask: Mask | None = None,
    bias: Bias | None = None,
    logit_soft_cap: float | None = None,
    sink: Any = None,
    dropout: Dropout | None = None,
    block_sizes: tuple[int, int] | None = None,
) -> Any:
    """Returns the output of attention, (B, T, N, V); arguments of `attend`.

    Args:
        block_sizes: (queries, keys) of a block; None for those of the
            schedule.

    Raises:
        ValueError: if a second derivative is taken.
    """
    inputs, bias = inputs_of(query, key, value, score, bias, sink)
    question = Question(
        largest_dense=0,
        schedule=current_schedule(),
        mask=mask,
        bias=bias,
        logit_soft_cap=logit_soft_cap,
        dropout=None if dropout is None else dropout.with_seed_tensor(),
        scale=scale_of_scores(score, query),
        block_sizes=block_sizes,
    )
    if question.schedule != EITHER and is_long(query, key):
        directions = _forward_compiled, _backward_compiled
    else:
        directions = forward, backward
    output = differentiable(*directions, inputs, question)
    output = ops.cast(output, query.dtype)
    if backend.backend() == "tensorflow":  # lost in a switch
        output.set_shape((*query.shape[:3], value.shape[3]))
    return output


def inputs_of(
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore | AdditiveScore,
    bias: Bias | None,
    sink: Any,
) -> tuple[Inputs, BiasBlocks | None]:
    """Returns the `Inputs` of a call of `attend`, and how to read its bias.

    The query is scaled, unless `scale_of_scores` says that scores are.
    """
    if scale_of_scores(score, query) is None:
        query = score.scale_query(at_least_float32(query))
    bias, bias_tensor = bias_gradients.part(bias, query)
    vector = score.vector
    if vector is not None:
        vector = at_least_float32(ops.convert_to_tensor(vector))
    inputs = Inputs(
        query=query,
        key=key,
        value=value,
        bias=bias_tensor,
        sink=None if sink is None else ops.convert_to_tensor(sink),
        vector=vector,
    )
    return inputs, bias


def scale_of_scores(
    score: DotProductScore | AdditiveScore, query: Any
) -> float | None:
    """Returns what scores are multiplied by; None where the query is.

    A query in half precision stays as it is, to be multiplied as such; one in
    float32 is scaled before, which is less work. So is each whose scale is a
    tensor, which may have a gradient.
    """
    is_half = ops.dtype(query) in HALF
    if not is_half or score.vector is not None:
        return None
    scale = score.scale
    if scale is None:
        return 1.0 / math.sqrt(query.shape[-1])
    return scale if isinstance(scale, float) else None


def differentiable(
    forward: Callable, backward: Callable, inputs: Inputs, question: Any
) -> Any:
    """Returns the output of attention, with a gradient written by hand.

    Args:
        forward: function of `Inputs` and of the question; returns the output
            and the residuals, a flat tuple.
        backward: function of `Inputs`, of the question, of the output and
            residuals and of the gradient of the output; returns the gradients
            as `Inputs`.
        inputs: the `Inputs`.
        question: the settings of both functions; it has no gradient.
    """
    given = {k: v for k, v in inputs._asdict().items() if v is not None}

    def named(tensors):
        return Inputs(**dict(zip(given, tensors, strict=True)))

    def run(*tensors):
        results = forward(named(tensors), question)
        return results[0], results

    def differentiate(*tensors):
        tensors, saved = tensors[: len(given)], tensors[len(given) :]
        gradients = backward(named(tensors), question, *saved)
        return [
            ops.cast(getattr(gradients, name), tensor.dtype)
            for name, tensor in zip(given, tensors, strict=True)
        ]

    attend = first_order_only(run, differentiate, error=SECOND_DERIVATIVE)
    return attend(*given.values())
