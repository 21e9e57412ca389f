"""attend() by blocks: which schedule, which program, and its gradient."""

import contextlib
import contextvars
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.functional import compiling
from keras_attention.functional import devices
from keras_attention.functional.biases import Bias
from keras_attention.functional.blockwise import bias_gradients
from keras_attention.functional.blockwise.backward import backward
from keras_attention.functional.blockwise.bias_gradients import BiasBlocks
from keras_attention.functional.blockwise.forward import forward
from keras_attention.functional.blockwise.grid import BATCH
from keras_attention.functional.blockwise.grid import TILES
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.custom_gradient import first_order_only
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore
from keras_attention.masks import Mask

# (queries, keys) of a block: the best of ten shapes on two CPU cores (AVX2,
# heads of 64; benchmarks/attention.py).
BLOCK_SIZES = (256, 256)
# (query, key) pairs of a row of the batch, where compiling takes about as long
# as it saves in a few calls, on the same cores.
PAIRS_TO_COMPILE = 1024 * 1024
SECOND_DERIVATIVE = (
    "`implementation` must be 'dense' where second derivatives are taken. "
    "Received: implementation='blockwise', or 'auto' that chose it."
)
SCHEDULES = ("auto", TILES, BATCH)

_schedule = contextvars.ContextVar("schedule", default="auto")
_forward_compiled = compiling.separately_compiled(forward)
_backward_compiled = compiling.separately_compiled(backward)


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
    """Returns TILES or BATCH, by what is asked or by the device."""
    name = _schedule.get()
    if name != "auto":
        return name
    return TILES if devices.current_target() == devices.CPU else BATCH


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
    block_sizes: tuple[int, int] = BLOCK_SIZES,
) -> Any:
    """Returns the output of attention, (B, T, N, V); arguments of `attend`.

    Args:
        block_sizes: (queries, keys) of a block.

    Raises:
        ValueError: if a second derivative is taken.
    """
    inputs, bias = inputs_of(query, key, value, score, bias, sink)
    grid = Grid.of(
        inputs,
        block_sizes,
        schedule=current_schedule(),
        kernel=score.kernel(query, key, mask),
        mask=mask,
        bias=bias,
        logit_soft_cap=logit_soft_cap,
        dropout=None if dropout is None else dropout.with_seed_tensor(),
    )
    if _is_long(grid):
        directions = _forward_compiled, _backward_compiled
    else:
        directions = forward, backward
    output = differentiable(*directions, inputs, grid)
    return ops.cast(output, query.dtype)


def inputs_of(
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore | AdditiveScore,
    bias: Bias | None,
    sink: Any,
) -> tuple[Inputs, BiasBlocks | None]:
    """Returns the `Inputs` of a call of `attend`, and how to read its bias."""
    bias, bias_tensor = bias_gradients.part(bias, query)
    vector = score.vector
    if vector is not None:
        vector = at_least_float32(ops.convert_to_tensor(vector))
    inputs = Inputs(
        query=score.scale_query(at_least_float32(query)),
        key=key,
        value=value,
        bias=bias_tensor,
        sink=None if sink is None else ops.convert_to_tensor(sink),
        vector=vector,
    )
    return inputs, bias


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


def _is_long(grid):
    """True if compiling this call separately pays off."""
    lengths = grid.query_length, grid.key_length
    known = all(isinstance(length, int) for length in lengths)
    return known and lengths[0] * lengths[1] >= PAIRS_TO_COMPILE
