"""Kernels that are traced once, or compiled by themselves, on TensorFlow.

One program serves every call whose arguments have the same structure, in
whatever layer, graph or eager step it stands. It has no gradient: whoever
calls it writes that by hand.
"""

import collections
import contextlib
import contextvars
import dataclasses
import functools
import threading
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import backend
from keras import ops

# Programs that a kernel keeps; the one that was not called for longest goes.
MOST_PROGRAMS = 128

_is_portable = contextvars.ContextVar("is_portable", default=False)
_is_forward_only = contextvars.ContextVar("is_forward_only", default=False)


@contextlib.contextmanager
def portable() -> Iterator[None]:
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


def is_portable() -> bool:
    """True inside `portable()`."""
    return _is_portable.get()


@contextlib.contextmanager
def forward_only() -> Iterator[None]:
    """Within it, no gradient is written by hand, and none may be taken.

    Whoever loads a SavedModel is warned of each such gradient in its graphs.
    """
    token = _is_forward_only.set(True)
    try:
        yield
    finally:
        _is_forward_only.reset(token)


def is_forward_only() -> bool:
    """True inside `forward_only()`."""
    return _is_forward_only.get()


def separately_compiled(kernel: Callable) -> Callable:
    """Compiles a function separately with XLA, on TensorFlow.

    Args:
        kernel: function of tensors, numbers, None, and tuples and frozen
            dataclasses of them. Called with anything else in them, such as a
            mask of a caller's own making, it runs as it is. An integer tells
            programs apart, except in a field that its class names in
            `tensor_fields`.
    """
    programs = _Programs(kernel, jit_compile=True)

    @functools.wraps(kernel)
    def call(*arguments):
        if is_portable() or backend.backend() != "tensorflow":
            return kernel(*arguments)
        return programs(arguments, lambda position, shape: shape)

    return call


def traced_once(relax: Callable) -> Callable:
    """Returns a decorator: a function is traced once for many shapes.

    Where a graph is traced the function is one operation, a call of what was
    traced before. Arguments as of `separately_compiled`.

    Args:
        relax: relax(position, shape) returns the shape of an argument with
            None for each size that is not to tell programs apart.
    """

    def decorate(kernel):
        programs = _Programs(kernel, jit_compile=False)

        @functools.wraps(kernel)
        def call(*arguments):
            if backend.backend() != "tensorflow":
                return kernel(*arguments)
            return programs(arguments, relax)

        return call

    return decorate


class _Programs:
    """The programs of one kernel, by the structure of its arguments."""

    def __init__(self, kernel, jit_compile):
        self.kernel = kernel
        self.jit_compile = jit_compile
        self.programs = collections.OrderedDict()
        self.lock = threading.Lock()

    def __call__(self, arguments, relax):
        tensors = []
        try:
            structure = take_apart(arguments, tensors)
        except Opaque:
            return self.kernel(*arguments)
        signature = tuple(
            (tensor.dtype, relax(position, tuple(tensor.shape)))
            for position, tensor in enumerate(tensors)
        )
        key = structure, signature, is_portable(), is_forward_only()
        with self.lock:  # threads of a server may share a kernel
            program = self.programs.get(key)
            if program is None:
                program = self.programs[key] = self._trace(structure, signature)
            self.programs.move_to_end(key)
            if len(self.programs) > MOST_PROGRAMS:
                self.programs.popitem(last=False)
        return program(*tensors)

    def _trace(self, structure, signature):
        import tensorflow as tf

        def run(*tensors):
            return self.kernel(*put_together(structure, iter(tensors)))

        return tf.function(
            run,
            input_signature=[tf.TensorSpec(s, dtype) for dtype, s in signature],
            jit_compile=self.jit_compile,
            autograph=False,
            # Written out at each call, it would be optimized as often.
            experimental_attributes={"_noinline": not self.jit_compile},
        )


class Opaque(Exception):
    """Something that is neither a tensor, a number nor made of them."""


_PLAIN = (bool, int, float, str)
_ARRAYS = (np.ndarray, np.number, list)
# What stands for a tensor in a structure.
_TENSOR = "tensor"


def take_apart(value: Any, tensors: list) -> Any:
    """Returns the structure of `value`, hashable; appends to `tensors`.

    Args:
        value: a tensor, array, number, string, None, or a tuple or frozen
            dataclass of them. An integer is part of the structure, except in
            a field that its class names in `tensor_fields`.
        tensors: list to which the tensors of `value` are appended.
    """
    if value is None:
        return type(None), None
    for kind in _PLAIN:
        if isinstance(value, kind):
            return kind, kind(value)  # a NumPy float64 is a float
    if isinstance(value, tuple):
        return type(value), *(take_apart(part, tensors) for part in value)
    if dataclasses.is_dataclass(value):
        as_tensors = getattr(value, "tensor_fields", ())
        parts = []
        for name in _names(value):
            part = getattr(value, name)
            if name in as_tensors and isinstance(part, int):
                part = np.int32(part)
            parts.append(take_apart(part, tensors))
        return type(value), *parts
    if not (ops.is_tensor(value) or isinstance(value, _ARRAYS)):
        raise Opaque
    # A tape that recorded a program would compile a second one for it, whose
    # loops keep every block.
    tensors.append(ops.stop_gradient(ops.convert_to_tensor(value)))
    return _TENSOR


def _names(dataclass):
    return [f.name for f in dataclasses.fields(dataclass) if f.init]


def put_together(structure: Any, tensors: Iterator) -> Any:
    """Returns the value that `take_apart` made into `structure`."""
    if structure == _TENSOR:
        return next(tensors)
    kind, *parts = structure
    if kind in (type(None), *_PLAIN):
        return parts[0]
    values = [put_together(part, tensors) for part in parts]
    if kind is tuple:
        return tuple(values)
    if issubclass(kind, tuple):  # a NamedTuple
        return kind(*values)
    return kind(**dict(zip(_names(kind), values, strict=True)))
