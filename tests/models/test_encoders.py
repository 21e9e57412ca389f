"""Encoders: what they compute, and that padding never tells."""

import gc

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import Case
from layer_checks import check_build_from_shapes
from layer_checks import check_config_holds_every_argument
from layer_checks import check_config_round_trip
from layer_checks import check_graph_and_compiled
from layer_checks import check_half_precision
from layer_checks import check_saved_model
from layer_checks import check_symbolic_output
from layer_checks import mask_of
from small_models import ENCODERS
from small_models import assert_close
from small_models import randomize
from small_models import source_ids

from keras_attention import CNNEncoder
from keras_attention import LearnedPositionalEncoding
from keras_attention import RNNEncoder
from keras_attention import RotaryEmbedding
from keras_attention import TransformerEncoder
from keras_attention.layers import AttentionOptions
from keras_attention.models import build_seq2seq

# JAX compiles each shape anew when it runs eagerly: there, a few of them.
IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
each_encoder = pytest.mark.parametrize(
    "name", ENCODERS if IS_TENSORFLOW else ["rnn", "cnn", "transformer"]
)

COMMON = {"vocabulary_size": 11, "dropout": 0.1, "seed": 7}
INIT = {
    "rnn": (RNNEncoder, {"units": 4, "embedding_dim": 3, "cell": "simple"}, 8),
    "cnn": (CNNEncoder, {"units": 6, "num_layers": 2, "kernel_size": 5}, 6),
    "transformer": (TransformerEncoder, {"units": 6, "num_heads": 2}, 6),
}


def built_encoder(name, **options):
    encoder = ENCODERS[name](**options)
    encoder.build((None, None))
    return randomize(encoder)


@pytest.mark.parametrize("kind", list(INIT))
def test_encoder_is_a_good_layer(kind, tmp_path):
    layer_class, options, width = INIT[kind]
    case = Case(
        layer_class,
        {**COMMON, **options},
        {"source": source_ids()},
        [(3, 5, width)],
    )
    check_config_holds_every_argument(case)
    check_config_round_trip(case)
    check_build_from_shapes(case)
    check_symbolic_output(case)
    check_graph_and_compiled(case)
    check_half_precision(case, {"float16": 1e-2, "bfloat16": 6e-2})
    check_saved_model(case, tmp_path / "model.keras")


@each_encoder
def test_result_does_not_depend_on_the_padded_length(name):
    encoder = built_encoder(name)
    source = source_ids((5, 3, 1))
    together = np.array(encoder(source))
    longer = np.array(encoder(np.pad(source, ((0, 0), (0, 7)))))
    assert np.ptp(together) > 0.1
    for row, length in enumerate((5, 3, 1)):
        real = together[row, :length]
        assert_close(longer[row, :length], real)
        if IS_TENSORFLOW or length == 3:
            alone = np.array(encoder(source[row : row + 1, :length]))[0]
            assert_close(real, alone)


@each_encoder
def test_output_carries_the_mask_of_the_source(name):
    encoder = built_encoder(name)
    source = source_ids()
    mask = mask_of(encoder(source))
    np.testing.assert_array_equal(mask, source != 0)
    np.testing.assert_array_equal(encoder.compute_mask(source), source != 0)


@each_encoder
def test_a_source_of_padding_alone_gives_finite_numbers(name):
    assert np.isfinite(built_encoder(name)(np.zeros((2, 3), "int32"))).all()


