"""A language model as a SavedModel, with its caches in and out."""

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from without_keras import ask_without_keras

import keras_attention as ka
from keras_attention import export
from keras_attention.export.language_signatures import LanguageSignatures

sys.path.append(str(Path(__file__).parent.parent / "models"))

from language_models import DECODERS  # noqa: E402
from language_models import IDS  # noqa: E402
from language_models import PROMPTS  # noqa: E402
from language_models import language_model  # noqa: E402
from language_models import log_probability  # noqa: E402
from small_models import randomize  # noqa: E402

STEPS = 7
BEAM = ka.Beam(3, num_hypotheses=2)
LONG = [ka.decoding.MinLength(STEPS)]
TEXTS = ["abc de", "", "xya", "e dcb\udcff"]
# Name: the signatures that are exported, each of which takes seconds.
SIGNATURES = {
    "learned": ("tokens", "compiled", "encode", "decode_step"),
    "window": ("serving_default", "n_best", "score", "encode", "decode_step"),
    "recurrent": ("n_best",),
}

# Text, all options of attention, half the bits: what the others have, but ids.
LEARNED = pytest.param("learned", marks=pytest.mark.exhaustive)
RECURRENT = pytest.param("recurrent", marks=pytest.mark.exhaustive)
STREAMED = pytest.mark.parametrize("case", [LEARNED, "window"], indirect=True)


@pytest.fixture(scope="module", params=[LEARNED, "window", RECURRENT])
def case(request, tmp_path_factory):
    """A model, prompts, the name of their input, and the SavedModel."""
    name, vocabulary, asked = request.param, None, PROMPTS
    if name == "window":
        vocabulary = ka.Vocabulary.build(["abcdefgh "], max_size=IDS)
        asked = TEXTS
    model = randomize(ka.LanguageModel(DECODERS[name](), STEPS, vocabulary))
    if name == "window":  # stored in half the bits, without a loss
        halves = [w.astype("float16") for w in model.get_weights()]
        model.set_weights(halves)
    folder = export.export_saved_model(
        model,
        tmp_path_factory.mktemp("served") / "1",
        BEAM,
        max_source_length=11,
        signatures=SIGNATURES[name],
        weights="float16" if name == "window" else None,
        warm_up=export.WarmUp(asked),
    )
    return model, asked, "ids" if vocabulary is None else "text", folder


@pytest.fixture(scope="module")
def loaded(case):
    """The signatures of the SavedModel, in this process."""
    return tf.saved_model.load(str(case[3])).signatures


def as_lists(prompts):
    return prompts if isinstance(prompts, list) else prompts.tolist()


def generated(model, prompts, search=BEAM):
    found = model.generate(prompts, search)
    said = found.texts if isinstance(prompts, list) else found.tokens
    return said.tolist(), found.scores


def test_it_answers_as_generate_without_keras(case, loaded):
    model, prompts, name, folder = case
    said, scores = generated(model, prompts)
    requests = [
        {"signature": signature, "inputs": {name: as_lists(prompts)}}
        for signature in loaded
        if signature not in ("score", "decode_step")
    ]
    answers = ask_without_keras(folder, requests)
    for request, answer in zip(requests, answers, strict=True):
        if request["signature"] in ("serving_default", "compiled"):
            assert answer[name] == [row[0] for row in said]
            np.testing.assert_allclose(answer["score"], scores[:, 0], atol=1e-5)
        elif request["signature"] != "encode":
            assert answer[name] == said
            found = answer["score" if "score" in answer else "scores"]
            np.testing.assert_allclose(found, scores, atol=1e-5)


@STREAMED
def test_a_client_streams_with_the_caches(case, loaded):
    """Rows at different steps are joined; each says what generate says."""
    model, prompts, name, folder = case
    expected = model.generate(prompts, ka.Greedy(constraints=LONG))
    steps = loaded["encode"](**{name: tf.constant(prompts_of(prompts))})
    said = []
    for index in range(STEPS):
        scores = steps["log_probabilities"].numpy()
        if index < STEPS - 1:
            scores[:, 2] = -np.inf
        token = scores.argmax(-1).astype("int32")
        said.append(token)
        state = state_of(steps)
        # The first row alone, then the others: one request or two, the same.
        parts = [
            loaded["decode_step"](
                token=tf.constant(token[part]),
                **{n: t[part.start : part.stop] for n, t in state.items()},
            )
            for part in (slice(0, 1), slice(1, len(prompts)))
        ]
        steps = {
            n: tf.concat([part[n] for part in parts], axis=0) for n in parts[0]
        }
    np.testing.assert_array_equal(steps["ids"], np.stack(said, axis=1))
    if name == "ids":
        np.testing.assert_array_equal(steps["ids"], expected.tokens[:, 0])
    else:
        texts = [text.decode() for text in steps["text"].numpy()]
        assert texts == expected.texts[:, 0].tolist()


