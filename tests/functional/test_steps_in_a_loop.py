"""The loop over steps, where there may be none."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.functional.scan import scan


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("compiled", [False, True])
def test_no_steps_of_unknown_shapes(compiled):
    """A graph knows neither the length nor the batch; gradients, too."""
    import tensorflow as tf

    def step(total, now):
        total = total + now
        return total, total

    def sums(inputs):
        like = keras.KerasTensor((inputs.shape[1], 3), "float32")
        first = ops.ones(ops.shape(inputs)[1:])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            last, outputs = scan(step, first, inputs, like)
            loss = ops.sum(outputs)
        return last, outputs, tape.gradient(loss, inputs)

    signature = [tf.TensorSpec((None, None, 3))]
    sums = tf.function(sums, signature, jit_compile=compiled)
    for length in (0, 1, 5):
        inputs = np.random.default_rng(3).normal(size=(length, 2, 3))
        last, outputs, gradient = sums(inputs.astype("float32"))
        expected = 1 + np.cumsum(inputs, axis=0)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        assert outputs.shape == gradient.shape == inputs.shape
        end = expected[-1] if length else np.ones((2, 3))
        np.testing.assert_allclose(last, end, atol=1e-6)
