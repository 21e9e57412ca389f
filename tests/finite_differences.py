"""Gradients, and the finite differences that they are compared with."""

import keras
import numpy as np
from keras import ops


def derivative_by_differences(function, array, upstream, size=1e-6):
    """Gradient of sum(function(array) * upstream), all in float64 NumPy."""
    result = np.zeros_like(array)
    for place in np.ndindex(array.shape):
        ends = []
        for sign in (1, -1):
            moved = array.copy()
            moved[place] += sign * size
            ends.append((function(moved) * upstream).sum())
        result[place] = (ends[0] - ends[1]) / (2 * size)
    return result


def gradients(function, arrays, upstream):
    """Gradients of sum(function(*arrays) * upstream); float32 on JAX."""
    if keras.backend.backend() == "jax":
        import jax

        arrays = [np.float32(array) for array in arrays]
        upstream = np.float32(upstream)

        def loss(*arrays):
            return ops.sum(function(*arrays) * upstream)

        return jax.grad(loss, tuple(range(len(arrays))))(*arrays)
    import tensorflow as tf

    tensors = [tf.convert_to_tensor(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = tf.reduce_sum(function(*tensors) * upstream)
    return tape.gradient(result, tensors)
