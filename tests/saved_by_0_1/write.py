"""Wrote the files beside it, with version 0.1.0 of the package.

One model folder for each kind of encoder and of decoder, one `.keras` file for
each layer, and what they answered then. Never run again: a newer version must
read what that one wrote. To save what a version adds, make a folder of its own.

    git worktree add /tmp/old 567a0c6
    PYTHONPATH=/tmp/old python tests/saved_by_0_1/write.py
"""

import pathlib

import keras
import numpy as np

import keras_attention as ka
from keras_attention import masks

HERE = pathlib.Path(__file__).parent
SOURCE_TEXTS = ["abc bca", "cab a", "b"]
SOURCE = np.array([[4, 5, 6, 9, 2], [5, 4, 6, 2, 0], [5, 2, 0, 0, 0]], "int32")
TARGET = np.array([[1, 4, 9, 7], [1, 6, 0, 0], [1, 5, 12, 0]], "int32")
SOURCE_IDS, TARGET_IDS = 11, 13

ENCODERS = {
    "lstm": lambda: ka.RNNEncoder(SOURCE_IDS, 4, embedding_dim=3, num_layers=2),
    "gru-one-way": lambda: ka.RNNEncoder(
        SOURCE_IDS, 5, num_layers=2, cell="gru", bidirectional=False
    ),
    "simple": lambda: ka.RNNEncoder(SOURCE_IDS, 3, cell="simple"),
    "cnn": lambda: ka.CNNEncoder(SOURCE_IDS, 7, num_layers=2, dropout=0.1),
    "transformer": lambda: ka.TransformerEncoder(
        SOURCE_IDS, 10, num_heads=2, feed_forward_units=3, dropout=0.1, seed=5
    ),
    "transformer-post": lambda: ka.TransformerEncoder(
        SOURCE_IDS,
        6,
        num_heads=3,
        normalize_first=False,
        flash_attention=True,
        activation="gelu",
    ),
}
DECODERS = {
    "bahdanau": lambda: ka.RNNDecoder(
        TARGET_IDS,
        5,
        ka.AdditiveAttention(3, normalize=True),
        embedding_dim=2,
        num_layers=2,
        dropout=0.1,
    ),
    "bahdanau-gru": lambda: ka.RNNDecoder(
        TARGET_IDS, 5, ka.DotProductAttention("general"), cell="gru"
    ),
    "luong": lambda: ka.RNNDecoder(
        TARGET_IDS,
        5,
        ka.DotProductAttention("general", use_scale=True),
        embedding_dim=2,
        num_layers=2,
        query_state="current",
    ),
    "luong-unfed": lambda: ka.RNNDecoder(
        TARGET_IDS,
        5,
        ka.AdditiveAttention(3),
        query_state="current",
        input_feeding=False,
        cell="simple",
        tie_embeddings=True,
    ),
    "self-attention": lambda: ka.RNNDecoder(
        TARGET_IDS, 5, ka.SelfAttention(7), cell="gru"
    ),
    "rnn": lambda: ka.RNNDecoder(TARGET_IDS, 5, num_layers=2),
    "transformer": lambda: ka.TransformerDecoder(
        TARGET_IDS, 6, num_heads=3, feed_forward_units=5, dropout=0.1, seed=7
    ),
    "transformer-moved": lambda: ka.TransformerDecoder(
        TARGET_IDS,
        6,
        num_heads=2,
        normalize_first=False,
        tie_embeddings=True,
        reorder_cache=True,
        flash_attention=False,
    ),
}
# Each encoder and each decoder at least once.
MODELS = {
    "lstm_bahdanau": ("lstm", "bahdanau"),
    "gru-one-way_bahdanau-gru": ("gru-one-way", "bahdanau-gru"),
    "simple_luong": ("simple", "luong"),
    "cnn_luong-unfed": ("cnn", "luong-unfed"),
    "cnn_self-attention": ("cnn", "self-attention"),
    "lstm_rnn": ("lstm", "rnn"),
    "transformer_transformer": ("transformer", "transformer"),
    "transformer-post_transformer-moved": (
        "transformer-post",
        "transformer-moved",
    ),
}


