"""Encoders that read padding, as convolutions do, or one length alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from served_models import MAX_LENGTH

import keras_attention as ka
from keras_attention import export

TEXTS = ["cab", "a", "hgfed"]
LONG = ["abcdefghabc", "abcdefg"]
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
    if length is not None:  # the beginning is read, and the end
        with pytest.warns(UserWarning, match="were cut off"):
            expected_of_long = model.generate(LONG)
        found = served["serving_default"](text=tf.constant(LONG))
        np.testing.assert_allclose(
            found["score"], expected_of_long.scores[:, 0], rtol=1e-4
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


def test_steps_read_all_that_an_encoder_of_images_returns(tmp_path):
    """As many positions as it likes: a limit is for sources of any length."""
    encoder = keras.Sequential(
        [
            keras.Input((6, 8, 3)),
            keras.layers.Conv2D(5, 3, strides=2, padding="same"),
            keras.layers.Reshape((-1, 5)),  # 12 positions
        ]
    )
    decoder = ka.RNNDecoder(13, 5, ka.AdditiveAttention(5))
    model = ka.Seq2Seq(encoder, decoder, max_length=MAX_LENGTH)
    draw = np.random.default_rng(7).normal
    model.set_weights([draw(size=w.shape) for w in model.weights])
    folder = export.export_saved_model(
        model,
        tmp_path / "1",
        ka.Greedy(),
        max_source_length=5,
        signatures=("n_best", "encode", "decode_step"),
    )
    served = tf.saved_model.load(str(folder)).signatures
    source = tf.constant(draw(size=(2, 6, 8, 3)), tf.float32)
    encoded = served["encode"](source=source)
    step = served["decode_step"](**encoded, ids=tf.zeros((2, 0), tf.int32))
    assert step["alignment"].shape == (2, 12)
    first = served["n_best"](source=source)["alignments"][:, 0, 0]
    np.testing.assert_allclose(step["alignment"], first, atol=1e-5)
    guide = (folder / "README.md").read_text(encoding="utf-8")
    assert "Sources are read whole." in guide
    assert "positions of the source" not in " ".join(guide.split())
