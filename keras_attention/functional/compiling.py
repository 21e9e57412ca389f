"""Kernels that are compiled by themselves, and the switch that forbids it."""

import contextlib
import contextvars
import functools

from keras import backend

_is_portable = contextvars.ContextVar("is_portable", default=False)


@contextlib.contextmanager
def portable():
    """Within it, no kernel is compiled by itself.

    On TensorFlow, outside XLA, kernels whose many small steps only pay when
    fused are compiled by themselves. A server may refuse such a graph, so
    whoever traces a function to be served does it inside `portable()`. The
    results are the same to rounding.

    Example:

    >>> from keras_attention.functional import portable
    >>> with portable():
    ...     pass  # trace, export
    """
    token = _is_portable.set(True)
    try:
        yield
    finally:
        _is_portable.reset(token)


def compiled(kernel):
    """Compiles a function of tensors by itself, on TensorFlow."""

    @functools.cache
    def compile_once():
        import tensorflow as tf

        return tf.function(kernel, jit_compile=True, autograph=False)

    @functools.wraps(kernel)
    def call(*tensors):
        if _is_portable.get() or backend.backend() != "tensorflow":
            return kernel(*tensors)
        return compile_once()(*tensors)

    return call