@each_encoder
def test_dropout_is_for_training_alone_and_follows_its_seed(name):
    plain = built_encoder(name)

    def dropping(seed):
        encoder = ENCODERS[name](dropout=0.5, seed=seed)
        encoder.build((None, None))
        encoder.set_weights(
            [*map(np.array, plain.trainable_variables)]
            if not encoder.non_trainable_weights
            else plain.get_weights()
        )
        return encoder

    source = source_ids()
    assert_close(dropping(3)(source, training=False), plain(source))
    first, again, other = (
        np.array(dropping(seed)(source, training=True)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-2
    assert np.abs(first - np.array(plain(source))).max() > 1e-2


def test_dropouts_of_one_encoder_do_not_drop_alike():
    encoder = ENCODERS["transformer"](dropout=0.5, seed=3)
    encoder.build((None, None))
    layers = [
        layer
        for layer in encoder._flatten_layers()
        if isinstance(layer, keras.layers.Dropout)
    ]
    ones = np.ones((2, 5, 7), "float32")
    kept = {np.array(x(ones, training=True)).tobytes() for x in layers}
    assert len(layers) == len(kept) == 5


# --- against the papers ------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sinusoids(length, width):
    angle = np.arange(length)[:, None] / 10000.0 ** (
        np.arange(width) // 2 * 2 / width
    )
    return np.where(np.arange(width) % 2 == 0, np.sin(angle), np.cos(angle))


def test_cnn_encoder_is_the_paper():
    """Gehring et al. 2017, 3.2 and 3.4: gated, residual, scaled, row by row."""
    encoder = CNNEncoder(11, 6, num_layers=2, kernel_size=3)
    source = source_ids()
    encoder(source)
    randomize(encoder)
    outputs = np.array(encoder(source))
    table = np.array(encoder.embedding.embeddings, "float64")
    for row, length in enumerate((5, 3, 1)):
        x = table[source[row, :length]] + sinusoids(length, 6)
        for layer in encoder.convolutions:
            kernel, bias = (np.array(w, "float64") for w in layer.weights)
            padded = np.pad(x, ((1, 1), (0, 0)))
            windows = [padded[i : i + length] @ kernel[i] for i in range(3)]
            values, gate = np.split(sum(windows) + bias, 2, axis=-1)
            x = (x + values * sigmoid(gate)) * np.sqrt(0.5)
        assert_close(outputs[row, :length], x)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_rnn_encoder_is_a_loop_over_its_own_states(bidirectional):
    encoder = RNNEncoder(
        11, 4, embedding_dim=3, cell="simple", bidirectional=bidirectional
    )
    source = source_ids()
    encoder(source)
    randomize(encoder)
    outputs = np.array(encoder(source))
    table, *weights = (np.array(w, "float64") for w in encoder.weights)

    def states(inputs, kernel, recurrent, bias):
        h, found = np.zeros(4), []
        for x in inputs:
            h = np.tanh(x @ kernel + h @ recurrent + bias)
            found.append(h)
        return np.array(found)

    for row, length in enumerate((5, 3, 1)):
        inputs = table[source[row, :length]]
        expected = states(inputs, *weights[:3])
        if bidirectional:
            backward = states(inputs[::-1], *weights[3:])[::-1]
            expected = np.concatenate([expected, backward], axis=-1)
        assert_close(outputs[row, :length], expected)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_rnn_encoder_is_silent_where_no_rnn_supports_masking(
    bidirectional, monkeypatch
):
    """As in Keras 3.16, which warns that such a layer loses its mask."""
    for kind in (keras.layers.RNN, keras.layers.Bidirectional):
        original = kind.__init__

        def init(layer, *args, original=original, **kwargs):
            original(layer, *args, **kwargs)
            layer.supports_masking = False

        monkeypatch.setattr(kind, "__init__", init)
    encoder = RNNEncoder(11, 3, bidirectional=bidirectional)
    outputs = encoder(source_ids())  # a warning is an error in these tests
    np.testing.assert_array_equal(mask_of(outputs), source_ids() != 0)


def test_transformer_encoder_is_its_blocks_in_a_row():
    encoder = built_encoder("transformer")
    source = source_ids((5,))
    x = encoder.embedding(source) * np.sqrt(10.0)
    x = x + sinusoids(5, 10).astype("float32")
    for block in encoder.blocks:
        x = block(x)
    assert_close(encoder(source), encoder.normalization(x))
    post_norm = ENCODERS["transformer"](normalize_first=False)
    outputs = ops.convert_to_numpy(post_norm(source))
    assert_close(outputs.mean(axis=-1), np.zeros((1, 5)))
    assert post_norm.normalization is None


# --- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TransformerEncoder(11, units=7, num_heads=2),
            "`num_heads` must be a divisor of units=7. Received: num_heads=2",
        ),
        (
            lambda: TransformerEncoder(11, units=6, num_heads=0),
            "`num_heads` must be a positive integer",
        ),
        (
            lambda: CNNEncoder(11, 6, kernel_size=4),
            "`kernel_size` must be odd. Received: kernel_size=4",
        ),
        (lambda: RNNEncoder(11, 2.5), "`units` must be a positive integer"),
        (
            lambda: RNNEncoder(11, 5, dropout=1),
            r"`dropout` must be in \[0, 1\)",
        ),
        (lambda: RNNEncoder(11, 5, cell="rnn"), "`cell` must be one of 'lstm'"),
        (lambda: RNNEncoder(11, 5, num_layers=0), "`num_layers` must be a pos"),
    ],
    ids=["heads", "no head", "kernel", "units", "dropout", "cell", "layers"],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@each_encoder
def test_wrong_rank_is_refused(name):
    message = r"`source` must have shape \(batch, source_length\)"
    with pytest.raises(ValueError, match=message):
        ENCODERS[name]()(np.ones((3, 5, 7), "int32"))


@pytest.mark.parametrize(
    "position",
    [RotaryEmbedding(), LearnedPositionalEncoding(9)],
    ids=["rotary", "learned"],
)
def test_position_stands_where_it_belongs(position, tmp_path):
    encoder = TransformerEncoder(
        11,
        6,
        num_heads=1,
        position=position,
        attention_options=AttentionOptions(use_sink=True),
    )
    source = np.array([[5, 4, 5, 4], [4, 5, 4, 5]])
    model = keras.Sequential([keras.Input((4,), dtype="int32"), encoder])
    randomize(encoder)
    found = np.array(model(source))
    # One token at two positions, and two orders of the same tokens.
    assert np.abs(found[0, 0] - found[0, 2]).max() > 1e-3
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[-1].attention_options.use_sink
    assert_close(again(source), found)


def test_weight_files_have_the_blocks_where_they_were():
    encoder = built_encoder("transformer")
    assert encoder.blocks == encoder.stack.blocks
    assert encoder.normalization is encoder.stack.normalization


@pytest.mark.exhaustive
def test_layers_are_not_mixed_up_where_memory_is_used_again(
    tmp_path, monkeypatch
):
    """While it loads a model, Keras tells objects by their addresses."""
    build_layer = RNNEncoder._recurrent_layer

    def after_collecting(encoder, name):
        gc.collect()
        return build_layer(encoder, name)

    monkeypatch.setattr(RNNEncoder, "_recurrent_layer", after_collecting)
    options = {"num_layers": 12, "num_decoder_layers": 1, "cell": "simple"}
    model = build_seq2seq("bahdanau", 7, 7, units=2, **options)
    ids = np.array([[3, 5, 4, 0]])
    model.save(tmp_path / "model.keras")
    for _ in range(6):
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert_close(loaded.encoder(ids), model.encoder(ids))
