"""build_seq2seq: every option arrives, every kind trains."""

import inspect

import keras
import numpy as np
import pytest
from small_models import source_ids
from user_mechanisms import Coverage

import keras_attention as ka
from keras_attention.models import builder

# Which options go where is the same on every backend: it is looked at on one.
on_one_backend = pytest.mark.tensorflow_only

LABELS = np.array([[5, 6, 7, 2], [8, 2, 0, 0], [9, 6, 2, 0]])
TARGET = np.array([[1, 5, 6, 7], [1, 8, 0, 0], [1, 9, 6, 0]])


def build(kind="transformer", **options):
    return ka.build_seq2seq(kind, 11, 13, **{"units": 12, **options})


def parts(model):
    return model.encoder, model.decoder


# option: kind, an odd value, what to read in the encoder and in the decoder.
WIRING = {
    "units": ("luong", 7, "units", "units"),
    "num_layers": ("bahdanau", 3, "num_layers", "num_layers"),
    "num_decoder_layers": ("transformer", 3, None, "num_layers"),
    "dropout": ("transformer", 0.37, "dropout", "dropout"),
    "tie_embeddings": ("luong", True, None, "tie_embeddings"),
    "embedding_dim": ("bahdanau", 5, "embedding_dim", "embedding_dim"),
    "cell": ("luong", "simple", "cell", "cell"),
    "bidirectional": ("luong", False, "bidirectional", None),
    "input_feeding": ("luong", False, None, "input_feeding"),
    "kernel_size": ("cnn-rnn", 7, "kernel_size", None),
    "num_heads": ("transformer", 3, "num_heads", "num_heads"),
    "feed_forward_units": (
        "transformer",
        17,
        "feed_forward_units",
        "feed_forward_units",
    ),
    "normalize_first": (
        "transformer",
        False,
        "normalize_first",
        "normalize_first",
    ),
    "flash_attention": (
        "transformer",
        True,
        "flash_attention",
        "flash_attention",
    ),
}
CHECKED_APART = {"max_length", "attention", "activation", "seed", "dtype"}
CHECKED_APART |= {
    "share_embeddings",
    "position",
    "attention_options",
    "attention_dropout",
}


def test_every_option_has_a_test():
    parameters = inspect.signature(ka.build_seq2seq).parameters.values()
    options = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert options == set(WIRING) | CHECKED_APART


@on_one_backend
@pytest.mark.parametrize("option", list(WIRING))
def test_option_reaches_its_part(option):
    kind, value, in_encoder, in_decoder = WIRING[option]
    model = build(kind, **{option: value})
    for part, name in zip(parts(model), (in_encoder, in_decoder), strict=True):
        if name is not None:
            assert getattr(part, name) == value


@on_one_backend
def test_options_reach_the_layers_inside():
    model = build(
        num_heads=3,
        feed_forward_units=17,
        dropout=0.37,
        activation="gelu",
        normalize_first=False,
        flash_attention=True,
        num_layers=2,
        num_decoder_layers=1,
        dtype="mixed_bfloat16",
        max_length=19,
    )
    assert model.max_length == 19
    assert model.dtype_policy.name == "mixed_bfloat16"
    assert [len(part.blocks) for part in parts(model)] == [2, 1]
    for part in parts(model):
        assert part.dtype_policy.name == "mixed_bfloat16"
        assert part.embedding_dropout.rate == 0.37
        for block in part.blocks:
            assert block.self_attention.num_heads == 3
            assert block.self_attention.key_dim == 4
            assert block.self_attention.dropout == 0.37
            assert block.self_attention.get_config()["flash_attention"]
            assert block.hidden_dense.units == 17
            assert block.hidden_dense.activation is keras.activations.gelu
            assert not block.normalize_first
            assert {layer.rate for layer in block.dropouts} == {0.37}
            assert block.compute_dtype == "bfloat16"


