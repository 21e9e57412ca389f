"""attend() by a fused kernel, where the device and the shapes allow it.

On TensorFlow one gradient written by hand holds every way: the kernel for
each shape that may come, and what `by_length` does for all else. Device and
shape are chosen when XLA compiles, so that a program holds one of them; that
a boolean mask is lengths shows when it runs, so such a program holds two.
"""

import dataclasses
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

from keras import backend
from keras import ops

from keras_attention.functional import by_length
from keras_attention.functional import compiling
from keras_attention.functional import devices
from keras_attention.functional.blockwise import attention as blockwise
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.by_length import Question
from keras_attention.functional.choice import choose
from keras_attention.functional.fused import kernel
from keras_attention.functional.fused.additive_kernel import AdditiveKernel
from keras_attention.functional.fused.batches import current_batches
from keras_attention.functional.fused.coverage import NotCovered
from keras_attention.functional.fused.coverage import Request
from keras_attention.functional.fused.coverage import request_of
from keras_attention.functional.fused.kernel import Kernel
from keras_attention.functional.precision import at_least_float32

# Kernels that one call may hold, each some kilobytes of text, or a hundred of
# PTX.
MOST_SHAPES = 64


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """How a call is answered.

    Args:
        request: what the kernel is asked.
        shapes: each (batch, queries, keys) that it is made for.
    """

    request: Request
    shapes: tuple[tuple[int, int, int], ...]


def plan_of(arguments: tuple, *, smallest: int) -> Plan:
    """Returns the `Plan`.

    Args:
        arguments: query, key, ... of `attend`, in its order.
        smallest: (query, key) pairs below which nothing is fused.

    Raises:
        NotCovered: if there is none; it says why.
    """
    if devices.current_target() == devices.CPU or not kernel.is_available():
        raise NotCovered(
            "there is no NVIDIA GPU to run it, of compute capability "
            f"{'.'.join(map(str, kernel.OLDEST))} or later"
        )
    query, key = arguments[:2]
    request = request_of(*arguments)
    sizes = (query.shape[0], query.shape[1], key.shape[1])
    shapes = current_batches().of_attention(*sizes)
    if not shapes:
        raise NotCovered(
            f"it needs one known shape, and (batch, queries, keys) is {sizes}"
        )
    fitting = []
    for shape in shapes:
        try:
            request.check_shape(*shape)
        except NotCovered:
            if len(shapes) == 1:
                raise
            continue
        if shape[1] * shape[2] >= smallest:
            fitting.append(shape)
    if not fitting or len(fitting) > MOST_SHAPES:
        raise NotCovered(
            f"of {len(shapes)} shapes that may come {len(fitting)} are large "
            f"enough, and at most {MOST_SHAPES} are made"
        )
    return Plan(request, tuple(fitting))


def attend_fused(
    arguments: tuple, plan: Plan, largest_dense: int, otherwise: Callable
) -> Any:
    """Returns the output of attention, (B, T, N, V).

    Args:
        arguments: query, key, ... of `attend`, in its order.
        plan: from `plan_of` for these arguments.
        largest_dense: where the kernel is not used: see `by_length`.
        otherwise: what answers where it is not used, on JAX.

    Raises:
        ValueError: if a second derivative is taken.
    """
    if backend.backend() == "jax":
        return _attend_on_jax(arguments, plan, otherwise)
    query, key, value, score, mask, bias, *_ = arguments
    inputs, bias = blockwise.inputs_of(query, key, value, score, bias, None)
    rest = Question(
        largest_dense=largest_dense,
        schedule=blockwise.current_schedule(),
        scale=blockwise.scale_of_scores(score, query),
        mask=mask,
        bias=bias,
        logit_soft_cap=None,
        dropout=None,
    )
    answer = _Answer(plan, rest, devices.current_target())
    output = blockwise.differentiable(_forward, _backward, inputs, answer)
    output = ops.cast(output, query.dtype)
    output.set_shape((*query.shape[:3], value.shape[3]))  # lost in the switch
    return output


def _attend_on_jax(arguments, plan, otherwise):
    """There each shape is known, and the kernel has its gradient."""
    query, key, value, score, _, bias, *_ = arguments
    (sizes,) = plan.shapes
    tensor = None if bias is None else bias.tensor
    inputs = Inputs(query, key, value, tensor, vector=score.vector)

    def fused():
        return _kernel(plan.request, sizes, inputs).attend()

    if plan.request.is_prefix is None:
        return fused()
    return ops.cond(plan.request.is_prefix, fused, otherwise)


def _kernel(request, sizes, inputs):
    """Returns the kernel of the score; see `Kernel`."""
    tensors = inputs.query, inputs.key, inputs.value
    if request.is_additive:
        return AdditiveKernel(request, sizes, *tensors, inputs.vector)
    return Kernel(request, sizes, *tensors, inputs.bias)


def _same_shape(position, shape):
    """Each shape that is known has a program of its own."""
    return shape


@compiling.traced_once(_same_shape)
def _forward(inputs, answer):
    """Returns `_Saved`: the output first."""
    return answer.choose(_Answer.forward_plain, _Answer.forward_fused, inputs)


