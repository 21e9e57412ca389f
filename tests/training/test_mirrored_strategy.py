"""Under MirroredStrategy, which refuses to compile, attention is portable."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_attention import MultiHeadAttention
from keras_attention import functional
from keras_attention.functional import attention

ROWS, LENGTH, IDS = 6, 8, 13


def batches():
    """Three batches, of lengths that a graph does not know."""
    generator = np.random.default_rng(7)
    ids = generator.integers(1, IDS, size=(3, ROWS, LENGTH)).astype("int32")
    ids[:, 1, 5:] = ids[:, 4] = 0
    unknown = tf.TensorSpec((None, None), tf.int32)
    dataset = tf.data.Dataset.from_generator(
        lambda: zip(ids, ids, strict=True), output_signature=(unknown, unknown)
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(len(ids)))


def fitted(scope, target):
    """Returns the losses and the weights of a model that was trained."""
    with (
        scope,
        functional.target_device(target),
        functional.declared_batches([(ROWS, LENGTH)], padding_is_last=True),
    ):
        inputs = keras.Input((None,), dtype="int32")
        x = keras.layers.Embedding(IDS, 16, mask_zero=True)(inputs)
        x = MultiHeadAttention(2, 8, dtype="mixed_bfloat16")(x, x)
        model = keras.Model(inputs, keras.layers.Dense(IDS)(x))
        initial = np.random.default_rng(5)
        model.set_weights(
            [initial.normal(0, 0.3, w.shape) for w in model.weights]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.5), loss)
        assert not model.jit_compile or target == "cpu"
        history = model.fit(batches(), verbose=0, shuffle=False).history
    return history["loss"], model.get_weights()


@pytest.mark.exhaustive
def test_fit_under_mirrored_strategy_is_that_of_a_processor(monkeypatch):
    monkeypatch.setattr(attention, "SMALLEST_FUSED", 1)
    asked, fused = [], attention.attend_fused

    def spy(arguments, plan, *rest):
        asked.append(plan.shapes)
        return fused(arguments, plan, *rest)

    monkeypatch.setattr(attention, "attend_fused", spy)
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    found = fitted(strategy.scope(), "any")
    assert set(asked) == {((ROWS, LENGTH, LENGTH),)}
    asked.clear()
    wanted = fitted(contextlib.nullcontext(), "cpu")
    assert not asked
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    for one, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