@on_one_backend
def test_positions_and_options_reach_both_parts_and_are_not_shared(tmp_path):
    options = ka.layers.AttentionOptions(
        num_key_value_heads=2, sliding_window=3
    )
    model = build(
        position=ka.LearnedPositionalEncoding(19),
        attention_options=options,
        attention_dropout=0.0,
    )
    encoder, decoder = parts(model)
    assert encoder.position is not decoder.position
    for part in (encoder, decoder):
        assert isinstance(part.position, ka.LearnedPositionalEncoding)
        (block,) = part.blocks
        assert block.self_attention.num_key_value_heads == 2
        assert block.self_attention.dropout == 0.0
        assert block.dropouts[0].rate == 0.1  # the others
        assert block.self_attention.get_config()["sliding_window"] == 3
    tables = [w for w in model.weights if tuple(w.shape) == (19, 12)]
    assert len(tables) == 2
    inputs = {"source": source_ids(), "target": TARGET}
    expected = model(inputs)
    model.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded(inputs), expected)


@on_one_backend
def test_position_is_for_transformer_parts():
    decoder = build("rnn-transformer", position=ka.RotaryEmbedding()).decoder
    assert isinstance(decoder.position, ka.RotaryEmbedding)
    with pytest.raises(ValueError, match="`position` must not be set for"):
        build("luong", position=ka.RotaryEmbedding())


@on_one_backend
@pytest.mark.parametrize("kind", ["bahdanau", "luong"])
@pytest.mark.parametrize(
    "attention", ["additive", "scaled", "general", "cosine", "distance", None]
)
def test_attention_is_the_one_asked_for(kind, attention):
    # One direction, so that keys and queries are of one width.
    model = build(
        kind, attention=attention, bidirectional=False, dtype="mixed_bfloat16"
    )
    layer = model.decoder.attention
    if attention is None:
        attention = {"bahdanau": "additive", "luong": "general"}[kind]
    if attention == "additive":
        assert isinstance(layer, ka.AdditiveAttention)
        assert layer.units == 12
    else:
        assert layer.get_config()["score"] == attention
    assert layer.dtype_policy.name == "mixed_bfloat16"
    query_state = {"bahdanau": "previous", "luong": "current"}[kind]
    assert model.decoder.query_state == query_state


@on_one_backend
def test_attention_may_be_a_mechanism_and_is_copied():
    given = ka.LocalAttention(3, units=7, predictive=True)
    first, second = (
        build("luong", attention=given, input_feeding=False) for _ in range(2)
    )
    layer = first.decoder.attention
    assert layer.get_config() == given.get_config()
    assert len({id(given), id(layer), id(second.decoder.attention)}) == 3
    assert first.decoder.query_state == "current"


@on_one_backend
def test_rnn_kind_has_no_attention():
    assert build("rnn-rnn").decoder.attention is None


@on_one_backend
def test_seed_reaches_both_parts_and_differs_between_them():
    encoder, decoder = parts(build("transformer", seed=41))
    assert encoder.seed == 41
    assert decoder.seed != 41
    seeds = [
        layer.seed
        for part in (encoder, decoder)
        for layer in part._flatten_layers()
        if isinstance(layer, (keras.layers.Dropout, ka.MultiHeadAttention))
    ]
    # 5 in the encoder for one layer: embedding, attention, two residuals.
    assert len(seeds) == 4 + 6
    assert len(set(seeds)) == len(seeds)
    assert build("transformer").encoder.seed is None


@on_one_backend
@pytest.mark.parametrize("short", list(builder.SHORT_NAMES))
def test_short_name_is_the_pair_of_its_paper(short):
    one, other = build(short), build(builder.SHORT_NAMES[short])
    for part, twin in zip(parts(one), parts(other), strict=True):
        assert type(part) is type(twin)
        shapes = [[tuple(w.shape) for w in x.weights] for x in (part, twin)]
        assert shapes[0] == shapes[1]


IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
PAIRS = [kind for kind in builder.KINDS if "-" in kind]
# Each encoder and each decoder.
FEW = ["rnn-bahdanau", "cnn-luong", "transformer-transformer", "cnn-rnn"]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(k, marks=[] if k in FEW else pytest.mark.exhaustive)
        for k in (PAIRS if IS_TENSORFLOW else FEW[1:3])
    ],
)
def test_every_kind_builds_and_trains(kind):
    model = build(kind, units=4, seed=3)
    before = [np.array(w) for w in model.trainable_variables]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, run_eagerly=IS_TENSORFLOW)
    inputs = {"source": source_ids(), "target": TARGET}
    history = model.fit(inputs, LABELS, verbose=0).history
    assert np.isfinite(history["loss"][0])
    still = [
        weight.path
        for weight, old in zip(model.trainable_variables, before, strict=True)
        if (np.array(weight) == old).all()
    ]
    # A bias of the keys moves all scores alike, which no softmax sees.
    assert [path for path in still if "key/bias" not in path] == []


