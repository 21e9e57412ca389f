"""Layers that share a mechanism, a score or a cell still do when loaded."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import migration


def poolings():
    attention = ka.AdditiveAttention(3)
    return [ka.AttentionPooling(attention=attention) for _ in range(2)]


def composed():
    score = ka.AdditiveAttention(3)
    return [ka.MonotonicAttention(score=score) for _ in range(2)]


def recurrent():
    cell = ka.AttentionCell(keras.layers.GRUCell(5), ka.AdditiveAttention(3))
    return [ka.AttentionRNN(cell) for _ in range(2)]


def mechanisms():
    attention = ka.AdditiveAttention(3)
    return [
        ka.AttentionRNN(ka.AttentionCell(keras.layers.GRUCell(5), attention))
        for _ in range(2)
    ]


def migrated():
    attention = ka.AdditiveAttention(3)
    return [migration.CyberZHGAttention(attention) for _ in range(2)]


def pooled_as_elsewhere():
    attention = ka.AdditiveAttention(3)
    return [migration.ManyToOneAttention(4, attention) for _ in range(2)]


OF_ONE = (poolings, migrated, pooled_as_elsewhere)


@pytest.mark.parametrize(
    "make",
    [poolings, composed, recurrent, mechanisms, migrated, pooled_as_elsewhere],
)
def test_what_layers_share_is_shared_when_loaded(make, tmp_path):
    inputs = [keras.Input((None, 8)) for _ in range(2)]
    given = [(x,) if make in OF_ONE else (x, x) for x in inputs]
    pairs = zip(make(), given, strict=True)
    model = keras.Model(inputs, [layer(*xs) for layer, xs in pairs])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights)
    draw = np.random.default_rng(3).normal
    arrays = [draw(size=(2, n, 8)).astype("float32") for n in (5, 7)]
    for found, expected in zip(loaded(arrays), model(arrays), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
