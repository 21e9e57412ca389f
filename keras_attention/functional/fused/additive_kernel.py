"""Fused additive attention of known shape: a kernel of our own.

The kernel and what it takes: `benchmarks/kernels/additive.py`. It has not been
run on a GPU yet: its numbers are those of Triton's interpreter, its program is
lowered and read.
"""

from typing import Any

import numpy as np
from keras import backend
from keras import ops

from keras_attention.functional import additive
from keras_attention.functional.custom_gradient import first_order_only
from keras_attention.functional.fused import kernel
from keras_attention.functional.fused import ptx_program
from keras_attention.functional.fused.coverage import ADDITIVE_WIDTHS
from keras_attention.functional.fused.coverage import Request
from keras_attention.functional.fused.program import Program
from keras_attention.functional.fused.program import Tensor
from keras_attention.functional.precision import at_least_float32

SECOND_DERIVATIVE = (
    "`implementation` must be 'dense' where second derivatives are taken. "
    "Received: implementation='fused'."
)


class AdditiveKernel:
    """Fused additive attention of one shape, with its gradient.

    Args:
        request: what is asked.
        sizes: (batch, queries, keys).
        query, key, value: tensors of `attend`, of these sizes.
        vector: of the score, (U,), (1, U) or (N, U).
    """

    def __init__(
        self,
        request: Request,
        sizes: tuple[int, int, int],
        query: Any,
        key: Any,
        value: Any,
        vector: Any,
    ):
        self.request, self.sizes = request, sizes
        self.query, self.key, self.value = query, key, value
        self.vector = vector
        self.heads, self.units = query.shape[2:]
        self.key_heads, self.value_width = value.shape[2:]
        widest = max(self.units, self.value_width)
        self.width = next(w for w in ADDITIVE_WIDTHS if w >= widest)

    def attend(self) -> Any:
        """Returns the output, on JAX, which has its gradient."""

        def forward(*tensors):
            output, logsumexp = self._of(*tensors).forward()
            return output, (output, logsumexp)

        def backward(query, key, value, vector, *rest):
            return self._of(query, key, value, vector).backward(*rest)

        run = first_order_only(forward, backward, error=SECOND_DERIVATIVE)
        vector = ops.convert_to_tensor(self.vector)
        return run(self.query, self.key, self.value, vector)

    def forward(self) -> tuple[Any, Any]:
        """Returns the output and the logsumexp of each row."""
        results = (self._queries, self._statistic)
        output, logsumexp = self._run("forward", self._operands(), results)
        output = output[..., : self.value_width]
        return ops.cast(output, self.query.dtype), logsumexp

    def backward(self, output: Any, logsumexp: Any, upstream: Any) -> tuple:
        """Returns the gradients of query, key, value and vector.

        Args:
            output: what came out, (B, T, N, V).
            logsumexp: (B, N, T).
            upstream: gradient of the output.
        """
        upstream, output = map(at_least_float32, (upstream, output))
        shape = (*self._queries.shape[:3], self.value_width)
        upstream = ops.reshape(upstream, shape)
        delta = ops.sum(upstream * ops.reshape(output, shape), axis=3)
        operands = [
            *self._operands(),
            self._padded(upstream),
            ops.reshape(logsumexp, self._statistic.shape),
            ops.transpose(delta, (0, 2, 1)),  # (B, N, T)
        ]
        query, parts = self._run(
            "query_gradients", operands, (self._queries, self._parts)
        )
        key, value = self._run(
            "key_gradients", operands, (self._keys, self._keys)
        )
        vector = ops.sum(parts, axis=(0, 2))[:, : self.units]  # (N, U)
        return (
            ops.cast(query[..., : self.units], self.query.dtype),
            ops.cast(key[..., : self.units], self.key.dtype),
            ops.cast(value[..., : self.value_width], self.value.dtype),
            ops.cast(additive.sum_to(vector, self.vector), self.vector.dtype),
        )

    def program(
        self, name: str, operands: list, results: tuple[Tensor, ...]
    ) -> Program:
        """Returns the program of one of the three kernels."""
        batch, queries, keys = self.sizes
        of_keys = name == "key_gradients"
        length = keys if of_keys else queries
        heads = self.key_heads if of_keys else self.heads
        name = f"additive_{name}_{self.width}"
        blocks = -(-length // ptx_program.rows_of(name))
        taken = tuple(
            Tensor(tuple(x.shape), str(ops.dtype(x))) for x in operands
        )
        return ptx_program.program(name, (blocks, heads, batch), taken, results)

    def _of(self, query, key, value, vector):
        tensors = query, key, value, vector
        return AdditiveKernel(self.request, self.sizes, *tensors)

    def _run(self, name, operands, results):
        program = self.program(name, operands, results)
        if backend.backend() == "tensorflow":
            return kernel.run(program, operands)
        return _run_on_jax(program, operands)

    def _operands(self):
        """Returns what all three kernels take first."""
        batch, queries, keys = self.sizes
        of_query = (batch, queries, self.heads, self.units)
        of_key = (batch, keys, self.key_heads, self.units)
        of_value = (batch, keys, self.key_heads, self.value_width)
        query, key, value = (
            ops.reshape(at_least_float32(x), shape)
            for x, shape in (
                (self.query, of_query),
                (self.key, of_key),
                (self.value, of_value),
            )
        )
        vector = additive.per_head(at_least_float32(self.vector), self.heads)
        small = additive.is_small(query, key)
        lengths = self.request.both_lengths(batch, queries, keys)
        window = self.request.window_of(queries) or 2**30
        sizes = (queries, keys, self.heads, self.key_heads)
        sizes = np.array((*sizes, self.request.is_causal, window), "int32")
        return [
            self._padded(_prepared(query, small)),
            self._padded(_prepared(key, small)),
            self._padded(value),
            self._padded(vector),
            *lengths,
            ops.reshape(ops.cast(small, "int32"), (1,)),
            ops.convert_to_tensor(sizes),
        ]

    def _padded(self, tensor):
        """Returns (..., WIDTH): units and values of zero add nothing."""
        surplus = self.width - tensor.shape[-1]
        before = [(0, 0)] * (len(tensor.shape) - 1)
        return ops.pad(tensor, [*before, (0, surplus)])

    @property
    def _queries(self):
        batch, queries, _ = self.sizes
        return Tensor((batch, queries, self.heads, self.width), "float32")

    @property
    def _keys(self):
        batch, _, keys = self.sizes
        return Tensor((batch, keys, self.key_heads, self.width), "float32")

    @property
    def _statistic(self):
        batch, queries, _ = self.sizes
        return Tensor((batch, self.heads, queries), "float32")

    @property
    def _parts(self):
        """Of the gradient of the vector, one of each program."""
        batch, queries, _ = self.sizes
        rows = ptx_program.rows_of(f"additive_query_gradients_{self.width}")
        blocks = -(-queries // rows)
        return Tensor((batch, self.heads, blocks, self.width), "float32")


def _prepared(tensor, is_small):
    """Returns exp(2 x), or x where an exponential may overflow."""
    largest = additive.LARGEST
    exponential = ops.exp(2.0 * ops.clip(tensor, -largest, largest))
    return ops.where(is_small, exponential, tensor)


def _run_on_jax(program, operands):
    import jax

    results = [
        jax.ShapeDtypeStruct(result.shape, result.dtype)
        for result in program.results
    ]
    settings = {
        name: np.int32(x) if isinstance(x, int) else x
        for name, x in program.settings.items()
    }
    return jax.ffi.ffi_call(program.target, results)(*operands, **settings)
