"""`view_attention`: whose weights and labels are on the page, which steps."""

import numpy as np
import pytest
from small_models import randomize
from small_models import small_model

import keras_attention as ka
from keras_attention import plots
from keras_attention.decoding import MinLength
from keras_attention.models import attention_view
from keras_attention.models.attention_view import view_attention
from keras_attention.text import Vocabulary

pytestmark = pytest.mark.tensorflow_only

# The weights would have it end at once.
LATE = [MinLength(3)]
BEAM = ka.Beam(3, length_penalty=0.7, constraints=LATE)
TARGETS = ["A B C D E F G H I"]
SOURCE = ["a", "b", "<unk>", "<eos>"]


@pytest.fixture(scope="module")
def model():
    return randomize(
        ka.Seq2Seq(
            ka.TransformerEncoder(
                *(11, 10),
                num_heads=2,
                feed_forward_units=3,
                num_layers=1,
                name="encoder",
            ),
            ka.TransformerDecoder(
                *(13, 6),
                num_heads=3,
                feed_forward_units=5,
                num_layers=1,
                name="decoder",
            ),
            max_length=4,
            source_vocabulary=Vocabulary.build(["abcdefg"]),
            target_vocabulary=Vocabulary.build(TARGETS, "symbols"),
        ),
        seed=7,
    )


def viewed(*arguments):
    """Returns what `plots.view` gets, by the name of the argument."""
    got = {}

    def stand_in(weights, source_tokens, target_tokens, **options):
        got.update(options, weights=weights)
        got.update(source=source_tokens, target=target_tokens)
        return plots.AttentionView("")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(attention_view.plots, "view", stand_in)
        view_attention(*arguments)
    return got


@pytest.fixture(scope="module")
def found(model):
    return viewed(model, "ab?", BEAM, None)


@pytest.fixture(scope="module")
def ids(model):
    return np.asarray(model.source_vocabulary.encode(["ab?"]))


@pytest.fixture(scope="module")
def best(model, ids):
    return model.generate(ids, BEAM)


def target_names(model, ids):
    tokens = np.asarray(model.target_vocabulary.token_strings(ids))
    return [token.decode() for token in tokens]


def test_the_page_has_the_alignment_and_every_layer(model, found, ids, best):
    said = best.tokens[:, 0, : best.lengths[0, 0]]
    target = target_names(model, said[0])
    read = np.pad(said, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
    expected = ka.read_attention(model, {"source": ids, "target": read})
    np.testing.assert_allclose(
        found["weights"]["alignment"], best.alignments[0, 0], atol=1e-6
    )
    assert list(found["weights"]) == ["alignment", *expected]
    for name, values in expected.items():
        np.testing.assert_allclose(found["weights"][name], values[0], atol=1e-6)
    before = ["<bos>", *target[:-1]]
    labels = {"alignment": (target, SOURCE)}
    labels["encoder/stack/block_0/self_attention"] = (SOURCE, SOURCE)
    labels["decoder/stack/block_0/self_attention"] = (target, before)
    labels["decoder/stack/block_0/cross_attention"] = (target, SOURCE)
    for side, axis in (("target", 0), ("source", 1)):
        assert found[side] == {n: pair[axis] for n, pair in labels.items()}
    text = model.target_vocabulary.decode(said[0]).numpy().decode()
    assert found["title"] == f"ab? \N{RIGHTWARDS ARROW} {text}"


def test_steps_are_what_the_beam_held_with_its_scores(model, found, ids, best):
    steps = found["steps"]
    ids_of = {name: n for n, name in enumerate(target_names(model, range(13)))}
    held = [hypothesis for step in steps for hypothesis in step]
    labels = np.zeros((len(held), 4), int)
    for row, (names, _) in zip(labels, held, strict=True):
        row[: len(names)] = [ids_of[name] for name in names]
    scored = model.score(np.repeat(ids, len(held), axis=0), labels)
    # Wu et al. 2016, equation 14, of what was said so far.
    divisors = ((5 + scored.lengths) / 6) ** 0.7
    expected = scored.log_probabilities / divisors
    np.testing.assert_allclose([s for _, s in held], expected, rtol=1e-4)
    for number, step in enumerate(steps, start=1):
        scores = [score for _, score in step]
        assert scores == sorted(scores, reverse=True)
        going_on = [names for names, _ in step if names[-1] != "<eos>"]
        assert {len(names) for names in going_on} == {number}
        assert len(going_on) == 3 and len(step) <= 4
    assert len(steps) > 2
    (ended,) = (s for names, s in steps[-1] if names[-1] == "<eos>")
    assert ended == pytest.approx(float(best.scores[0, 0]), rel=1e-5)


def test_steps_score_the_coverage_as_the_result_does(model):
    search = ka.Beam(3, coverage_penalty=2.0, num_hypotheses=3)
    result = model.generate(["ab?"], search, 2)
    *_, last = viewed(model, "ab?", search, 2)["steps"]
    held = sorted(score for _, score in last)
    for score in result.scores[0]:
        assert np.abs(np.array(held) - score).min() < 1e-5


def test_samples_of_several_texts_are_those_of_generate(model):
    texts, search = ["ab?", "ab?"], ka.Sample(temperature=9.0, seed=5)
    said = model.generate(texts, search, 4).texts[:, 0]
    assert said[0] != said[1]
    names = list(viewed(model, texts, search, 4)["weights"])
    for number, text in enumerate(said, start=1):
        title = f"{number}. ab? \N{RIGHTWARDS ARROW} {text}"
        assert any(name.startswith(title[:40]) for name in names)


def test_several_texts_share_a_page_without_steps(model):
    long = "abcdefg" * 7
    found = viewed(model, ["ab?", long], BEAM, 2)
    assert found["steps"] is None and found["title"] is None
    names = list(found["weights"])
    assert len(names) == 8
    start = "1. ab? \N{RIGHTWARDS ARROW} "
    assert names[0].startswith(start) and names[0].endswith(": alignment")
    assert names[4] == f"2. {long[:40]}\N{HORIZONTAL ELLIPSIS}: alignment"
    assert found["source"][names[0]] == SOURCE
    assert found["source"][names[4]] == [*long, "<eos>"]


def test_the_parts_of_a_recurrent_model_are_on_a_real_page():
    model = small_model(
        "rnn",
        "bahdanau",
        max_length=3,
        source_vocabulary=Vocabulary.build(["abcdefg"]),
        target_vocabulary=Vocabulary.build(TARGETS, "symbols"),
    )
    page = model.view_attention(b"ab\xff", ka.Greedy(), 2).html
    assert '"name":"alignment"' in page
    assert "additive_attention" in page
    assert '"steps":[]' in page


def test_what_cannot_be_viewed_is_refused(model):
    with pytest.raises(ValueError, match="`texts` must be a string or a list"):
        model.view_attention([])
    with pytest.raises(ValueError, match="`texts` must be a string or a list"):
        model.view_attention([[5, 4, 2]])
    with pytest.raises(ValueError, match="`max_length` must be a positive int"):
        model.view_attention("ab", max_length=0)
    with pytest.raises(ValueError, match="`search` must be"):
        model.view_attention("ab", "beam")
    with pytest.raises(ValueError, match="has no source_vocabulary"):
        small_model("rnn", "bahdanau").view_attention("ab")
