"""The page of a text: its alignment, its layers, the steps of its search."""

import numpy as np
import pytest
from pages import data_of
from pages import weights_in

import keras_attention as ka
from keras_attention.models.alignment_page import search_in_steps

pytestmark = pytest.mark.tensorflow_only

TEXT = "abcab"


def small_model(kind, **options):
    letters = ka.Vocabulary.build(["abc"])
    model = ka.build_seq2seq(kind, letters, letters, max_length=7, **options)
    for weight in model.weights:  # far from even, so that searches differ
        rng = np.random.default_rng(len(weight.path))
        weight.assign(rng.normal(size=weight.shape, scale=0.7))
    return model


@pytest.fixture(scope="module")
def transformer():
    options = {"num_layers": 1, "num_heads": 3, "feed_forward_units": 5}
    return small_model("transformer", units=6, **options)


@pytest.fixture(scope="module")
def recurrent():
    return small_model("luong", units=5)


def source_of(model):
    return np.asarray(model.source_vocabulary.encode([TEXT]))


@pytest.mark.parametrize(
    "search",
    [
        ka.Sample(seed=3),
        ka.Beam(width=3, length_penalty=0.0),
        pytest.param(ka.Greedy(), marks=pytest.mark.exhaustive),
        pytest.param(
            ka.Beam(width=4, num_groups=2, length_penalty=0.0),
            marks=pytest.mark.exhaustive,
        ),
    ],
    ids=["sample", "beam", "greedy", "diverse"],
)
def test_a_search_in_steps_is_the_search(recurrent, search):
    source = source_of(recurrent)
    expected = recurrent.generate(source, search, verbose=0)
    found, steps = search_in_steps(recurrent, source, search, 7)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    length = expected.alignments.shape[2]
    alignments = np.asarray(found.alignments)[:, :, :length]
    np.testing.assert_allclose(alignments, expected.alignments, atol=1e-6)
    best = expected.tokens[0, 0, : expected.lengths[0, 0]].tolist()
    told = {tuple(ids): score for ids, score in steps[-1]}
    assert told[tuple(best)] == pytest.approx(expected.scores[0, 0], rel=1e-5)


def test_steps_grow_by_a_token_and_keep_what_has_ended(recurrent):
    search = ka.Beam(width=3, num_hypotheses=2, length_penalty=0.0)
    _, steps = search_in_steps(recurrent, source_of(recurrent), search, 5)
    counts = []
    for number, step in enumerate(steps, start=1):
        going_on = [(ids, score) for ids, score in step if ids[-1] != 2]
        ended = step[len(going_on) :]
        assert [len(ids) for ids, _ in going_on] == [number] * 3
        assert all(ids[-1] == 2 and len(ids) <= number for ids, _ in ended)
        for part in (going_on, ended):
            scores = [score for _, score in part]
            assert scores == sorted(scores, reverse=True)
        counts.append(len(ended))
    assert counts == sorted(counts) and counts[-1] == 2


def test_the_first_step_has_the_most_probable_tokens(recurrent):
    search = ka.Beam(width=3, length_penalty=0.0)
    source = source_of(recurrent)
    inputs = {"source": source, "target": np.array([[1]])}
    logits = np.asarray(recurrent(inputs))[0, 0].astype("float64")
    chances = logits - np.log(np.exp(logits).sum())
    chances[:3] = -np.inf  # none of these goes on
    _, steps = search_in_steps(recurrent, source, search, 5)
    found = [(int(ids[0]), score) for ids, score in steps[0][:3]]
    best = np.argsort(-chances)[:3]
    assert [token for token, _ in found] == best.tolist()
    scores = [score for _, score in found]
    np.testing.assert_allclose(scores, chances[best], rtol=1e-4)


def test_the_page_has_the_alignment_and_every_layer(transformer):
    view = transformer.view_alignment(TEXT, ka.Greedy())
    page = data_of(view)
    result = transformer.generate(source_of(transformer), verbose=0)
    length = result.lengths[0, 0]
    alignment, *layers = page["layers"]
    np.testing.assert_allclose(
        weights_in(alignment)[0],
        result.alignments[0, 0, :length],
        atol=2e-3,
    )
    kinds = [layer["name"].split("/")[-1] for layer in layers]
    assert kinds == ["self_attention", "self_attention", "cross_attention"]

    def labels(layer, axis):
        return page["labels"][layer[axis]]

    source = [*TEXT, "<eos>"]
    encoder, decoder, cross = layers
    assert labels(encoder, "row_labels") == source
    assert labels(encoder, "column_labels") == source
    rows = labels(decoder, "row_labels")
    assert len(rows) == length
    assert labels(decoder, "column_labels") == ["<bos>", *rows[:-1]]
    assert (
        labels(cross, "row_labels") == labels(alignment, "row_labels") == rows
    )
    assert labels(cross, "column_labels") == source
    # The search has read what it said: teacher forcing sees the same.
    np.testing.assert_allclose(
        weights_in(cross).mean(axis=0), weights_in(alignment)[0], atol=2e-3
    )
    assert page["steps"][-1][0]["tokens"] == rows
    assert page["title"].startswith(f"{TEXT} → ")


def test_a_model_without_vocabularies_says_so(transformer):
    encoder = ka.RNNEncoder(11, 4)
    model = ka.Seq2Seq(encoder, ka.RNNDecoder(13, 5), max_length=5)
    with pytest.raises(ValueError, match="no source_vocabulary"):
        model.view_alignment(TEXT)
    with pytest.raises(ValueError, match="`max_length` must be a positive int"):
        transformer.view_alignment(TEXT, max_length=0)


def test_a_decoder_without_attention_has_a_page_too():
    letters = ka.Vocabulary.build(["abc"])
    model = ka.Seq2Seq(
        ka.RNNEncoder(len(letters), 4),
        ka.RNNDecoder(len(letters), 5),
        max_length=3,
        source_vocabulary=letters,
        target_vocabulary=letters,
    )
    (layer,) = data_of(model.view_alignment("ab"))["layers"]
    assert layer["name"] == "alignment of the search"
    assert not weights_in(layer).any()