@pytest.mark.tensorflow_only
@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["cnn-bahdanau", "rnn-luong"])
def test_compiled_training_step_is_the_plain_one(kind):
    """With no length known when the step is traced, as in a pipeline."""
    import tensorflow as tf

    inputs = {"source": source_ids(), "target": TARGET.astype("int32")}
    ids = tf.TensorSpec((None, None), tf.int32)
    batches = tf.data.Dataset.from_generator(
        lambda: [(inputs, LABELS.astype("int32"))],
        output_signature=({"source": ids, "target": ids}, ids),
    )
    batches = batches.apply(tf.data.experimental.assert_cardinality(1))
    weights = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(5)
        model = build(kind, units=4, seed=3)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(
            "sgd", loss, jit_compile=jit_compile, run_eagerly=not jit_compile
        )
        model.fit(batches, shuffle=False, verbose=0)
        weights.append([np.array(w) for w in model.trainable_variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.tensorflow_only
def test_vocabularies_are_attached():
    source = ka.Vocabulary.build(["abc"])
    target = ka.Vocabulary.build(["A B"], unit="symbols")
    model = ka.build_seq2seq("luong", source, target, units=5)
    assert model.encoder.vocabulary_size == 7
    assert model.decoder.vocabulary_size == 6
    assert model.source_vocabulary is source
    assert model.target_vocabulary is target


# --- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("transformer", {"cell": "gru"}),
        ("transformer", {"attention": "dot"}),
        ("luong", {"num_heads": 2}),
        ("bahdanau", {"input_feeding": False}),
        ("rnn-rnn", {"attention": "dot"}),
        ("cnn-transformer", {"bidirectional": True}),
        ("luong", {"attention_dropout": 0.1}),
        ("rnn-luong", {"kernel_size": 3}),
    ],
)
def test_option_without_use_is_refused(kind, option):
    (name,) = option
    message = f"`{name}` must not be set for kind='{kind}', which has no use"
    with pytest.raises(ValueError, match=message):
        build(kind, **option)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "gru"}, "`kind` must be one of 'transformer', 'bahdanau'"),
        (
            {"units": 7, "num_heads": 3},
            "`num_heads` must be a divisor of units",
        ),
        ({"num_layers": 0}, "`num_layers` must be a positive integer"),
        ({"attention_dropout": 1.0}, "`attention_dropout` must be in"),
        (
            {
                "attention_dropout": 0.1,
                "attention_options": ka.layers.AttentionOptions(dropout=0.2),
            },
            "`attention_dropout` must be given once.*=0.1. attention_options",
        ),
        ({"num_decoder_layers": 0}, "`num_layers` must be a positive integer"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
        ({"max_length": -3}, "`max_length` must be a positive integer"),
        (
            {
                "kind": "luong",
                "attention": "bilinear",
                "bidirectional": False,
            },
            "`score` must be one of .*general",
        ),
        (
            {"kind": "luong", "attention": "dot"},
            "`attention` must be .*encoder's width 24 is not units=12.*",
        ),
        (
            {"kind": "luong", "tie_embeddings": True, "embedding_dim": 5},
            "`tie_embeddings` must be False where embedding_dim=5",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_option_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@on_one_backend
@pytest.mark.parametrize(
    "kind",
    [pytest.param("transformer", marks=pytest.mark.exhaustive), "cnn-bahdanau"],
)
def test_encoder_and_decoder_share_one_table(kind, tmp_path):
    vocabulary = ka.Vocabulary.build(["abcdefg"])
    count = len(vocabulary)
    options = {"units": 12, "seed": 5, "dropout": 0.0}
    shared, apart = (
        ka.build_seq2seq(
            kind,
            vocabulary,
            vocabulary,
            share_embeddings=share,
            tie_embeddings=True,
            **options,
        )
        for share in (True, False)
    )
    assert shared.decoder.embedding is shared.encoder.embedding
    assert apart.count_params() - shared.count_params() == count * 12
    shared.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True))
    before = shared.encoder.embedding.embeddings.numpy()
    inputs = {"source": source_ids(), "target": TARGET}
    shared.fit(inputs, LABELS, verbose=0)
    after = shared.encoder.embedding.embeddings.numpy()
    assert (before != after).any(axis=-1).all()  # the logits move each row
    # With equal weights it says what two tables say.
    for part, other in zip(parts(shared), parts(apart), strict=True):
        other.set_weights(part.get_weights())
    np.testing.assert_allclose(shared(inputs), apart(inputs), atol=1e-6)
    shared.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    assert loaded.decoder.embedding is loaded.encoder.embedding
    np.testing.assert_allclose(loaded(inputs), shared(inputs), atol=1e-6)
    texts = [model.generate(["abc"]).texts[0, 0] for model in (loaded, shared)]
    assert texts[0] == texts[1]


