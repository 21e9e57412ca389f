"""Worked examples: encoders, a decoder and a tokenizer from outside.

Each is what a reader would write, in about 20 lines.
"""

import keras
import numpy as np
from keras import ops

import keras_attention as ka
from keras_attention.decoding import gather_slots

TARGET_IDS, SOURCE_IDS = 13, 11
IMAGE, FRAME = (5, 7, 3), 6


def image_encoder():
    """Images (5, 7, 3) to 3 x 4 positions; no mask: all are real."""
    return keras.Sequential(
        [
            keras.Input(IMAGE),
            keras.layers.Conv2D(8, 3, strides=2, padding="same"),
            keras.layers.Reshape((-1, 8)),
        ]
    )


def frame_encoder():
    """Frames (length, 6); frames of zeros are masked by Keras."""
    frames = keras.Input((None, FRAME))
    x = keras.layers.Masking()(frames)
    x = keras.layers.GRU(8, return_sequences=True, use_cudnn=False)(x)
    return keras.Model(frames, x)


@keras.saving.register_keras_serializable(package="tests")
class FrameEncoder(keras.layers.Layer):
    """Frames (length, 6), of which a `source_mask` says which are real."""

    source_signature = ((None, FRAME), "float32")

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.recurrent = keras.layers.LSTM(
            5, return_sequences=True, return_state=True, use_cudnn=False
        )

    def build(self, frames_shape):
        self.recurrent.build(frames_shape)

    def call(self, frames, mask=None):
        values, *states = self.recurrent(frames, mask=mask)
        return values, states


def id_encoder():
    """Ids by layers of Keras alone."""
    return keras.Sequential(
        [
            keras.layers.Embedding(SOURCE_IDS, 4, mask_zero=True),
            keras.layers.Bidirectional(
                keras.layers.GRU(3, return_sequences=True, use_cudnn=False)
            ),
        ]
    )


@keras.saving.register_keras_serializable(package="tests")
class GRUDecoder(keras.layers.Layer):
    """Begins with the mean of the source and looks at all of it alike."""

    def __init__(self, vocabulary_size, units, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size, self.units = vocabulary_size, units
        self.embedding = keras.layers.Embedding(vocabulary_size, units)
        self.cell = keras.layers.GRUCell(units)
        self.recurrent = keras.layers.RNN(self.cell, return_sequences=True)
        self.bridge = keras.layers.Dense(units, activation="tanh")
        self.logits = keras.layers.Dense(vocabulary_size)

    def build(self, target_shape, encoded_shape):
        self.embedding.build(target_shape)
        self.recurrent.build((*target_shape, self.units))
        self.bridge.build(encoded_shape)
        self.logits.build((*target_shape, self.units))

    def start(self, encoded, source_mask, max_length, beams=1):
        share = ops.ones(ops.shape(encoded)[:2])
        if source_mask is not None:
            share = ops.cast(source_mask, "float32")
        share = share / ops.sum(share, axis=1, keepdims=True)  # (B, S)
        hidden = self.bridge(ops.sum(share[..., None] * encoded, axis=1))
        hidden, share = hidden[:, None], share[:, None]
        return ops.repeat(hidden, beams, 1), ops.repeat(share, beams, 1)

    def step(self, tokens, state, index, ancestors=None):
        hidden, share = state
        embedded = ops.reshape(self.embedding(tokens), (-1, self.units))
        flat = ops.reshape(hidden, (-1, self.units))  # (B * K, U)
        output, _ = self.cell(embedded, [flat])
        hidden = ops.reshape(output, ops.shape(hidden))  # (B, K, U)
        return self.logits(hidden), (hidden, share), share

    def reorder(self, state, parents):
        return gather_slots(state[0], parents), state[1]

    def call(self, target, encoded, encoded_mask=None, training=None):
        hidden, _ = self.start(encoded, encoded_mask, max_length=None)
        embedded = self.embedding(target)  # (B, T, U)
        return self.logits(self.recurrent(embedded, hidden[:, 0]))

    def compute_mask(self, target, previous_mask=None):
        return ops.logical_and(target != 0, target != 2)

    def get_config(self):
        config = {"units": self.units, "vocabulary_size": self.vocabulary_size}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(package="tests")
class Digits:
    """The digits, with ids from 4 on, in plain TensorFlow operations."""

    def __len__(self):
        return 14

    def encode(self, texts):
        import tensorflow as tf

        codes = tf.io.decode_raw(texts, tf.uint8, fixed_length=8)  # (B, 8)
        ids = tf.cast(codes, tf.int32)
        ids = tf.where((ids >= 48) & (ids < 58), ids - 44, 3 * tf.sign(ids))
        lengths = tf.minimum(tf.strings.length(texts), 8)
        return tf.pad(ids, [[0, 0], [0, 1]]) + 2 * tf.one_hot(
            lengths, 9, dtype=tf.int32
        )

    def token_strings(self, ids):
        import tensorflow as tf

        names = tf.constant(["", "", "", "?", *"0123456789"])
        return tf.gather(names, ids)

    def decode(self, ids):
        import tensorflow as tf

        return tf.strings.reduce_join(self.token_strings(ids), axis=-1)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def target_vocabulary():
    return ka.Vocabulary.build(["a b c d e f g h i"], "symbols")


def decoder(**options):
    return ka.RNNDecoder(
        TARGET_IDS, 5, attention=ka.AdditiveAttention(7), **options
    )


def image_model():
    return ka.Seq2Seq(
        image_encoder(),
        ka.TransformerDecoder(TARGET_IDS, 6, num_heads=2, num_layers=1),
        max_length=4,
        target_vocabulary=target_vocabulary(),
    )


def frame_model():
    return ka.Seq2Seq(
        frame_encoder(), decoder(), 4, target_vocabulary=target_vocabulary()
    )


def masked_frame_model():
    # The encoder's last states are the decoder's first.
    return ka.Seq2Seq(FrameEncoder(), decoder(use_bridge=False), max_length=4)


def id_model():
    return ka.Seq2Seq(id_encoder(), decoder(), max_length=4)


def decoder_model():
    encoder = ka.CNNEncoder(SOURCE_IDS, 6, num_layers=1)
    return ka.Seq2Seq(encoder, GRUDecoder(TARGET_IDS, 5), max_length=4)


def digits_model():
    digits = Digits()
    encoder = ka.CNNEncoder(14, 6, num_layers=1)
    return ka.Seq2Seq(encoder, ka.RNNDecoder(14, 5), 4, digits, digits)


def arrays(shape, seed=3):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def frames():
    """Three sequences of 5, 3 and 2 frames."""
    found = arrays((3, 5, FRAME))
    found[1, 3:] = found[2, 2:] = 0
    return found


IDS = np.array([[5, 4, 7, 2, 0], [6, 2, 0, 0, 0], [9, 10, 4, 8, 2]], "int32")
REAL = np.arange(5) < np.array([[5], [3], [2]])
# Name: (model, options of generate).
CASES = {
    "images": (image_model, {"source": arrays((3, *IMAGE))}),
    "frames": (frame_model, {"source": frames()}),
    "masked frames": (
        masked_frame_model,
        {"source": frames(), "source_mask": REAL},
    ),
    "ids": (id_model, {"source": IDS}),
    "decoder": (decoder_model, {"source": IDS}),
}
