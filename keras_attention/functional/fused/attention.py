"""attend() by a fused kernel, where the device and the shapes allow it.

On TensorFlow one gradient written by hand holds every way: the kernel for
each shape that may come, and what `by_length` does for all else. Device and
shape are chosen when XLA compiles, so that a program holds one of them; that
a boolean mask is lengths shows when it runs, so such a program holds two.
"""

import dataclasses
from typing import Any

from keras import backend
from keras import ops

from keras_attention.functional import by_length
from keras_attention.functional import devices
from keras_attention.functional.blockwise import attention as blockwise
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.by_length import Question
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
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore,
    mask: Any,
    bias: Any,
    logit_soft_cap: None,
    sink: None,
    dropout: None,
    *,
    plan: Plan,
    largest_dense: int,
) -> Any:
    """Returns the output of attention, (B, T, N, V); arguments of `attend`.

    Args:
        plan: from `plan_of` for these arguments.
        largest_dense: where the kernel is not used: see `by_length`.

    Raises:
        ValueError: if a second derivative is taken.
    """
    scaled, bias = blockwise.inputs_of(query, key, value, score, bias, sink)
    inputs = scaled._replace(query=query)
    rest = Question(
        largest_dense=largest_dense,
        schedule=blockwise.current_schedule(),
        mask=mask,
        bias=bias,
        logit_soft_cap=None,
        dropout=None,
    )
    answer = _Answer(plan, score, rest)
    if backend.backend() == "jax":
        return answer.on_jax(inputs)
    output = blockwise.differentiable(
        answer.forward, answer.backward, inputs, None
    )
    output.set_shape((*query.shape[:3], value.shape[3]))  # lost in the switch
    return output


@dataclasses.dataclass(frozen=True, eq=False)
class _Answer:
    plan: Plan
    score: DotProductScore
    rest: Question  # what is asked of `by_length`

    def on_jax(self, inputs):
        def fused():
            (sizes,) = self.plan.shapes
            return self._kernel(inputs, sizes).attend()

        def plain():
            output = blockwise.differentiable(
                by_length.forward,
                by_length.backward,
                self._scaled(inputs),
                self.rest,
            )
            return ops.cast(output, inputs.query.dtype)

        if self.plan.request.is_prefix is None:
            return fused()
        return ops.cond(self.plan.request.is_prefix, fused, plain)

    def forward(self, inputs, _):
        """Returns the output, that of float32, statistics, weights, logsumexp.

        Each way leaves those empty that are another's.
        """
        dtype = inputs.query.dtype

        def plain(question=self.rest):
            found = by_length.forward(self._scaled(inputs), question)
            logsumexp = ops.zeros((0, 0, 0), "float32")
            return ops.cast(found[0], dtype), *found, logsumexp

        def fused(sizes):
            output, logsumexp = self._kernel(inputs, sizes).forward()
            empty = ops.zeros((0, 0, 0, 0), "float32")
            return output, empty, empty, empty, logsumexp

        def checked(sizes):
            # XLA keeps both branches, so they return what is equally large.
            def by_blocks():
                *found, _ = plain(self._by_blocks())
                shape = (sizes[0], inputs.query.shape[2], sizes[1])
                return *found, ops.zeros(shape, "float32")

            def by_kernel():
                output, _, _, weights, logsumexp = fused(sizes)
                statistics = self._empty_statistics(inputs, sizes)
                wide = ops.zeros(output.shape, "float32")
                return output, wide, statistics, weights, logsumexp

            return self._if_prefix(by_kernel, by_blocks)

        return self._choose(inputs, plain, fused, checked)

    def backward(
        self, inputs, _, output, wide, statistics, weights, logsumexp, upstream
    ):
        """Returns the gradients of `inputs`, as `Inputs`."""
        given = [x is not None for x in inputs]

        def plain(question=self.rest):
            gradients = by_length.backward(
                self._scaled(inputs),
                question,
                *(wide, statistics, weights),
                at_least_float32(upstream),
            )
            query = self.score.scale_query(gradients.query)
            return flat(gradients._replace(query=query))

        def fused(sizes):
            query, key, value, *bias = self._kernel(inputs, sizes).backward(
                output, logsumexp, upstream
            )
            return flat(Inputs(query, key, value, *bias))

        def checked(sizes):
            return self._if_prefix(
                lambda: fused(sizes), lambda: plain(self._by_blocks())
            )

        def flat(gradients):
            pairs = zip(gradients, inputs, strict=True)
            return tuple(
                ops.cast(g, x.dtype) for g, x in pairs if x is not None
            )

        found = iter(self._choose(inputs, plain, fused, checked))
        return Inputs(
            *(next(found) if is_given else None for is_given in given)
        )

    def _choose(self, inputs, plain, fused, checked):
        has_check = self.plan.request.is_prefix is not None
        of_shape = checked if has_check else fused

        def on_gpu():
            shapes = self.plan.shapes
            queries, keys = inputs.query.shape, inputs.key.shape
            if (*queries[:2], keys[1]) == shapes[0]:
                return of_shape(shapes[0])
            ways = [lambda shape=shape: of_shape(shape) for shape in shapes]
            return ops.switch(_which(inputs, shapes), [plain, *ways])

        return devices.by_device(plain, on_gpu, plain)

    def _if_prefix(self, fused, by_blocks):
        return ops.cond(self.plan.request.is_prefix, fused, by_blocks)

    def _by_blocks(self):
        return dataclasses.replace(self.rest, largest_dense=0)

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
