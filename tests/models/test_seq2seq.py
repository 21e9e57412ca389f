"""Seq2Seq: what fit sees, and what generate gives back."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import mask_of
from small_models import SOURCE_IDS
from small_models import TARGET_IDS
from small_models import assert_close
from small_models import randomize
from small_models import small_model
from small_models import source_ids
from small_models import target_ids

import keras_attention as ka
from keras_attention.decoding import Beam
from keras_attention.decoding import Greedy
from keras_attention.decoding import Sample

SEARCHES = {
    "greedy": Greedy(),
    "sample": Sample(seed=3, num_samples=2),
    "beam": Beam(width=3, num_hypotheses=2),
}


@pytest.fixture(scope="module")
def rnn_model():
    return small_model("rnn", "bahdanau", max_length=6)


@pytest.fixture(scope="module")
def transformer_model():
    return small_model("transformer", "transformer", max_length=6)


@pytest.fixture(scope="module")
def text_model():
    from keras_attention.text import Vocabulary

    model = small_model(
        "cnn",
        "luong",
        max_length=6,
        source_vocabulary=Vocabulary.build(["abcdefg"]),
        target_vocabulary=Vocabulary.build(["A B C D E F G H I"], "symbols"),
    )
    return model


# --- training ----------------------------------------------------------------

LABELS = np.array([[5, 6, 7, 2], [8, 2, 0, 0], [2, 0, 0, 0]])
SHIFTED = np.array([[1, 5, 6, 7], [1, 8, 2, 0], [1, 2, 0, 0]])
SHIFTED_WITHOUT_EOS = np.array([[1, 5, 6, 7], [1, 8, 0, 0], [1, 0, 0, 0]])


def inputs_of(target):
    return {"source": source_ids(), "target": target}


def test_mask_of_logits_is_that_of_the_labels(rnn_model):
    for target in (SHIFTED, SHIFTED_WITHOUT_EOS):
        logits = rnn_model(inputs_of(target))
        np.testing.assert_array_equal(mask_of(logits), LABELS != 0)


@pytest.mark.parametrize("target", [SHIFTED, SHIFTED_WITHOUT_EOS])
def test_plain_keras_loss_is_the_mean_over_real_tokens(rnn_model, target):
    model = rnn_model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, weighted_metrics=["accuracy"])
    measured = model.evaluate(
        inputs_of(target), LABELS, verbose=0, return_dict=True
    )
    logits = ops.convert_to_numpy(model(inputs_of(target))).astype("float64")
    odds = np.exp(logits)
    gains = np.log(odds / odds.sum(axis=-1, keepdims=True))
    gains = np.take_along_axis(gains, LABELS[..., None], axis=-1)[..., 0]
    assert_close(measured["loss"], -gains[LABELS != 0].mean())
    is_right = (logits.argmax(axis=-1) == LABELS)[LABELS != 0]
    assert_close(measured["accuracy"], is_right.mean())


def test_logits_do_not_depend_on_the_padded_lengths(rnn_model):
    short = rnn_model(inputs_of(SHIFTED))
    wider = {
        "source": np.pad(source_ids(), ((0, 0), (0, 4))),
        "target": np.pad(SHIFTED, ((0, 0), (0, 2))),
    }
    real = SHIFTED != 0
    long = ops.convert_to_numpy(rnn_model(wider))[:, :4]
    assert_close(long[real], ops.convert_to_numpy(short)[real])


@pytest.mark.tensorflow_only
def test_mixed_bfloat16_trains_with_float32_logits():
    model = ka.build_seq2seq(
        "rnn-transformer", 11, 13, units=6, num_heads=2, dtype="mixed_bfloat16"
    )
    logits = model(inputs_of(SHIFTED))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    encoded = model.encoder(source_ids())
    assert keras.backend.standardize_dtype(encoded.dtype) == "bfloat16"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, run_eagerly=True)
    history = model.fit(inputs_of(SHIFTED), LABELS, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_mixed_float16_scales_its_loss():
    model = ka.build_seq2seq("luong", 11, 13, units=5, dtype="mixed_float16")
    model.compile("adam", "sparse_categorical_crossentropy")
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"


@pytest.mark.tensorflow_only
def test_seeded_models_train_alike():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        model = ka.build_seq2seq("luong", 11, 13, units=5, dropout=0.5, seed=3)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, run_eagerly=True)
        model.fit(inputs_of(SHIFTED), LABELS, verbose=0)
        weights.append([np.array(w) for w in model.trainable_variables])
    for one, other in zip(*weights, strict=True):
        assert_close(one, other, 1e-6)


INPUTS = {"source": source_ids(), "target": SHIFTED}


@pytest.mark.parametrize(
    ("inputs", "received"),
    [
        ([source_ids(), SHIFTED], "a (list|tuple)"),
        ((source_ids(), SHIFTED), "a tuple"),
        (source_ids(), r"a tensor of shape \(\w+, 5\)"),
        ({"source": source_ids()}, r"a dict with the keys \['source'\]"),
        (
            {"source": source_ids(), "targets": SHIFTED},
            r"a dict with .*\['source', 'targets'\]",
        ),
        (
            {**INPUTS, "weights": SHIFTED},
            r"a dict with .*, 'target', 'weights'\]",
        ),
    ],
    ids=["list", "tuple", "tensor", "no target", "other key", "extra key"],
)
def test_inputs_of_another_structure_are_refused(rnn_model, inputs, received):
    message = (
        "`inputs` must be a dict with the keys 'source' and 'target', and if "
        "wanted 'source_mask', 'initial_state' and 'alignment'. "
        f"Received: inputs=({received})"
    )
    with pytest.raises(ValueError, match=message):
        rnn_model(inputs)
    if isinstance(inputs, tuple):
        return  # Keras reads a tuple as inputs and labels
    rnn_model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        rnn_model.fit(inputs, LABELS, verbose=0)


def test_inputs_of_another_rank_are_refused(rnn_model):
    with pytest.raises(ValueError, match=r"`target` must have shape \(batch,"):
        rnn_model({"source": source_ids(), "target": SHIFTED[0]})


def test_summary_shows_the_shapes_of_both_parts(rnn_model, transformer_model):
    for model, width in ((rnn_model, 8), (transformer_model, 10)):
        lines = []
        model.summary(line_length=78, print_fn=lines.append)
        text = "\n".join(lines)
        assert f"(None, None, {width})" in text
        assert f"(None, None, {TARGET_IDS})" in text
        assert f"{model.decoder.count_params():,}" in text
        assert "?" not in text and "unbuilt" not in text


# --- configuration -----------------------------------------------------------


@pytest.mark.parametrize("decoder", ["bahdanau", "transformer-moved"])
def test_config_makes_the_same_model_again(decoder):
    model = small_model("cnn", decoder, max_length=17, name="translator")
    config = keras.saving.serialize_keras_object(model)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    assert (again.max_length, again.name) == (17, "translator")
    again.set_weights(model.get_weights())
    inputs = inputs_of(SHIFTED)
    assert_close(again(inputs), model(inputs), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "rnn"}, "`encoder` must be a Keras layer or model"),
        ({"decoder": None}, "`decoder` must be a Keras layer with `start`"),
        ({"max_length": 0}, "`max_length` must be a positive integer"),
        (
            {"source_vocabulary": "abcdefghijk"},
            r"`source_vocabulary` must be a text\.Vocabulary.*without dec",
        ),
    ],
    ids=["encoder", "decoder", "max_length", "vocabulary"],
)
def test_bad_arguments_are_refused(change, message):
    parts = {
        "encoder": ka.RNNEncoder(11, 5),
        "decoder": ka.RNNDecoder(13, 5),
    }
    with pytest.raises(ValueError, match=message):
        ka.Seq2Seq(**{**parts, **change})


@pytest.mark.tensorflow_only
def test_halves_that_share_a_layer_are_refused():
    """A file would hold the layer once, and both would look for it."""
    options = {"units": 6, "num_heads": 2}
    learned = ka.LearnedPositionalEncoding(20)
    encoder = ka.TransformerEncoder(11, position=learned, **options)
    with pytest.raises(ValueError, match="`decoder` must be of variables of"):
        ka.Seq2Seq(
            encoder, ka.TransformerDecoder(13, position=learned, **options)
        )
    copied = ka.LearnedPositionalEncoding.from_config(learned.get_config())
    ka.Seq2Seq(encoder, ka.TransformerDecoder(13, position=copied, **options))


def test_vocabulary_of_another_model_is_refused(text_model):
    other = ka.Vocabulary.build(["abc"])
    mine = text_model.target_vocabulary
    message = (
        "`source_vocabulary` must have 11 entries.*"
        r"len\(source_vocabulary\)=7\. Is it the vocabulary of another model"
    )
    with pytest.raises(ValueError, match=message):
        text_model.set_vocabularies(other, mine)
    with pytest.raises(ValueError, match="`target_vocabulary` must have 13"):
        text_model.set_vocabularies(text_model.source_vocabulary, other)


# --- generate ----------------------------------------------------------------


IS_TENSORFLOW = keras.backend.backend() == "tensorflow"


@pytest.mark.parametrize(
    "search",
    [
        pytest.param(name, marks=[pytest.mark.exhaustive] * (name == "sample"))
        for name in (SEARCHES if IS_TENSORFLOW else ["beam"])
    ],
)
def test_generate_keeps_the_order_and_each_row_to_itself(rnn_model, search):
    """KerasHub's BeamSampler lets batch-mates change a row's result."""
    source = source_ids((3, 5, 1, 4, 2))
    options = {"search": SEARCHES[search], "verbose": 0}
    together = rnn_model.generate(source, **options)
    split = rnn_model.generate(source, batch_size=2, **options)
    count = 1 if search == "greedy" else 2
    assert together.tokens.shape == (5, count, 6)
    assert together.alignments.shape[:2] == (5, count)
    assert together.alignments.shape[3] == 5
    np.testing.assert_array_equal(together.tokens, split.tokens)
    np.testing.assert_array_equal(together.lengths, split.lengths)
    assert_close(together.scores, split.scores)
    assert_close(together.alignments, split.alignments)
    # The bits of a sample follow its place in the list; and JAX compiles a
    # search for each shape, of which the split batches bring three.
    if search == "sample" or not IS_TENSORFLOW:
        return
    for row, length in ((0, 3), (2, 1)):
        alone = rnn_model.generate(source[row : row + 1, :length], **options)
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])
        assert_close(alone.scores[0], together.scores[row])
        written = alone.alignments.shape[2]
        expected = together.alignments[row, :, :written, :length]
        assert_close(alone.alignments[0], expected)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "model",
    [
        pytest.param("rnn_model", marks=pytest.mark.exhaustive),
        "transformer_model",
    ],
)
def test_generate_compiled_gives_the_same(model, request):
    model = request.getfixturevalue(model)
    source = source_ids((3, 5, 1))
    options = {"search": Beam(width=3, num_hypotheses=2), "verbose": 0}
    plain = model.generate(source, **options)
    compiled = model.generate(source, jit_compile=True, **options)
    np.testing.assert_array_equal(plain.tokens, compiled.tokens)
    for one, other in zip(plain, compiled, strict=True):
        assert_close(one, other)


def test_generate_never_says_padding_or_beginning(rnn_model):
    search = Sample(temperature=9.0, seed=5, num_samples=23)
    found = rnn_model.generate(source_ids(), search, verbose=0)
    written = np.arange(6) < found.lengths[..., None]
    assert not np.isin(found.tokens[written], (0, 1)).any()
    assert (found.tokens[~written] == 0).all()


def test_generate_alignments_sum_to_one_over_the_real_source(
    transformer_model,
):
    source = source_ids()
    found = transformer_model.generate(source, verbose=0)
    hidden = np.broadcast_to(
        (source == 0)[:, None, None], found.alignments.shape
    )
    assert (found.alignments[hidden] == 0).all()
    longest = found.alignments.shape[2]
    assert longest == found.lengths.max()
    written = np.arange(longest) < found.lengths[..., None]
    assert_close(found.alignments.sum(axis=-1), written.astype(float))


def test_generate_sees_the_weights_of_today():
    model = small_model("rnn", "luong", max_length=4)
    before = model.generate(source_ids(), verbose=0)
    randomize(model, seed=4)
    after = model.generate(source_ids(), verbose=0)
    assert np.abs(before.scores - after.scores).max() > 1e-3


def test_generate_takes_a_length_of_its_own(rnn_model):
    assert rnn_model.generate(source_ids(), max_length=3).tokens.shape[2] == 3
    with pytest.raises(ValueError, match="`max_length` must be a positive"):
        rnn_model.generate(source_ids(), max_length=0)
    with pytest.raises(ValueError, match="`batch_size` must be a positive"):
        rnn_model.generate(source_ids(), batch_size=0)


@pytest.mark.parametrize("search", list(SEARCHES))
def test_generate_of_nothing_is_empty(rnn_model, search):
    search = SEARCHES[search]
    count = 1 if search == Greedy() else 2
    for nothing in ([], np.zeros((0, 5), "int32")):
        found = rnn_model.generate(nothing, search)
        assert found.tokens.shape == (0, count, 6)
        assert found.scores.shape == found.lengths.shape == (0, count)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("abc", "`source` must be a list of strings.*Put it in a list"),
        (np.array("abc"), "`source` must be a list of strings.*'abc'"),
        (["abc", 5], "`source` must be all strings or all ids"),
        (["abc"], "`source` must be ids where the model has no source_voc"),
        ([[4, 5], [6]], r"rows of one length.*\[1, 2\] ids\. Pad the shorter"),
        (np.array([4, 5]), r"integer matrix .*Received: shape \(2,\)"),
        (np.ones((2, 3)), "integer matrix .*of float64"),
        ([[4, SOURCE_IDS]], "ids from 0 to 10. Received: source=ids from 4 to"),
        ([[4, -1]], "ids from 0 to 10. Received: source=ids from -1 to 4"),
    ],
    ids=[
        "one string",
        "array of no axis",
        "mixture",
        "strings",
        "ragged",
        "vector",
        "floats",
        "id too large",
        "id below zero",
    ],
)
def test_generate_refuses_bad_sources(rnn_model, source, message):
    with pytest.raises(ValueError, match=message):
        rnn_model.generate(source)


def test_generate_refuses_what_is_no_search(rnn_model):
    with pytest.raises(ValueError, match="`search` must be a Greedy"):
        rnn_model.generate(source_ids(), search="beam")


@pytest.mark.tensorflow_only
def test_generate_shows_a_bar_when_asked(rnn_model, capsys):
    source = source_ids()
    rnn_model.generate(source)
    assert capsys.readouterr().out == ""
    rnn_model.generate(source, batch_size=2, verbose=1)
    assert "2/2" in capsys.readouterr().out


# --- text --------------------------------------------------------------------


@pytest.mark.tensorflow_only
def test_generate_of_strings_is_generate_of_their_ids(text_model):
    texts = ["abc", "g", "", "fa?"]
    search = Beam(width=3, num_hypotheses=2)
    found = text_model.generate(texts, search)
    ids = np.array(text_model.source_vocabulary.encode(texts))
    expected = text_model.generate(ids, search)
    assert found.texts.shape == (4, 2)
    for row in range(4):
        for rank in range(2):
            tokens = expected.tokens[row, rank]
            decoded = text_model.target_vocabulary.decode(tokens).numpy()
            assert found.texts[row, rank] == decoded.decode()
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert_close(one, other)
    import tensorflow as tf

    for container in (np.array(texts), tf.constant(texts)):
        again = text_model.generate(container, search)
        np.testing.assert_array_equal(again.texts, found.texts)


@pytest.mark.tensorflow_only
def test_generate_of_no_strings_is_empty(text_model):
    found = text_model.generate([])
    assert found.texts.shape == (0, 1)
    assert type(found).__name__ == "GeneratedTexts"


@pytest.mark.tensorflow_only
def test_plot_alignment_labels_every_token(text_model, rnn_model):
    for max_length in (2, 6):  # with EOS and without
        axes = text_model.plot_alignment("ab?", max_length=max_length).axes[0]
        assert axes.get_title().startswith("ab? \N{RIGHTWARDS ARROW} ")
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == ["a", "b", "<unk>", "<eos>"]
    with pytest.raises(ValueError, match="has no source_vocabulary"):
        rnn_model.plot_alignment("abc")


@pytest.mark.tensorflow_only
def test_plot_alignment_shows_the_best_of_several():
    letters = ka.Vocabulary.build(["abc"])
    model = ka.build_seq2seq("luong", letters, letters, units=4)
    model.set_weights([np.zeros(w.shape) for w in model.weights])
    bias = np.zeros(len(letters))
    bias[2] = 3.0  # EOS is the likeliest target, all others are longer
    model.decoder.logit_dense.bias.assign(bias)
    search = Beam(3, num_hypotheses=3)
    assert model.generate(["ab"], search, 5).lengths[0].tolist() == [1, 2, 2]
    axes = model.plot_alignment("ab", search, max_length=5).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["<eos>"]


def test_targets_of_every_id_are_read(rnn_model):
    target = np.arange(TARGET_IDS)[None] + np.zeros((3, 1), int)
    assert np.isfinite(rnn_model(inputs_of(target))).all()
    assert target_ids().max() < TARGET_IDS
