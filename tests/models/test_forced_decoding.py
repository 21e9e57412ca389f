"""`score`: the log probability of sequences that are given."""

import keras
import numpy as np
import pytest
from language_models import PROMPTS
from language_models import language_model
from small_models import TARGET_IDS
from small_models import randomize
from small_models import small_model

import keras_attention as ka
from keras_attention.models import ScoredSequences
from keras_attention.text import Vocabulary

# Rows of several lengths on both sides, one cut before its EOS.
SOURCE = np.array(
    [
        [5, 4, 7, 2, 0],
        [6, 2, 0, 0, 0],
        [9, 8, 10, 3, 2],
        [2, 0, 0, 0, 0],
        [4, 4, 2, 0, 0],
    ]
)
TARGET = np.array(
    [
        [6, 2, 0, 0, 0, 0, 0],
        [8, 4, 12, 5, 9, 7, 2],
        [2, 0, 0, 0, 0, 0, 0],
        [11, 5, 5, 2, 0, 0, 0],
        [7, 6, 10, 0, 0, 0, 0],
    ]
)


def log_probabilities(logits, labels):
    """Of each label, in float64; 0 at padding."""
    logits = np.asarray(logits, "float64")
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = odds / odds.sum(axis=-1, keepdims=True)
    of_labels = np.take_along_axis(shares, labels[..., None], axis=-1)[..., 0]
    return np.where(labels == 0, 0.0, np.log(of_labels))


def after_bos(labels):
    return np.pad(labels, ((0, 0), (1, 0)), constant_values=1)[:, :-1]


@pytest.fixture(scope="module")
def model():
    return small_model(
        "rnn",
        "transformer",
        max_length=7,
        source_vocabulary=Vocabulary.build(["abcdefg"]),
        target_vocabulary=Vocabulary.build(["A B C D E F G H I"], "symbols"),
    )


def test_scores_are_sums_of_log_probabilities(model):
    expected = log_probabilities(
        model({"source": SOURCE, "target": after_bos(TARGET)}), TARGET
    )
    for batch_size in (64, 2):
        found = model.score(SOURCE, TARGET, batch_size=batch_size)
        assert isinstance(found, ScoredSequences)
        np.testing.assert_array_equal(found.lengths, [2, 7, 1, 4, 3])
        for row in range(5):  # each alone: its padding is not there
            length = found.lengths[row]
            np.testing.assert_allclose(
                found.token_log_probabilities[row, :length],
                expected[row, :length],
                rtol=1e-4,
            )
            assert not found.token_log_probabilities[row, length:].any()
        np.testing.assert_allclose(
            found.log_probabilities, expected.sum(axis=1), rtol=1e-5
        )
    assert found.log_probabilities.dtype == "float64"


@pytest.mark.parametrize("search", [ka.Greedy(), ka.Beam(3, 0.0)])
def test_what_was_found_has_the_score_of_the_search(model, search):
    generated = model.generate(SOURCE, search)
    found = model.score(SOURCE, generated.tokens[:, 0])
    np.testing.assert_allclose(
        found.log_probabilities, generated.scores[:, 0], rtol=1e-5
    )
    np.testing.assert_array_equal(found.lengths, generated.lengths[:, 0])


def test_texts_are_scored_as_their_ids(model):
    sources, targets = ["ab", "gfedc", "a"], ["A B", "", "I H G F"]
    found = model.score(sources, targets)
    ids = [
        np.asarray(vocabulary.encode(texts))
        for vocabulary, texts in (
            (model.source_vocabulary, sources),
            (model.target_vocabulary, targets),
        )
    ]
    np.testing.assert_array_equal(found.lengths, [3, 1, 5])
    np.testing.assert_allclose(
        found.log_probabilities,
        model.score(*ids).log_probabilities,
        rtol=1e-6,
    )


def test_a_mask_of_the_source_is_minded(model):
    mask = SOURCE != 0
    mask[[0, 2, 4], 1] = False
    found = model.score(SOURCE, TARGET, source_mask=mask)
    inputs = {"source": SOURCE, "target": after_bos(TARGET)}
    inputs["source_mask"] = mask
    np.testing.assert_allclose(
        found.log_probabilities,
        log_probabilities(model(inputs), TARGET).sum(axis=1),
        rtol=1e-5,
    )
    without = model.score(SOURCE, TARGET).log_probabilities
    assert abs(found.log_probabilities - without).max() > 1e-3


def test_no_pair_has_no_score(model):
    found = model.score([], [])
    assert found.log_probabilities.shape == (0,)
    assert found.lengths.shape == (0,)


def test_targets_of_arrays_are_scored():
    frames = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(4)])
    decoder = ka.RNNDecoder(TARGET_IDS, 5, ka.AdditiveAttention(3))
    model = randomize(ka.Seq2Seq(frames, decoder, max_length=7))
    source = np.random.default_rng(7).normal(size=(5, 6, 3)).astype("float32")
    inputs = {"source": source, "target": after_bos(TARGET)}
    np.testing.assert_allclose(
        model.score(source, TARGET, batch_size=3).log_probabilities,
        log_probabilities(model(inputs), TARGET).sum(axis=1),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "kind",
    ["learned", pytest.param("window", marks=pytest.mark.exhaustive)],
)
def test_a_language_model_scores_texts(kind):
    model = language_model(kind)
    labels = TARGET[:, :6]
    expected = log_probabilities(model(after_bos(labels)), labels)
    found = model.score(labels, batch_size=2)
    np.testing.assert_allclose(
        found.log_probabilities, expected.sum(axis=1), rtol=1e-5
    )
    np.testing.assert_array_equal(found.lengths, [2, 6, 1, 4, 3])


def test_a_language_model_scores_what_it_said():
    model = language_model("learned", max_length=5)
    said = model.generate(PROMPTS[1:2], ka.Beam(3, 0.0))  # of no prompt
    found = model.score(said.tokens[:, 0])
    np.testing.assert_allclose(
        found.log_probabilities, said.scores[:, 0], rtol=1e-5
    )


def test_weights_that_changed_are_minded(model):
    before = model.score(SOURCE, TARGET).log_probabilities
    weight = model.decoder.trainable_variables[-1]
    kept = np.asarray(weight)
    weight.assign(2 * kept)
    after = model.score(SOURCE, TARGET).log_probabilities
    weight.assign(kept)
    assert abs(after - before).max() > 1e-3


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (TARGET[:4], "one for each of the 5 sources"),
        (after_bos(TARGET), "without BOS"),
        (TARGET[:, ::-1], "padding before other ids"),
        (TARGET + TARGET_IDS, "ids from 0 to 12"),
        (TARGET / 2, "an integer matrix"),
        ("A B", "Put it in a list"),
    ],
    ids=["fewer", "bos", "padding-first", "too-large", "floats", "one-text"],
)
def test_targets_that_cannot_be_scored_are_refused(model, target, message):
    with pytest.raises(ValueError, match=message):
        model.score(SOURCE, target)


def test_more_positions_than_there_are_and_texts_alone_are_refused():
    model = language_model("learned")
    long = np.full((1, 30), 5)
    with pytest.raises(ValueError, match=r"30 positions for a sequence of 30"):
        model.score(long)
    with pytest.raises(ValueError, match="no vocabulary for it"):
        model.score(["ab"])
    with pytest.raises(ValueError, match="`batch_size` must be a positive"):
        model.score(long[:, :3], batch_size=0)
