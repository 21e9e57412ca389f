"""Small encoders and decoders of every kind, and data for them.

All sizes are distinct, and so are the widths that meet in one model.
"""

import keras
import numpy as np
from keras import ops

from keras_attention import AdditiveAttention
from keras_attention import CNNEncoder
from keras_attention import DotProductAttention
from keras_attention import RNNDecoder
from keras_attention import RNNEncoder
from keras_attention import Seq2Seq
from keras_attention import TransformerDecoder
from keras_attention import TransformerEncoder

SOURCE_IDS, TARGET_IDS = 11, 13

ENCODERS = {
    "rnn": lambda **o: RNNEncoder(SOURCE_IDS, 4, embedding_dim=3, **o),
    "gru-one-way": lambda **o: RNNEncoder(
        SOURCE_IDS, 7, num_layers=2, cell="gru", bidirectional=False, **o
    ),
    "cnn": lambda **o: CNNEncoder(SOURCE_IDS, 9, num_layers=2, **o),
    "transformer": lambda **o: TransformerEncoder(
        SOURCE_IDS, 10, num_heads=2, feed_forward_units=3, **o
    ),
}
DECODERS = {
    "bahdanau": lambda **o: RNNDecoder(
        TARGET_IDS, 5, AdditiveAttention(3), embedding_dim=2, num_layers=2, **o
    ),
    "bahdanau-gru": lambda **o: RNNDecoder(
        TARGET_IDS, 5, DotProductAttention("general"), cell="gru", **o
    ),
    "luong": lambda **o: RNNDecoder(
        TARGET_IDS,
        5,
        DotProductAttention("general"),
        embedding_dim=2,
        query_state="current",
        **o,
    ),
    "luong-unfed": lambda **o: RNNDecoder(
        TARGET_IDS,
        5,
        AdditiveAttention(3),
        query_state="current",
        input_feeding=False,
        cell="simple",
        tie_embeddings=True,
        **o,
    ),
    "rnn": lambda **o: RNNDecoder(TARGET_IDS, 5, cell="gru", **o),
    "transformer": lambda **o: TransformerDecoder(
        TARGET_IDS, 6, num_heads=3, feed_forward_units=5, **o
    ),
    "transformer-moved": lambda **o: TransformerDecoder(
        TARGET_IDS,
        6,
        num_heads=2,
        feed_forward_units=5,
        normalize_first=False,
        tie_embeddings=True,
        reorder_cache=True,
        **o,
    ),
}


def randomize(layer, seed=3, scale=0.5):
    """Gives every weight values of some size, biases too; returns `layer`."""
    generator = np.random.default_rng(seed)
    for weight in layer.trainable_variables:
        weight.assign(scale * generator.normal(size=weight.shape))
    return layer


def small_model(encoder="rnn", decoder="bahdanau", **options):
    """A `Seq2Seq` of two named parts with weights of some size."""
    model = Seq2Seq(ENCODERS[encoder](), DECODERS[decoder](), **options)
    return randomize(model)


def ragged_ids(lengths, vocabulary, seed=5, length=None, first=()):
    """Rows of random ids above the special ones, padded with 0."""
    generator = np.random.default_rng(seed)
    length = max(lengths) if length is None else length
    ids = generator.integers(4, vocabulary, size=(len(lengths), length))
    ids[:, : len(first)] = first
    real = np.arange(length) < np.array(lengths)[:, None]
    return np.where(real, ids, 0).astype("int32")


def source_ids(lengths=(5, 3, 1), **options):
    return ragged_ids(lengths, SOURCE_IDS, **options)


def target_ids(lengths=(4, 2, 3), **options):
    """Targets as a decoder reads them: BOS first."""
    return ragged_ids(lengths, TARGET_IDS, seed=6, first=(1,), **options)


def run(mode, function, *arrays):
    """Runs `function` eager, traced with dynamic shapes, or compiled."""
    tensors = [ops.convert_to_tensor(array) for array in arrays]
    if mode == "eager":
        outputs = function(*tensors)
    elif keras.backend.backend() == "jax":
        import jax

        outputs = jax.jit(function)(*tensors)
    else:
        import tensorflow as tf

        signature = [tf.TensorSpec([None] * a.ndim, a.dtype) for a in arrays]
        options = (
            {"jit_compile": True}
            if mode == "compiled"
            else {"input_signature": signature}
        )
        outputs = tf.function(function, autograph=False, **options)(*tensors)
    return keras.tree.map_structure(ops.convert_to_numpy, outputs)


def assert_close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)