@on_one_backend
def test_sizes_may_be_numbers_of_numpy():
    model = ka.build_seq2seq("luong", np.int64(11), np.int32(13), units=4)
    assert model.decoder.vocabulary_size == 13
    assert model.source_vocabulary is None


@on_one_backend
def test_embeddings_that_cannot_be_shared_are_refused():
    other = ka.Vocabulary.build(["hijklmn"])
    vocabulary = ka.Vocabulary.build(["abcdefg"])
    encoder = ka.TransformerEncoder(11, 12, num_heads=2)
    decoder = ka.TransformerDecoder(11, 12, num_heads=2)
    ka.Seq2Seq(encoder, decoder)
    for call, message in (
        (lambda: build(share_embeddings=True), "11 ids of width 12, 13 of 12"),
        (
            lambda: ka.build_seq2seq(
                "luong", vocabulary, other, units=12, share_embeddings=True
            ),
            "without one vocabulary for both sides",
        ),
        (
            lambda: ka.Seq2Seq(
                keras.layers.Embedding(11, 12), decoder, share_embeddings=True
            ),
            "an encoder with an embedding",
        ),
        (
            lambda: ka.Seq2Seq(
                ka.CNNEncoder(11, 12), decoder, share_embeddings=True
            ),
            "a decoder that was not built yet",
        ),
    ):
        with pytest.raises(ValueError, match=f"`share_embeddings` .*{message}"):
            call()


class HidesMore(ka.TransformerEncoder):
    """Hides the id 5, wherever it stands."""

    def compute_mask(self, source, previous_mask=None):
        return keras.ops.logical_and(source != 0, source != 5)


def test_parts_of_the_caller_may_hide_more_than_padding():
    """What `declared_batches` must not be told of such a model."""
    model = build("cnn-transformer")
    assert builder.hides_padding_alone(model)
    other = ka.Seq2Seq(HidesMore(11, 12), model.decoder, max_length=5)
    assert not builder.hides_padding_alone(other)


@on_one_backend
def test_mechanisms_of_the_caller_may_hide_more_than_padding():
    def is_known(**options):
        decoder = ka.RNNDecoder(13, 12, **options)
        encoder = ka.CNNEncoder(11, 12)
        return builder.hides_padding_alone(ka.Seq2Seq(encoder, decoder))

    assert is_known() and is_known(attention=ka.AdditiveAttention(5))
    assert not is_known(attention=Coverage())
    several = [ka.AdditiveAttention(5), Coverage()]
    cell = ka.AttentionCell(keras.layers.GRUCell(12), several)
    assert not is_known(cell=cell)


@pytest.mark.parametrize("vocabulary", [None, "vocabulary.json", ["a", "b"]])
def test_what_is_no_vocabulary_is_refused(vocabulary):
    with pytest.raises(ValueError, match=r"`target_vocabulary` must be a text"):
        ka.build_seq2seq("luong", 11, vocabulary)


def test_misspelt_option_is_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword.*'num_head'"):
        build(num_head=2)
