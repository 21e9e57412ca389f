"""One fused attention of known shape, on the backend in use."""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from keras import backend
from keras import ops

from keras_attention.functional import jax_device
from keras_attention.functional.fused import bridge
from keras_attention.functional.fused import cudnn
from keras_attention.functional.fused.coverage import Request
from keras_attention.functional.fused.program import Program
from keras_attention.functional.padding import keep

# Compute capability of the first cards that cuDNN attends on, and that our own
# kernels are made for: Ampere.
OLDEST = (8, 0)
# Minus infinity, to the kernel: it subtracts such numbers (as JAX has them).
_LOWEST = {"float16": -(2.0**14), "bfloat16": -(2.0**40)}


def is_available() -> bool:
    """Whether this backend can hold a fused kernel for an NVIDIA GPU.

    Where cards are at hand all of them must run it; without any, a program
    for another machine may hold it.
    """
    if backend.backend() == "tensorflow":
        return bridge.knows_the_calls() and _are_new_enough()
    if backend.backend() == "jax":
        if jax_device.default_platform() == "cpu":
            return False
        import jax

        platform = jax.devices()[0].client.platform_version.lower()
        return "cuda" in platform and _are_new_enough()
    return False


@functools.cache
def _are_new_enough():
    return all(capability >= OLDEST for capability in _capabilities())


def _capabilities():
    """Returns the compute capability of each card at hand that has one."""
    if backend.backend() == "jax":
        import jax

        versions = (card.compute_capability for card in jax.local_devices())
        return [tuple(map(int, version.split("."))) for version in versions]
    import tensorflow as tf

    cards = tf.config.list_physical_devices("GPU")
    details = map(tf.config.experimental.get_device_details, cards)
    known = (each.get("compute_capability") for each in details)
    return [capability for capability in known if capability]


class Kernel:
    """Fused attention of one shape, with its gradient.

    Args:
        request: what is asked.
        sizes: (batch, queries, keys).
        query, key, value: tensors of `attend`, of these sizes.
        bias: tensor (batch or 1, num_heads or 1, queries, keys), or None.
    """

    def __init__(
        self,
        request: Request,
        sizes: tuple[int, int, int],
        query: Any,
        key: Any,
        value: Any,
        bias: Any = None,
    ):
        self.request, self.sizes = request, sizes
        self.dtype = str(ops.dtype(query))
        batch, queries, keys = sizes
        heads, width = query.shape[2:]
        self.problem = cudnn.Problem(
            *(batch, queries, keys, heads, key.shape[2], width, self.dtype),
            scale=request.scale,
            is_causal=request.is_causal,
            window=request.window_of(queries),
            has_lengths=request.has_lengths,
            bias_shape=None if bias is None else tuple(bias.shape),
        )
        self.query = _of_shape(query, self.problem.query.shape)
        self.key = _of_shape(key, self.problem.key.shape)
        self.value = _of_shape(value, self.problem.key.shape)
        self.bias = [] if bias is None else [self._finite(bias)]
        self.lengths = []
        self.is_real = None  # (B, S, 1, 1)
        self.is_seen = self._rows_seen(bias)

    def attend(self) -> Any:
        """Returns the output, on JAX, which has its gradient."""
        import jax

        window, lengths = self.problem.window, self.lengths or (None, None)
        # So the gradients are zero there, too, whatever cuDNN finds.
        query = keep(self.query, self.is_seen)
        key, value = (keep(x, self.is_real) for x in (self.key, self.value))
        output = jax.nn.dot_product_attention(
            *(query, key, value, *self.bias),
            scale=self.request.scale,
            is_causal=self.request.is_causal,
            query_seq_lengths=lengths[0],
            key_value_seq_lengths=lengths[1],
            local_window_size=None if window is None else (window - 1, 0),
            implementation="cudnn",
        )
        return keep(output, self.is_seen)

    def forward(self) -> tuple[Any, Any]:
        """Returns the output and the logsumexp of each row, on TensorFlow."""
        operands = (self.query, self.key, self.value, *self.bias)
        output, logsumexp = run(
            cudnn.forward(self.problem), (*operands, *self.lengths)
        )
        return keep(output, self.is_seen), logsumexp

    def backward(self, output: Any, logsumexp: Any, upstream: Any) -> tuple:
        """Returns the gradients of query, key, value, and of a bias.

        Args:
            output: what came out, (B, T, N, V).
            logsumexp: (B, N, T).
            upstream: gradient of the output.
        """
        shape = self.problem.query.shape
        # A row that saw nothing adds nothing to the gradient of a key.
        upstream = keep(_of_shape(upstream, shape), self.is_seen)
        operands = (
            *(self.query, self.key, self.value),
            _of_shape(logsumexp, self.problem.logsumexp.shape),
            *(upstream, *self.bias, _of_shape(output, shape), *self.lengths),
        )
        query, key, value, *bias = run(cudnn.backward(self.problem), operands)
        # Past the lengths nothing says that cuDNN writes.
        key, value = (keep(x, self.is_real) for x in (key, value))
        return keep(query, self.is_seen), key, value, *bias

    def _rows_seen(self, bias):
        """Returns which queries see a key, or None where all do.

        Sets `is_real`, of keys, and `lengths` on the way: at least one of
        each, so that no row of the kernel is empty; what it then finds there
        is replaced by zero.
        """
        batch, queries, keys = self.sizes
        is_seen = None
        if self.request.has_lengths:
            seen, real = self.request.both_lengths(batch, queries, keys)
            self.lengths = [ops.maximum(seen, 1), ops.maximum(real, 1)]
            is_seen = ops.arange(queries, dtype="int32") < seen[:, None]
            is_seen = is_seen[:, :, None, None]  # (B, T, 1, 1)
            is_real = ops.arange(keys, dtype="int32") < real[:, None]
            self.is_real = is_real[:, :, None, None]  # (B, S, 1, 1)
        if bias is None:
            return is_seen
        # A key that the bias hides and one that the mask hides: both.
        visible = ops.isfinite(bias)
        if self.request.is_causal:
            distance = ops.arange(queries)[:, None] - ops.arange(keys)  # (T, S)
            window = self.problem.window or queries
            near = ops.logical_and(distance >= 0, distance < window)
            visible = ops.logical_and(visible, near)
        if self.lengths:
            inside = ops.arange(keys, dtype="int32") < self.lengths[1][:, None]
            visible = ops.logical_and(visible, inside[:, None, None, :])
        left = ops.transpose(ops.any(visible, axis=-1), (0, 2, 1))  # (B, T, N)
        left = left[..., None]
        return left if is_seen is None else ops.logical_and(is_seen, left)

    def _finite(self, bias):
        bias = ops.maximum(ops.cast(bias, "float32"), _LOWEST[self.dtype])
        highest = float(np.finfo("float16").max)
        if self.dtype == "float16":
            bias = ops.minimum(bias, highest)
        return ops.cast(bias, self.dtype)


def _of_shape(tensor, shape):
    """Returns the tensor, whose shape is known to be this where it is used."""
    return (
        tensor if tuple(tensor.shape) == shape else ops.reshape(tensor, shape)
    )


def run(program: Program, operands: Iterable) -> list:
    """Returns the results of a program, on TensorFlow."""
    results = bridge.call_module(
        program.text,
        list(operands),
        [result.shape for result in program.results],
        [result.dtype for result in program.results],
    )
    # A sum of one, which XLA leaves out: what looks through a switch for
    # constants (XLA's value inference) ends the process where it meets the
    # tuple of such a call.
    return [ops.sum(result[None], axis=0) for result in results]