@STREAMED
def test_rows_at_different_steps_are_joined(case, loaded):
    model, prompts, name, folder = case
    first = loaded["encode"](**{name: tf.constant(prompts_of(prompts))})
    token = tf.constant([5, 7, 4, 9], tf.int32)
    later = loaded["decode_step"](token=token, **state_of(first))
    mixed = {
        n: tf.concat([t[:2], later[n][2:]], axis=0)
        for n, t in state_of(first).items()
    }
    found = loaded["decode_step"](token=token, **mixed)["log_probabilities"]
    alone = loaded["decode_step"](token=token, **state_of(later))
    np.testing.assert_allclose(
        found[:2], later["log_probabilities"][:2], atol=1e-5
    )
    np.testing.assert_allclose(
        found[2:], alone["log_probabilities"][2:], atol=1e-5
    )


@STREAMED
def test_no_state_of_a_client_fails_the_others(case, loaded):
    model, prompts, name, folder = case
    state = state_of(
        loaded["encode"](**{name: tf.constant(prompts_of(prompts))})
    )
    token = tf.constant([5, 7, 4, 9], tf.int32)
    right = loaded["decode_step"](token=token, **state)
    wild = {"position": tf.constant([-7, 2**30, 99], tf.int32)}
    wild["ids"] = tf.fill([3, STEPS], 2**20)
    wild = {n: tf.concat([t, state[n][3:]], axis=0) for n, t in wild.items()}
    wild = {**state, **wild}
    wild_token = tf.constant([-1, IDS, 2**30, 9], tf.int32)
    found = loaded["decode_step"](token=wild_token, **wild)
    np.testing.assert_allclose(
        found["log_probabilities"][3], right["log_probabilities"][3], atol=1e-5
    )
    assert np.isfinite(found["log_probabilities"]).all()


def state_of(step):
    left_out = {"log_probabilities", "text"}
    return {n: t for n, t in step.items() if n not in left_out}


def prompts_of(prompts):
    if isinstance(prompts, list):
        return [text.encode(errors="surrogatepass") for text in prompts]
    return prompts.astype("int32")


@pytest.mark.parametrize("case", ["window"], indirect=True)
def test_score_is_that_of_the_whole_sequence(case, loaded):
    model, prompts, name, folder = case
    targets = ["de", "abc d", "", "x"]
    found = loaded["score"](
        text=tf.constant(prompts_of(prompts)), target=tf.constant(targets)
    )
    encode = model.vocabulary.encode
    for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
        read = encode([prompt]).numpy()[0][:-1]
        said = encode([target]).numpy()[0]
        expected = log_probability(model, read, said)
        np.testing.assert_allclose(
            found["log_probability"][row], expected, atol=1e-4
        )
        divisor = (5 + len(said)) / 6  # a length penalty of 1
        np.testing.assert_allclose(
            found["score"][row], expected / divisor, atol=1e-4
        )


