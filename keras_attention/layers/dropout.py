"""Dropout with counter-based bits, for the residual paths of the blocks."""

import zlib
from typing import Any

import keras
from keras import ops

from keras_attention import functional
from keras_attention.functional.replicas import seed_of_replica


@keras.saving.register_keras_serializable(package="keras_attention")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` with hashed bits in place of drawn ones.

    Same arguments and same behaviour, other random numbers: XLA on CPU takes
    many times longer for a Philox draw than for a hash, and the bits here are
    the same eager, in a graph and compiled (see `functional.Dropout`).

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import Dropout
    >>> Dropout(0.5, seed=7)(np.ones((2, 3)), training=True).shape
    TensorShape([2, 3])
    """

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        if not (training and self.rate > 0):
            return inputs
        if self.rate == 1:
            return ops.zeros_like(inputs)
        seed = seed_of_replica(self.seed_generator.next())
        dropout = functional.Dropout(self.rate, seed)
        if self.noise_shape is None:
            return dropout.apply(inputs)
        sizes = zip(self.noise_shape, ops.shape(inputs), strict=True)
        shape = [size if fixed is None else fixed for fixed, size in sizes]
        return inputs * dropout.apply(ops.ones(shape, dtype=inputs.dtype))


def child_seed(seed: int | None, name: str) -> int | None:
    """Returns the seed of a sublayer; sublayers must not share a mask."""
    if seed is None:
        return None
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF
