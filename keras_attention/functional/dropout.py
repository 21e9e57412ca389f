"""Counter-based random bits: the same on every path, in any order.

A bit depends on its coordinates (batch, head, query, key) and on the seed and
on nothing else, so a block of the score matrix draws what the whole matrix
would have drawn there, in eager, graph, XLA and JAX alike. The hash is the
32-bit finaliser of Murmur 3, in uint32 arithmetic that wraps.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.functional import compiling

# Numbers to drop, the batch left out, from which a program of its own pays.
LEAST_COMPILED = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Dropout:
    """Drops attention weights with probability `rate`.

    Args:
        rate: share of weights set to zero, 0 <= rate < 1. The weights kept
            are scaled by 1 / (1 - rate).
        seed: integer, or integer tensor of any shape (all of it is hashed),
            such as `keras.random.SeedGenerator.next()`.

    Raises:
        ValueError: if `rate` is out of range.

    Example:

    >>> import keras
    >>> from keras_attention.functional import Dropout
    >>> bits = Dropout(rate=0.5, seed=7).keep((2, 3, 5, 7))
    >>> bits.shape
    TensorShape([2, 3, 5, 7])
    """

    rate: float
    seed: Any

    def __post_init__(self):
        # A frozen dataclass sets its own fields by way of `object`.
        rate = validation.check_rate("rate", self.rate)
        object.__setattr__(self, "rate", rate)

    def with_seed_tensor(self) -> "Dropout":
        """Returns the same dropout, whose seed is a tensor.

        A program is compiled once for all seeds, not once for each.
        """
        return Dropout(self.rate, _seed_words(self.seed))

    def keep(self, shape: tuple, starts: Sequence | None = None) -> Any:
        """Returns the boolean keep bits of a block of the score matrix.

        Args:
            shape: sizes of the block, one for each coordinate.
            starts: first index of the block along each coordinate; integers
                or scalar tensors. Defaults to zeros.
        """
        starts = starts or (0,) * len(shape)
        return self.keep_at(*coordinates(shape, starts))

    def keep_at(self, *indices: Any) -> Any:
        """Returns the keep bits at these coordinates, as in `random_bits`."""
        threshold = min(round(self.rate * 2**32), 2**32 - 1)
        return ops.greater_equal(self.bits(*indices), _constant(threshold))

    def bits(self, *indices: Any) -> Any:
        """Returns the uint32 bits at these coordinates, whatever the rate."""
        return random_bits(self.seed, *indices)

    def apply(self, tensor: Any) -> Any:
        """Returns `tensor` with entries dropped and the others scaled up."""
        if not self.rate:
            return tensor
        dropout = self.with_seed_tensor()

        def run(tensor):
            def gradient(upstream):
                # Hashed again: bits kept since the forward pass would be
                # the largest tensors of a training step.
                return dropout.apply(upstream)

            return _drop_once(dropout, tensor, None), gradient

        return ops.custom_gradient(run)(tensor)

    def apply_at(self, tensor: Any, *indices: Any) -> Any:
        """Returns what `apply` returns at other places than the first.

        It has no gradient of its own.

        Args:
            tensor: tensor (..., ...), with one axis for each coordinate.
            *indices: integer tensors that broadcast to its shape: the
                coordinates of each entry, as in `random_bits`.
        """
        if not self.rate:
            return tensor
        return _drop_once(self.with_seed_tensor(), tensor, indices)


def _drop_once(dropout, tensor, indices):
    """Drops by a program that was compiled, or at least traced, before."""
    if _repays_compiling(tensor.shape):
        return _drop_compiled(dropout, tensor, indices)
    dropped = _drop_traced(dropout, tensor, indices)
    if hasattr(dropped, "set_shape"):  # which one trace for all has lost
        dropped.set_shape(tensor.shape)
    return dropped


def _repays_compiling(shape):
    """Whether a program fuses enough to repay its compilation.

    Lengths not known when a graph is traced would compile one for each.
    """
    known = [size for size in shape if size is not None]
    only_batch_unknown = len(known) == len(shape) or (
        shape[0] is None and len(known) == len(shape) - 1
    )
    return only_batch_unknown and math.prod(known) >= LEAST_COMPILED


def _drop(dropout, tensor, indices):
    if indices is None:
        indices = coordinates(ops.shape(tensor), (0,) * len(tensor.shape))
    keep = dropout.keep_at(*indices)
    kept = tensor * (1.0 / (1.0 - dropout.rate))
    return ops.where(keep, kept, ops.zeros_like(tensor))


# A hash is a dozen operations, of which each outside XLA is a pass over memory.
_drop_compiled = compiling.separately_compiled(_drop)


def _unknown_sizes(position, shape):
    """Sizes tell no programs apart, except that of the seed."""
    return shape if position == 0 else (None,) * len(shape)


# The hash is some sixty operations, which take 0.2 s to trace with gradients.
_drop_traced = compiling.traced_once(_unknown_sizes)(_drop)


def coordinates(shape: tuple, starts: Sequence) -> list:
    """Returns one index tensor per axis, each shaped to broadcast."""
    rank = len(shape)
    indices = []
    for axis, (size, start) in enumerate(zip(shape, starts, strict=True)):
        index = start + ops.arange(size, dtype="int32")
        ones = (1,) * (rank - axis - 1)
        indices.append(ops.reshape(index, (-1, *ones)))
    return indices


def random_bits(seed: Any, *indices: Any) -> Any:
    """Returns uint32 bits that depend on the seed and the indices alone.

    Args:
        seed: integer or integer tensor; every entry is mixed in.
        *indices: integer tensors that broadcast together, the coordinates of
            each number drawn. Order matters.

    Returns:
        uint32 tensor of the broadcast shape.
    """
    state = _seed_state(seed)
    for index in indices:
        hashed = _mix(ops.cast(index, "uint32") + _golden())
        state = _mix(ops.bitwise_xor(hashed, state))
    return state


def random_uniform(seed: Any, *indices: Any) -> Any:
    """Returns float32 numbers in (0, 1), drawn as `random_bits` are."""
    bits = ops.right_shift(random_bits(seed, *indices), _constant(9))
    # 23 bits, centred in their cell, so that neither 0 nor 1 comes out.
    return (ops.cast(ops.cast(bits, "int32"), "float32") + 0.5) / 2.0**23


def random_normal(seed: Any, *indices: Any) -> Any:
    """Returns float32 numbers of the standard normal distribution.

    Drawn as `random_bits` are; none is further from 0 than 5.4.
    """
    uniform = random_uniform(seed, *indices)
    return math.sqrt(2) * ops.erfinv(2 * uniform - 1)


def _seed_words(seed):
    if isinstance(seed, (int, np.integer)):
        seed = int(seed)
        low, high = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
        seed = np.array([low, high], dtype="uint32")
    return ops.reshape(ops.cast(seed, "uint32"), (-1,))


def _seed_state(seed):
    words = _seed_words(seed)
    state = _constant(0)
    for position in range(words.shape[0]):
        state = _mix(ops.bitwise_xor(state, words[position]) + _golden())
    return state


def _mix(bits):
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        shifted = ops.right_shift(bits, _constant(shift))
        bits = ops.bitwise_xor(bits, shifted) * _constant(factor)
    return ops.bitwise_xor(bits, ops.right_shift(bits, _constant(16)))


def _golden():
    # 2**32 over the golden ratio: keeps a zero from hashing to zero.
    return _constant(0x9E3779B9)


def _constant(value):
    # By way of NumPy: a Python integer above 2**31 overflows on JAX.
    return ops.convert_to_tensor(np.uint32(value))