@STREAMED
def test_the_example_of_the_guide_streams(case, monkeypatch, capsys):
    model, prompts, name, folder = case
    guide = (folder / "README.md").read_text()
    assert "alignments" not in guide and "$max" not in guide
    assert "the last 11 tokens" in guide
    assert ("the last\n44 bytes" in guide) == (name == "text")
    example = guide[guide.index("one token at a time") :]
    example = example[example.index("```python") + 9 :]
    example = example[: example.index("```")]
    monkeypatch.chdir(folder)
    exec(compile(example, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    if name == "text":
        prompt = example[example.index("text=") :].split('"')[1]
        expected = model.generate([prompt]).texts[0, 0]
        assert shown.split("\r")[-2] == expected
    else:
        expected = model.generate(np.zeros((1, 1), int)).tokens[0, 0]
        assert shown.splitlines()[-1] == str(expected)


@pytest.mark.parametrize("case", [RECURRENT], indirect=True)
def test_the_guide_shows_no_step_where_there_is_none(case):
    guide = (case[3] / "README.md").read_text()
    assert "one token at a time" not in guide and "| `n_best` |" in guide


def test_what_cannot_be_served_is_refused(tmp_path):
    model = ka.LanguageModel(DECODERS["recurrent"]())
    with pytest.raises(ValueError, match="`signatures` must be without"):
        export.export_saved_model(
            model, tmp_path / "1", signatures=["decode_step"]
        )


def test_a_server_may_warm_up_on_nothing_but_an_empty_prompt(tmp_path):
    """A prompt of one position, which is padding before BOS."""
    vocabulary = ka.Vocabulary.build(["abcdefgh "], max_size=IDS)
    folder = export.export_saved_model(
        ka.LanguageModel(DECODERS["learned"](), STEPS, vocabulary),
        tmp_path / "1",
        ka.Greedy(),
        max_source_length=11,
        signatures=["encode", "decode_step"],
        warm_up=export.WarmUp([""]),
    )
    assert (folder / "assets.extra" / "tf_serving_warmup_requests").is_file()


def signatures_of(model, search=ka.Greedy(), length=4):  # noqa: B008 (frozen)
    """The functions of a model, as they are, without a SavedModel."""
    return LanguageSignatures(
        model, search, STEPS, length, contextlib.nullcontext
    )


# One prompt of `ids`: with padding, BOS, and EOS and what comes after it.
SAME = [[5, 4, 0, 0], [0, 0, 5, 4], [1, 5, 0, 4], [5, 4, 2, 7]]
# And one of more ids than are read, of which the last are.
LONG_SAME = [
    [8, 3, 5, 4, 7, 9, 0, 0, 0],
    [0, 0, 0, 0, 0, 5, 4, 7, 9],
    [1, 6, 1, 5, 4, 7, 9, 2, 3],
]


def test_a_prompt_is_read_alike_wherever_its_padding_stands():
    signatures = signatures_of(
        language_model(), ka.Sample(temperature=3.0, seed=1)
    )
    for prompts, read in ((SAME, [5, 4, 0, 0]), (LONG_SAME, [5, 4, 7, 9])):
        inputs = {"ids": tf.constant(prompts)}
        found = signatures.read(inputs)["source"].numpy()
        assert found.tolist() == [read] * len(prompts)
        said = signatures.tokens(inputs)["ids"].numpy()
        assert np.ptp(said, axis=0).max() == 0  # by the same random bits


@pytest.mark.parametrize("unit", ["characters", "words"])
def test_of_a_long_text_the_last_tokens_are_read(unit):
    space = " " if unit == "words" else ""
    text = space.join("abcdefgh")
    vocabulary = ka.Vocabulary.build([text], unit)
    model = ka.LanguageModel(
        ka.DecoderOnlyTransformer(
            len(vocabulary), 6, num_heads=2, num_layers=1
        ),
        vocabulary=vocabulary,
    )
    found = signatures_of(model).read({"text": tf.constant([text, "h", ""])})
    names = vocabulary.token_strings(found["source"]).numpy().tolist()
    assert names[0] == [b"e", b"f", b"g", b"h"]
    assert found["source"].numpy()[1:, 1:].max() == 0
    # What lies before the bytes that are read may be as long as it likes.
    again = signatures_of(model).read({"text": tf.constant(["a" * 997 + text])})
    assert (
        again["source"].numpy().tolist() == found["source"][:1].numpy().tolist()
    )


def test_a_target_that_no_vocabulary_holds_fails_no_other():
    signatures = signatures_of(language_model())
    prompt, unknown = [5, 4], 3
    rows = [[6, 99, 2], [6, -7, 2], [6, unknown, 2], [6, 2, 0]]
    score = signatures.score(
        {"ids": tf.constant([prompt] * 4), "target": tf.constant(rows)}
    )["log_probability"].numpy()
    np.testing.assert_allclose(score[:2], score[2], rtol=1e-6)
    expected = log_probability(signatures.model, prompt, [6, 2])
    np.testing.assert_allclose(score[3], expected, atol=1e-5)


def test_a_long_prompt_leaves_room_for_all_that_follows():
    model, length, prompt = language_model(), 9, [8, 3, 5, 4, 7, 9, 6, 12, 5, 4]
    signatures = signatures_of(model, length=length)
    step = signatures.encode({"ids": tf.constant([prompt])})
    said = [5, 7, 4, 9, 6, 3, 8]
    for token in said:
        step = signatures.decode_step(
            {"token": tf.constant([token]), **state_of(step)}
        )
    ids = [1, *prompt[-length:], *said]
    expected = tf.nn.log_softmax(model(np.array([ids]))[0, -1])
    np.testing.assert_allclose(
        step["log_probabilities"][0, 2:], expected[2:], atol=1e-4
    )


def test_no_request_may_reach_past_a_learned_table(tmp_path):
    learned = ka.LearnedPositionalEncoding(10)
    options = {"units": 6, "num_heads": 2, "position": learned}
    model = ka.LanguageModel(ka.DecoderOnlyTransformer(IDS, **options), STEPS)
    with pytest.raises(ValueError, match="`decoder` must have 11 positions"):
        export.export_saved_model(model, tmp_path / "1", max_source_length=3)
    model = ka.Seq2Seq(
        ka.TransformerEncoder(IDS, **options), ka.RNNDecoder(IDS, 5), STEPS
    )
    with pytest.raises(ValueError, match="`encoder` must have 11 positions"):
        export.export_saved_model(model, tmp_path / "1", max_source_length=11)


def test_a_sample_and_a_score_of_ids_are_served(tmp_path):
    model = language_model(max_length=STEPS)
    folder = export.export_saved_model(
        model,
        tmp_path / "1",
        ka.Sample(temperature=3.0, num_samples=3, seed=1),
        max_source_length=4,
        signatures=["tokens", "score"],
    )
    loaded = tf.saved_model.load(str(folder)).signatures
    said = loaded["tokens"](ids=tf.constant(LONG_SAME))["ids"].numpy()
    assert np.ptp(said, axis=0).max() == 0 and np.ptp(said, axis=1).max() > 0
    found = loaded["score"](
        ids=tf.constant(LONG_SAME), target=tf.constant(said[:, 0])
    )["score"]
    target = said[0, 0][said[0, 0] != 0]
    expected = log_probability(model, [5, 4, 7, 9], target)
    np.testing.assert_allclose(found, [expected] * 3, atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows"):
        loaded["score"](ids=tf.constant(LONG_SAME), target=said[:1, 0])
