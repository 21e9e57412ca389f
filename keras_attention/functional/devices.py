"""Which device a program is made for: known, or chosen when it is compiled.

What is fast on a processor is slow on a GPU, and the other way round. Where
the device is known while a graph is traced, one way is traced. Where it is
not, the graph holds both and picks when it is placed or compiled.
"""

import contextlib
import contextvars
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from keras import backend

from keras_attention import validation
from keras_attention.functional import compiling
from keras_attention.functional import jax_device
from keras_attention.functional.choice import choose
from keras_attention.functional.fused import bridge

CPU, GPU, ANY = "cpu", "gpu", "any"
DEVICES = ("auto", CPU, GPU, ANY)

_target = contextvars.ContextVar("target", default="auto")


@contextlib.contextmanager
def target_device(name: str) -> Iterator[None]:
    """Within it, attention is traced for this device.

    Args:
        name: "cpu" or "gpu", which need not be at hand; "any" for a program
            that picks when it is placed or compiled, on TensorFlow; "auto"
            looks which devices there are. Results are the same to rounding.

    Raises:
        ValueError: if `name` is none of these.

    Example:

    >>> from keras_attention import functional
    >>> with functional.target_device("gpu"):
    ...     pass  # trace, lower
    """
    token = _target.set(validation.check_choice("name", name, DEVICES))
    try:
        yield
    finally:
        _target.reset(token)


def current_target() -> str:
    """Returns CPU, GPU or ANY, by what is asked and by the devices at hand.

    What `portable()` traces is for a CPU: a server may not compile.
    """
    if compiling.is_portable():
        return CPU
    name = _target.get()
    if backend.backend() == "jax":
        has_gpu = jax_device.default_platform() != "cpu"
        # One program is for one device there, that of the process.
        return (GPU if has_gpu else CPU) if name in ("auto", ANY) else name
    if name != "auto":
        return name
    if backend.backend() != "tensorflow":
        return CPU
    import tensorflow as tf

    return ANY if _may_be_on_gpu(tf) else CPU


def _may_be_on_gpu(tf):
    """Whether the operation made next may be placed on a GPU."""
    if not tf.config.list_logical_devices("GPU"):
        return False
    # XLA has other names for those of other makers, which were never tried.
    if not tf.test.is_built_with_cuda():
        return False
    # That of the `tf.device` in effect; without one a graph names none, and
    # TensorFlow prefers the GPU.
    return "CPU" not in tf.constant(0.0).device


def by_device(
    target: str,
    on_cpu: Callable,
    on_gpu: Callable,
    on_gpu_uncompiled: Callable,
    arguments: tuple,
) -> Any:
    """Returns what the function for the device of the program returns.

    Each returns tensors of the same dtypes; shapes may differ. There is no
    gradient on TensorFlow; see `choose`.

    Args:
        target: CPU, GPU or ANY, from `current_target`.
        on_cpu: function of the arguments.
        on_gpu: the same, for a GPU; compiled by XLA, if there is a choice.
        on_gpu_uncompiled: the same, for a GPU outside XLA.
        arguments: see `choose`.
    """
    if target != ANY:
        return (on_cpu if target == CPU else on_gpu)(*arguments)
    import tensorflow as tf

    def compiled(*arguments):
        if not bridge.is_available():
            return on_cpu(*arguments)
        return choose(bridge.platform_index(), [on_cpu, on_gpu], arguments)

    ways = [on_cpu, on_gpu_uncompiled, compiled]
    return choose(_placed(tf), ways, arguments)


def if_compiled(
    compiled: Callable, uncompiled: Callable, arguments: tuple
) -> Any:
    """Returns what one of two functions returns.

    On TensorFlow the graph holds both, and XLA picks when it compiles. Each
    returns tensors of the same dtypes.

    Args:
        compiled: function of the arguments, which only XLA can run.
        uncompiled: the same, for where XLA may not compile.
        arguments: see `choose`.
    """
    if backend.backend() == "jax":
        return compiled(*arguments)
    if compiling.is_portable() or backend.backend() != "tensorflow":
        return uncompiled(*arguments)
    import tensorflow as tf

    ways = [uncompiled, uncompiled, compiled]
    return choose(_placed(tf), ways, arguments)


def _placed(tf):
    """Returns 0 where the operation is placed on a CPU, 1 on a GPU.

    XLA takes the last branch of a choice by it. A server does not compile what
    it does not run, so that the graph stays portable.
    """
    return tf.raw_ops.DeviceIndex(device_names=["CPU", "GPU"])
