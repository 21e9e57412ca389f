"""attend() by a fused kernel, where the device and the shapes allow it.

On TensorFlow one gradient written by hand holds every way: the kernel for
each shape that may come, and what `by_length` does for all else. Device and
shape are chosen when XLA compiles, so that a program holds one of them; that
a boolean mask is lengths shows when it runs, so such a program holds two.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

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
from keras_attention.functional.fused.batches import current_batches
from keras_attention.functional.fused.coverage import NotCovered
from keras_attention.functional.fused.coverage import Request
from keras_attention.functional.fused.coverage import request_of
from keras_attention.functional.fused.kernel import Kernel
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import DotProductScore

# Kernels that one call may hold, each some kilobytes of text.
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
        raise NotCovered("there is no NVIDIA GPU to run it")
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
    scaled, bias = blockwise.inputs_of(query, key, value, score, bias, None)
    inputs = scaled._replace(query=query)
    rest = Question(
        largest_dense=largest_dense,
        schedule=blockwise.current_schedule(),
        mask=mask,
        bias=bias,
        logit_soft_cap=None,
        dropout=None,
    )
    answer = _Answer(plan, score, rest, devices.current_target())
    output = blockwise.differentiable(_forward, _backward, inputs, answer)
    output.set_shape((*query.shape[:3], value.shape[3]))  # lost in the switch
    return output


def _attend_on_jax(arguments, plan, otherwise):
    """There each shape is known, and the kernel has its gradient."""
    query, key, value, _, _, bias, *_ = arguments
    (sizes,) = plan.shapes
    tensor = None if bias is None else bias.tensor

    def fused():
        return Kernel(plan.request, sizes, query, key, value, tensor).attend()

    if plan.request.is_prefix is None:
        return fused()
    return ops.cond(plan.request.is_prefix, fused, otherwise)


def _same_shape(position, shape):
    """Each shape that is known has a program of its own."""
    return shape


@compiling.traced_once(_same_shape)
def _forward(inputs, answer):
    return answer.forward(inputs)


@compiling.traced_once(_same_shape)
def _backward(inputs, answer, *saved):
    return answer.backward(inputs, *saved)


@dataclasses.dataclass(frozen=True, eq=False)
class _Answer:
    plan: Plan
    score: DotProductScore
    rest: Question  # what is asked of `by_length`
    target: str  # device, so that it tells programs apart

    def forward(self, inputs):
        """Returns the output, that of float32, statistics, weights, logsumexp.

        Each way leaves those empty that are another's.
        """
        return self._choose(
            _Answer.forward_plain, _Answer.forward_fused, inputs
        )

    def backward(self, inputs, *saved):
        """Returns the gradients of `inputs`, as `Inputs`."""
        given = [x is not None for x in inputs]
        found = iter(
            self._choose(
                _Answer.backward_plain, _Answer.backward_fused, inputs, *saved
            )
        )
        return Inputs(*(next(found) if x else None for x in given))

    def _choose(self, plain, fused, inputs, *saved):
        """Returns what one of two methods returns, by device and shape."""
        shapes = self.plan.shapes

        def on_gpu(answer, inputs, *saved):
            known = inputs.query.shape[:2] + inputs.key.shape[1:2]
            if tuple(known) == shapes[0]:
                return fused(answer, shapes[0], inputs, *saved)
            ways = [
                lambda answer, *rest, shape=shape: fused(answer, shape, *rest)
                for shape in shapes
            ]
            arguments = (answer, inputs, *saved)
            return choose(_which(inputs, shapes), [plain, *ways], arguments)

        return devices.by_device(
            self.target, plain, on_gpu, plain, (self, inputs, *saved)
        )

    def forward_plain(self, inputs):
        found = by_length.forward(self._scaled(inputs), self.rest)
        output = ops.cast(found[0], inputs.query.dtype)
        return output, *found, ops.zeros((0, 0, 0), "float32")

    def forward_fused(self, sizes, inputs):
        def by_kernel():
            output, logsumexp = self._kernel(inputs, sizes).forward()
            empty = ops.zeros((0, 0, 0, 0), "float32")
            return output, empty, empty, empty, logsumexp

        if self.plan.request.is_prefix is None:
            return by_kernel()

        # Both are in the program, so they return what is equally large.
        def fused():
            output, _, _, weights, logsumexp = by_kernel()
            wide = ops.zeros(output.shape, "float32")
            statistics = self._empty_statistics(inputs, sizes)
            return output, wide, statistics, weights, logsumexp

        def by_blocks():
            *found, _ = self._by_blocks().forward_plain(inputs)
            shape = (sizes[0], inputs.query.shape[2], sizes[1])
            return *found, ops.zeros(shape, "float32")

        return ops.cond(self.plan.request.is_prefix, fused, by_blocks)

    def backward_plain(
        self, inputs, output, wide, statistics, weights, logsumexp, upstream
    ):
        gradients = by_length.backward(
            self._scaled(inputs),
            self.rest,
            *(wide, statistics, weights),
            at_least_float32(upstream),
        )
        query = self.score.scale_query(gradients.query)
        return _flat(gradients._replace(query=query), inputs)

    def backward_fused(
        self,
        sizes,
        inputs,
        output,
        wide,
        statistics,
        weights,
        logsumexp,
        upstream,
    ):
        def fused():
            query, key, value, *bias = self._kernel(inputs, sizes).backward(
                output, logsumexp, upstream
            )
            return _flat(Inputs(query, key, value, *bias), inputs)

        def by_blocks():
            saved = (output, wide, statistics, weights, logsumexp, upstream)
            return self._by_blocks().backward_plain(inputs, *saved)

        if self.plan.request.is_prefix is None:
            return fused()
        return ops.cond(self.plan.request.is_prefix, fused, by_blocks)

    def _by_blocks(self):
        rest = dataclasses.replace(self.rest, largest_dense=0)
        return dataclasses.replace(self, rest=rest)

    def _scaled(self, inputs):
        query = self.score.scale_query(at_least_float32(inputs.query))
        return inputs._replace(query=query)

    def _kernel(self, inputs, sizes):
        return Kernel(
            self.plan.request,
            sizes,
            *(inputs.query, inputs.key, inputs.value, inputs.bias),
        )

    def _empty_statistics(self, inputs, sizes):
        grid = self.rest.grid(self._scaled(inputs))
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
