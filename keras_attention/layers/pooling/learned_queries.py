"""Learned vectors that attend in place of a sequence."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers.frozen import StaysFrozen


class PoolingLayer(StaysFrozen, keras.layers.Layer):
    """Base of the layers whose output is as long as they say.

    Vectors that are weights ask. The mask of the input is used up: the
    output has another length and no padding.
    """

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        return None


def head_width(inputs_shape: tuple, num_heads: int) -> int:
    """Returns the width of a head where `num_heads` share that of inputs."""
    validation.check_sequence_shape("inputs", inputs_shape)
    validation.check_divisor(
        "num_heads", num_heads, "the input width", inputs_shape[-1]
    )
    return inputs_shape[-1] // num_heads


def for_each_row(vectors: Any, inputs: Any) -> Any:
    """Returns learned vectors (Q, D) as (B, Q, D), the batch of `inputs`."""
    vectors = ops.convert_to_tensor(vectors)
    shape = (ops.shape(inputs)[0], *vectors.shape)
    return ops.broadcast_to(vectors[None], shape)  # (B, Q, D)


def without_single(result: Any, count: int) -> Any:
    """Returns what attention with `count` queries has found.

    Args:
        result: the output (B, Q, D), or a tuple of it and the weights
            (..., Q, S); tensors, or `keras.KerasTensor`s.
        count: number of queries, Q. With one its axis is left out.
    """
    if count > 1:
        return result
    if isinstance(result, tuple):
        output, weights = result
        return _without_axis(output, 1), _without_axis(weights, -2)
    return _without_axis(result, 1)


def pooled_shape(inputs_shape: tuple, count: int, *axes: int) -> tuple:
    """Returns the shape of what `count` queries find; one has no axis."""
    queries = (count,) if count > 1 else ()
    return inputs_shape[0], *queries, *axes


def _without_axis(tensor, axis):
    if not isinstance(tensor, keras.KerasTensor):
        return ops.squeeze(tensor, axis)
    shape = list(tensor.shape)
    del shape[axis]
    return keras.KerasTensor(shape, dtype=tensor.dtype)