@compiling.traced_once(_same_shape)
def _backward(inputs, answer, *saved_and_upstream):
    """Returns the gradients of `inputs`, as `Inputs`."""
    *saved, upstream = saved_and_upstream
    arguments = (inputs, _Saved(*saved), upstream)
    found = answer.choose(
        _Answer.backward_plain, _Answer.backward_fused, *arguments
    )
    found = iter(found)
    return Inputs(*(x if x is None else next(found) for x in inputs))


class _Saved(NamedTuple):
    """The output, and what its gradient needs: each way leaves some empty."""

    output: Any  # (B, T, N, V), in the dtype of the query
    wide: Any  # the same in float32; blockwise and dense
    statistics: Any  # (tiles, K, R, 2); blockwise
    weights: Any  # (B, N, T, S); dense
    logsumexp: Any  # (B, N, T); fused


@dataclasses.dataclass(frozen=True, eq=False)
class _Answer:
    plan: Plan
    rest: Question  # what is asked of `by_length`
    target: str  # device, so that it tells programs apart

    def choose(self, plain, fused, *arguments):
        """Returns what one of two methods returns, by device and shape.

        Args:
            plain: method of the arguments.
            fused: method of a shape and of the arguments.
            *arguments: `Inputs`, and what a gradient needs.
        """
        shapes = self.plan.shapes

        def on_gpu(answer, inputs, *rest):
            known = (*inputs.query.shape[:2], inputs.key.shape[1])
            if known == shapes[0]:
                return fused(answer, known, inputs, *rest)
            ways = [
                lambda answer, *rest, shape=shape: fused(answer, shape, *rest)
                for shape in shapes
            ]
            index = _which(inputs, shapes)
            return choose(index, [plain, *ways], (answer, inputs, *rest))

        return devices.by_device(
            self.target, plain, on_gpu, plain, (self, *arguments)
        )

    def forward_plain(self, inputs):
        found = by_length.forward(inputs, self.rest)
        output = ops.cast(found[0], inputs.query.dtype)
        return _Saved(output, *found, ops.zeros((0, 0, 0), "float32"))

    def forward_fused(self, sizes, inputs):
        def by_kernel():
            fused = _kernel(self.plan.request, sizes, inputs)
            output, logsumexp = fused.forward()
            empty = ops.zeros((0, 0, 0, 0), "float32")
            return _Saved(output, empty, empty, empty, logsumexp)

        # Where both ways are in the program they return what is as large.
        def as_by_blocks():
            found = by_kernel()
            return found._replace(
                wide=ops.zeros(found.output.shape, "float32"),
                statistics=self._empty_statistics(inputs, sizes),
            )

        def by_blocks():
            found = self._by_blocks().forward_plain(inputs)
            shape = (sizes[0], inputs.query.shape[2], sizes[1])
            return found._replace(logsumexp=ops.zeros(shape, "float32"))

        return self._if_lengths(by_kernel, as_by_blocks, by_blocks)

    def backward_plain(self, inputs, saved, upstream):
        gradients = by_length.backward(
            inputs,
            self.rest,
            *(saved.wide, saved.statistics, saved.weights),
            at_least_float32(upstream),
        )
        return _flat(gradients, inputs)

    def backward_fused(self, sizes, inputs, saved, upstream):
        def by_kernel():
            fused = _kernel(self.plan.request, sizes, inputs)
            found = fused.backward(saved.output, saved.logsumexp, upstream)
            return _flat(found, [x for x in inputs if x is not None])

        def by_blocks():
            return self._by_blocks().backward_plain(inputs, saved, upstream)

        return self._if_lengths(by_kernel, by_kernel, by_blocks)

    def _if_lengths(self, fused, fused_or, otherwise):
        """Looks, where it is not known, whether boolean masks are lengths."""
        is_prefix = self.plan.request.is_prefix
        if is_prefix is None:
            return fused()
        return ops.cond(is_prefix, fused_or, otherwise)

    def _by_blocks(self):
        rest = dataclasses.replace(self.rest, largest_dense=0)
        return dataclasses.replace(self, rest=rest)

    def _empty_statistics(self, inputs, sizes):
        grid = self.rest.grid(inputs)
        rows = grid.group * grid.query_block
        tiles = sizes[0] * -(-sizes[1] // grid.query_block)
        return ops.zeros((tiles, grid.key_heads, rows, 2), "float32")


def _flat(gradients, inputs):
    """Returns the gradients there are, in the dtypes of the inputs."""
    pairs = zip(gradients, inputs, strict=True)
    return tuple(ops.cast(g, x.dtype) for g, x in pairs if x is not None)


def _which(inputs, shapes):
    """Returns 0, or 1 + the number of the shape of the inputs.

    From shapes alone, which are constants where XLA compiles.
    """
    batch, queries = ops.shape(inputs.query)[:2]
    found = ops.stack([batch, queries, ops.shape(inputs.key)[1]])
    index = ops.zeros((), "int32")
    for number, shape in enumerate(shapes, start=1):
        is_it = ops.all(ops.equal(found, ops.convert_to_tensor(shape, "int32")))
        index = index + number * ops.cast(is_it, "int32")
    return index
