"""`trainable=False`: nothing of a frozen layer trains, new or loaded."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import layers
from keras_attention import migration
from keras_attention.models import EnsembleEncoder

SEQUENCE, IDS = (2, 5, 8), (2, 5)
FROZEN = {"trainable": False}
MAKERS = {
    "multi head": lambda: ka.MultiHeadAttention(
        2, 4, position=ka.RelativePositionBias(2), **FROZEN
    ),
    "latent": lambda: ka.LatentAttention(2, 4, latent_dim=6, **FROZEN),
    "linear": lambda: ka.LinearAttention(2, 4, **FROZEN),
    "pooled": lambda: ka.PooledAttention(2, 4, 2, **FROZEN),
    "composed": lambda: ka.MonotonicAttention(3, **FROZEN),
    "self-attention": lambda: ka.SelfAttention(3, **FROZEN),
    "block": lambda: ka.TransformerEncoderBlock(2, 8, **FROZEN),
    "stack": lambda: ka.TransformerStack(1, 2, 8, **FROZEN),
    "pooling": lambda: ka.AttentionPooling(2, 2, **FROZEN),
    "set": lambda: layers.SetAttentionBlock(2, 8, **FROZEN),
    "recurrent": lambda: ka.AttentionRNN(
        ka.AttentionCell(keras.layers.GRUCell(3), ka.AdditiveAttention(4)),
        **FROZEN,
    ),
    "encoder": lambda: ka.TransformerEncoder(
        11, 8, num_heads=2, num_layers=1, **FROZEN
    ),
    "ensemble": lambda: EnsembleEncoder(
        [ka.RNNEncoder(11, 3), ka.CNNEncoder(11, 4)], [0, 0], **FROZEN
    ),
    "migrated": lambda: migration.ManyToOneAttention(
        3, ka.DotProductAttention("general"), **FROZEN
    ),
}
OF_ONE = ("block", "stack", "pooling", "set", "migrated")
OF_IDS = ("encoder", "ensemble")


def model_of(kind):
    layer = MAKERS[kind]()
    if kind in OF_IDS:
        inputs = keras.Input(IDS[1:], dtype="int32")
        return keras.Model(inputs, layer(inputs)), layer
    inputs = keras.Input(SEQUENCE[1:])
    given = (inputs,) if kind in OF_ONE else (inputs, inputs)
    return keras.Model(inputs, layer(*given)), layer


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_of_a_frozen_layer_trains(kind, tmp_path):
    model, layer = model_of(kind)
    assert len(layer.weights) > 0
    assert model.trainable_weights == []
    config = keras.saving.serialize_keras_object(model)
    again = keras.saving.deserialize_keras_object(config)
    assert again.trainable_weights == []
    assert len(again.weights) == len(model.weights)
    layer.trainable = True
    assert len(model.trainable_weights) > 0


@pytest.mark.tensorflow_only
def test_a_frozen_half_stays_frozen_in_a_folder(tmp_path):
    model = ka.build_seq2seq("luong", 11, 13, units=4)
    free = len(model.trainable_weights)
    model.encoder.trainable = False
    kept = len(model.trainable_weights)
    assert 0 < kept < free
    model.compile("adam", ka.training.MaskedCrossentropy())
    source, target = np.array([[5, 4, 2]]), np.array([[1, 6, 7]])
    x, y = {"source": source, "target": target}, np.array([[6, 7, 2]])
    model.train_on_batch(x, y)
    model.save(tmp_path / "model.keras")
    model.save_folder(tmp_path / "folder")
    for again in (
        ka.load(tmp_path / "folder"),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        assert len(again.trainable_weights) == kept
        assert not again.encoder.trainable_weights
    for mine, theirs in zip(
        model.optimizer.variables, again.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
