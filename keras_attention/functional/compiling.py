"""Kernels that are compiled by themselves, and the switch that forbids it."""

import contextlib
import contextvars
import dataclasses
import functools

import numpy as np
from keras import backend
from keras import ops

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
    """Compiles a function by itself, on TensorFlow.

    One program serves every call whose arguments have the same structure,
    numbers and shapes, in whatever layer, graph or eager step it stands. It
    has no gradient: whoever calls it writes that by hand.

    Args:
        kernel: function of tensors, numbers, None, and tuples and frozen
            dataclasses of them. Called with anything else in them, such as a
            mask of a caller's own making, it runs as it is.
    """
    programs = {}

    @functools.wraps(kernel)
    def call(*arguments):
        if _is_portable.get() or backend.backend() != "tensorflow":
            return kernel(*arguments)
        tensors = []
        try:
            structure = _take_apart(arguments, tensors)
        except _Opaque:
            return kernel(*arguments)
        if structure not in programs:
            programs[structure] = _compile(kernel, structure)
        return programs[structure](*tensors)

    return call


def _compile(kernel, structure):
    import tensorflow as tf

    def run(*tensors):
        return kernel(*_put_together(structure, iter(tensors)))

    return tf.function(run, jit_compile=True, autograph=False)


class _Opaque(Exception):
    """Something that is neither a tensor, a number nor made of them."""


_PLAIN = (bool, int, float, str)
_ARRAYS = (np.ndarray, np.number, list)
# What stands for a tensor in a structure.
_TENSOR = "tensor"


def _take_apart(value, tensors):
    """Returns the structure of `value`, hashable; adds to its `tensors`."""
    if value is None:
        return type(None), None
    for kind in _PLAIN:
        if isinstance(value, kind):
            return kind, kind(value)  # a NumPy float64 is a float
    if isinstance(value, tuple) or dataclasses.is_dataclass(value):
        parts = (_take_apart(part, tensors) for part in _parts(value))
        return type(value), *parts
    if not (ops.is_tensor(value) or isinstance(value, _ARRAYS)):
        raise _Opaque
    # A tape that recorded a program would compile a second one for it, whose
    # loops keep every block.
    tensors.append(ops.stop_gradient(ops.convert_to_tensor(value)))
    return _TENSOR


def _parts(value):
    if isinstance(value, tuple):
        return value
    return tuple(getattr(value, name) for name in _names(value))


def _names(dataclass):
    return [f.name for f in dataclasses.fields(dataclass) if f.init]


def _put_together(structure, tensors):
    """Returns the value that `_take_apart` made into `structure`."""
    if structure == _TENSOR:
        return next(tensors)
    kind, *parts = structure
    if kind in (type(None), *_PLAIN):
        return parts[0]
    values = [_put_together(part, tensors) for part in parts]
    if kind is tuple:
        return tuple(values)
    if issubclass(kind, tuple):  # a NamedTuple
        return kind(*values)
    return kind(**dict(zip(_names(kind), values, strict=True)))