def randomized(model, seed):
    """Gives every weight values of some size, biases too."""
    generator = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        weight.assign(0.5 * generator.normal(size=weight.shape))
    return model


def inputs_of_layers():
    """The inputs of all `.keras` files: query, value, lengths."""
    generator = np.random.default_rng(17)
    return (
        generator.normal(size=(2, 5, 12)).astype("float32"),
        generator.normal(size=(2, 7, 12)).astype("float32"),
        np.array([7, 3], "int32"),
    )


def layer_models():
    """A functional model around each layer, by name."""
    query = keras.Input((None, 12), name="query")
    value = keras.Input((None, 12), name="value")
    lengths = keras.Input((), dtype="int32", name="lengths")
    mask = masks.Lengths(lengths) & masks.SlidingWindow(left=3, right=2)
    attentions = {
        "additive": ka.AdditiveAttention(5, normalize=True, dropout=0.1),
        "self_attention": ka.SelfAttention(5),
        **{
            f"dot_product_{score}": ka.DotProductAttention(
                score, use_scale=True, seed=3
            )
            for score in ("dot", "scaled", "general", "cosine", "distance")
        },
        "multi_head": ka.MultiHeadAttention(
            4,
            3,
            value_dim=5,
            num_key_value_heads=2,
            logit_soft_cap=2.0,
            use_sink=True,
            use_gate=True,
            dropout=0.1,
        ),
        "multi_head_window": ka.MultiHeadAttention(
            2, 5, sliding_window=3, use_bias=False, flash_attention=True
        ),
    }
    models = {
        name: keras.Model(
            [query, value, lengths], layer(query, value, attention_mask=mask)
        )
        for name, layer in attentions.items()
    }
    encoder = ka.TransformerEncoderBlock(3, 7, normalize_first=False)
    decoder = ka.TransformerDecoderBlock(2, 7, key_dim=5, dropout=0.1)
    positions = ka.PositionalEncoding(max_wavelength=500.0)
    models["positions"] = keras.Model([query, value, lengths], positions(query))
    models["encoder_block"] = keras.Model(
        [query, value, lengths], encoder(value, attention_mask=mask)
    )
    models["decoder_block"] = keras.Model(
        [query, value, lengths], decoder(query, value)
    )
    return models


def write_models():
    for number, (name, (encoder, decoder)) in enumerate(MODELS.items()):
        parts = ENCODERS[encoder](), DECODERS[decoder]()
        model = randomized(ka.Seq2Seq(*parts, max_length=6), number)
        if name == "lstm_bahdanau":
            model.set_vocabularies(
                ka.Vocabulary.build([f"{x}" for x in "abcdefg"]),
                ka.Vocabulary.build(["A B C D E F G H I"], unit="symbols"),
            )
        model.save_folder(HERE / name)
        logits = model({"source": SOURCE, "target": TARGET})
        greedy = model.generate(SOURCE)
        beam = model.generate(SOURCE, ka.Beam(3, num_hypotheses=2))
        np.savez_compressed(
            HERE / name / "answers.npz",
            logits=np.asarray(logits),
            greedy_tokens=greedy.tokens,
            greedy_alignments=greedy.alignments,
            beam_tokens=beam.tokens,
            beam_scores=beam.scores,
        )


def write_layers():
    inputs = inputs_of_layers()
    outputs = {}
    for number, (name, model) in enumerate(layer_models().items()):
        randomized(model, number).save(HERE / f"{name}.keras")
        outputs[name] = np.asarray(model(list(inputs)))
    np.savez_compressed(HERE / "layers.npz", **outputs)


if __name__ == "__main__":
    write_models()
    write_layers()
