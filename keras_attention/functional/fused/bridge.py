"""TensorFlow's own bridge to XLA: a program as text, inside a graph.

TensorFlow gives it no public name, and this package imports private modules
nowhere else. There is no other way to a fused kernel from TensorFlow: what
StableHLO says XLA runs, its calls of cuDNN included. It is looked for once;
where a TensorFlow lacks it nothing is fused.
"""

import functools
from typing import Any

# The bridge translates text of this version and of later ones; 4 to 10 ran.
VERSION = 9
PLATFORMS = ("CPU", "CUDA")
# Older ones stop at fields of the settings that they do not know.
OLDEST_TENSORFLOW = (2, 20)

_PLATFORM_INDEX = """
module @platform attributes {jax.uses_shape_polymorphism = true} {
  func.func public @main(%platform: tensor<i32>) -> tensor<i32> {
    return %platform : tensor<i32>
  }
}
"""


@functools.cache
def _bridge():
    try:
        from tensorflow.compiler.tf2xla.python import xla
    except ImportError:
        return None
    return xla if hasattr(xla, "call_module") else None


def is_available() -> bool:
    """Whether this TensorFlow has the bridge."""
    return _bridge() is not None


@functools.cache
def knows_the_calls() -> bool:
    """Whether the XLA of this TensorFlow reads the settings of our calls."""
    import tensorflow as tf

    version = tuple(map(int, tf.version.VERSION.split(".")[:2]))
    return is_available() and version >= OLDEST_TENSORFLOW


def call_module(
    text: str,
    operands: list,
    shapes: list[tuple],
    dtypes: list[str],
) -> list:
    """Returns the results of a StableHLO module.

    Args:
        text: the module. The first argument of its `main` is the index in
            PLATFORMS of the device that it is compiled for.
        operands: the tensors that `main` takes after it.
        shapes: static shape of each result.
        dtypes: dtype of each result.
    """
    return _bridge().call_module(
        operands,
        version=VERSION,
        module=text,
        Sout=shapes,
        Tout=dtypes,
        platforms=list(PLATFORMS),
        disabled_checks=[],
    )


def platform_index() -> Any:
    """Returns the index in PLATFORMS of what XLA compiles for, an integer.

    A constant while it compiles, so that the branches of a switch that are
    for another device are no part of the program.
    """
    (index,) = call_module(_PLATFORM_INDEX, [], [()], ["int32"])
    return index
