"""Encoders that read padding, as convolutions do, or one length alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from served_models import MAX_LENGTH

import keras_attention as ka
from keras_attention import export

TEXTS = ["cab", "a", "hgfed"]
LENGTH = 7


def model_of(length):
    source = ka.Vocabulary.build(["abcdefgh"])
    target = ka.Vocabulary.build(["abcdefgh"])
    inputs = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(len(source), 6)(inputs)
    x = keras.layers.Conv1D(6, 3, padding="same")(x)
    if length is not None:  # knows each position
        x = keras.layers.Permute((2, 1))(
            keras.layers.Dense(LENGTH)(keras.layers.Permute((2, 1))(x))
        )
    decoder = ka.RNNDecoder(len(target), 5, ka.AdditiveAttention(5))
    model = ka.Seq2Seq(
        keras.Model(inputs, x),
        decoder,
        max_length=MAX_LENGTH,
        source_vocabulary=source,
        target_vocabulary=target,
    )
    draw = np.random.default_rng(7).normal
    model.set_weights([draw(size=w.shape) for w in model.weights])
    return model


@pytest.mark.parametrize("length", [None, LENGTH], ids=["free", "fixed"])
def test_signatures_answer_as_generate(length, tmp_path):
    model = model_of(length)
    expected = model.generate(TEXTS)
    folder = export.export_saved_model(
        model,
        tmp_path / "1",
        ka.Greedy(),
        signatures=("serving_default", "compiled", "tokens", "score"),
    )
    served = tf.saved_model.load(str(folder)).signatures
    for name in ("serving_default", "compiled"):
        found = served[name](text=tf.constant(TEXTS))
        assert [x.decode() for x in found["text"].numpy()] == (
            expected.texts[:, 0].tolist()
        )
        np.testing.assert_allclose(
            found["score"], expected.scores[:, 0], rtol=1e-4
        )
    ids = model.source_vocabulary.encode(TEXTS)
    found = served["tokens"](ids=ids)
    np.testing.assert_allclose(found["scores"], expected.scores, rtol=1e-4)
    targets = ["ab", "", "hgf"]
    found = served["score"](
        text=tf.constant(TEXTS), target=tf.constant(targets)
    )
    given = model.score(TEXTS, targets)
    np.testing.assert_allclose(
        found["log_probability"], given.log_probabilities, rtol=1e-4
    )
