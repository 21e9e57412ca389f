"""A decoder alone: trained, asked to go on, streamed and saved."""

import copy

import keras
import numpy as np
import pytest
from keras import ops
from language_models import IDS
from language_models import PROMPTS
from language_models import READ
from language_models import language_model
from language_models import log_probability
from language_models import said_one_by_one
from small_models import run

import keras_attention as ka
from keras_attention.decoding import MinLength
from keras_attention.decoding import Suppress
from keras_attention.layers import AttentionOptions
from keras_attention.models import GeneratedTexts
from keras_attention.models.prompt_ids import aligned
from keras_attention.models.prompt_search import AfterPrompt
from keras_attention.models.prompt_search import continue_prompts
from keras_attention.training import MaskedCrossentropy

STEPS = 7
# Nothing ends early, so that each step is compared.
LONG = {"constraints": [MinLength(STEPS)]}
KINDS = ["learned"]
KINDS += [
    pytest.param(kind, marks=pytest.mark.exhaustive)
    for kind in ("window", "sinusoids", "recurrent")
]
MODES = ["eager", "compiled"]
MODES.append(pytest.param("graph", marks=pytest.mark.tensorflow_only))


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return language_model(request.param, max_length=STEPS)


def searched(mode, model, search, prompts=PROMPTS):
    def function(prompts):
        seeds = ops.arange(ops.shape(prompts)[0], dtype="int32")
        return continue_prompts(model, prompts, search, STEPS, seeds)

    return run(mode, function, prompts)


@pytest.mark.parametrize("mode", MODES)
def test_the_steps_are_the_whole_sequence(model, mode):
    found = searched(mode, model, ka.Greedy(**LONG))
    expected = [said_one_by_one(model, prompt, STEPS) for prompt in READ]
    np.testing.assert_array_equal(found.tokens[:, 0], expected)
    assert found.alignments.shape == (len(READ), 1, STEPS, 0)
    beams = ka.Beam(3, length_penalty=0, num_hypotheses=3)
    found = searched(mode, model, beams)
    for prompt, rows, scores in zip(
        READ, found.tokens, found.scores, strict=True
    ):
        assert len({tuple(row) for row in rows}) == 3
        expected = [
            log_probability(model, prompt, row[row != 0]) for row in rows
        ]
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_a_prompt_read_at_once_is_a_prefix_said_one_by_one(model):
    beam = {"length_penalty": 0, "num_hypotheses": 3}
    nothing = np.zeros((1, 1), "int32")
    for prompt in READ[:1] + READ[2:]:
        ids, length = np.array([prompt]), len(prompt) + STEPS
        found = searched("eager", model, ka.Beam(3, **beam, **LONG), ids)
        expected = ka.decoding.decode(
            AfterPrompt(model.decoder),
            aligned(nothing),
            np.ones((1, 0), bool),
            ka.Beam(
                3, **beam, constraints=[MinLength(length), Suppress((0, 1))]
            ),
            length,
            prefix=ids,
        )
        tokens, scores = map(ops.convert_to_numpy, expected[:2])
        np.testing.assert_array_equal(found.tokens, tokens[..., -STEPS:])
        scores = scores - log_probability(model, [], prompt)
        np.testing.assert_allclose(found.scores, scores, atol=1e-4)


def test_aligned_prompts_end_in_one_column():
    found = ops.convert_to_numpy(aligned(PROMPTS))
    expected = [[0] * (5 - len(ids)) + [1, *ids] for ids in READ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "kind",
    [pytest.param("learned", marks=pytest.mark.exhaustive), "recurrent"],
)
def test_rows_do_not_touch_each_other(kind):
    model = language_model(kind, max_length=STEPS)
    beams = ka.Beam(3, num_hypotheses=2)
    together = model.generate(PROMPTS, beams)
    for row, prompt in enumerate(READ):
        ids = np.array([prompt or [0]])
        alone = model.generate(ids, beams, batch_size=1)
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])
        np.testing.assert_allclose(
            alone.scores[0], together.scores[row], atol=1e-5
        )
    with_xla = model.generate(PROMPTS, beams, jit_compile=True)
    np.testing.assert_array_equal(with_xla.tokens, together.tokens)


@pytest.mark.parametrize(
    ("kind", "search"),
    [
        ("learned", ka.Greedy(**LONG)),
        pytest.param(
            *("window", ka.Sample(top_k=5, seed=3, **LONG)),
            marks=pytest.mark.exhaustive,
        ),
        ("recurrent", ka.Sample(seed=2)),
    ],
)
def test_a_stream_yields_what_generate_returns(kind, search):
    model, seeds = language_model(kind, max_length=STEPS), [7, 5, 3, 2]
    found = model.generate(PROMPTS, search, row_seeds=seeds)
    for row in (0, 2):  # each length is traced
        ids = list(model.stream(READ[row], search, row_seed=seeds[row]))
        length = found.lengths[row, 0]
        assert ids == found.tokens[row, 0, :length].tolist()


def test_a_stream_ends_where_constraints_leave_no_token():
    def nothing_from_2(scores, tokens, index):
        return keras.ops.where(index >= 2, -np.inf, scores)

    model = language_model("learned", max_length=STEPS)
    search = ka.Greedy(constraints=[*LONG["constraints"], nothing_from_2])
    found = model.generate(PROMPTS[:1], search)
    assert found.lengths[0, 0] == 2
    said = found.tokens[0, 0, :2].tolist()
    assert list(model.stream(READ[0], search)) == said


def test_samples_share_a_prompt_and_not_their_ids():
    model = language_model("window")
    search = ka.Sample(temperature=2.0, num_samples=5, seed=3)
    found = model.generate(PROMPTS, search, max_length=STEPS)
    for row, prompt in enumerate(READ):
        assert len({tuple(ids) for ids in found.tokens[row]}) > 1
        for tokens, score in zip(
            found.tokens[row], found.scores[row], strict=True
        ):
            said = tokens[tokens != 0]
            expected = log_probability(model, prompt, said)
            np.testing.assert_allclose(score, expected, atol=1e-4)


def test_it_learns_by_plain_fit():
    """Ids that count up, from any one, until the last: then the end."""
    keras.utils.set_random_seed(5)
    model = ka.LanguageModel(
        ka.DecoderOnlyTransformer(IDS, units=16, num_heads=2, num_layers=1)
    )
    rows = [[1, *range(first, IDS), 2] for first in range(4, IDS)]
    ids = np.array([row + [0] * (11 - len(row)) for row in rows])
    model.compile(
        keras.optimizers.Adam(0.02),
        MaskedCrossentropy(),
        weighted_metrics=["accuracy"],
    )
    often = np.tile(ids, (80, 1))
    model.fit(
        often[:, :-1], often[:, 1:], batch_size=9, shuffle=False, verbose=0
    )
    found = model.generate([[7], [10]], max_length=8)
    assert found.tokens[:, 0].tolist() == [
        [8, 9, 10, 11, 12, 2, 0, 0],
        [11, 12, 2, 0, 0, 0, 0, 0],
    ]
    loss, accuracy = model.evaluate(ids[:, :-1], ids[:, 1:], verbose=0)
    # All but the first id, which may be any of nine, are certain.
    real = (ids[:, 1:] != 0).sum()
    assert loss == pytest.approx(9 * np.log(9) / real, abs=0.05)
    assert accuracy == pytest.approx((real - 8) / real, abs=0.01)


def test_the_mask_of_the_logits_marks_where_a_token_follows(model):
    mask = model.compute_mask(np.array([[1, 5, 2, 0], [1, 0, 0, 0]]))
    assert ops.convert_to_numpy(mask).tolist() == [
        [True, True, False, False],
        [True, False, False, False],
    ]


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "unit",
    [pytest.param("words", marks=pytest.mark.exhaustive), "characters"],
)
def test_text_is_streamed_in_whole_pieces(unit):
    text = "don't, stop é" if unit == "words" else "aé中😀, bcd"
    vocabulary = ka.Vocabulary.build([text + " x y z"], unit, max_size=IDS)
    assert len(vocabulary) <= IDS
    decoder = ka.DecoderOnlyTransformer(len(vocabulary), 6, num_heads=2)
    model = ka.LanguageModel(decoder, STEPS, vocabulary)
    search = ka.Sample(temperature=3.0, seed=4, **LONG)
    prompts = ["x " + text[:3], "\udcff<eos>"]
    found = model.generate(prompts, search)
    assert type(found) is GeneratedTexts
    for row, prompt in enumerate(prompts):
        pieces = list(model.stream(prompt, search, row_seed=row))
        assert "".join(pieces) == found.texts[row, 0]
        assert len(pieces) > 3 and all(pieces)
    # As ids, a text is the same prompt: the vocabulary ends it, with EOS.
    ids = model.generate(vocabulary.encode(prompts), search).tokens
    texts = vocabulary.decode(ids[:, 0]).numpy()
    assert [t.decode() for t in texts] == found.texts[:, 0].tolist()


class Bytes:
    """A tokenizer of bytes, which may cut a character."""

    def encode(self, texts):
        return np.array([[*map(self._id_of, t.encode()), 2] for t in texts])

    def decode(self, ids):
        rows = np.reshape(ids, (-1, np.shape(ids)[-1])) - 4
        found = [bytes(i for i in row.tolist() if i >= 0) for row in rows]
        texts = [b.decode(errors="replace").encode() for b in found]
        return np.array(texts, object).reshape(np.shape(ids)[:-1])

    def token_strings(self, ids):
        return np.array([chr(i) for i in np.ravel(ids)])

    def __len__(self):
        return 260

    @staticmethod
    def _id_of(byte):
        return byte + 4


@pytest.mark.parametrize("text", ["aé😀z", "é"])
def test_a_character_is_not_streamed_in_parts(text, monkeypatch):
    model = ka.LanguageModel(
        ka.DecoderOnlyTransformer(260, 6, num_heads=2), vocabulary=Bytes()
    )
    said = [byte + 4 for byte in text.encode()]
    for ids, end in (([*said, 2], ""), ([*said, 0xC3 + 4], "\ufffd")):
        monkeypatch.setattr(
            model._generator, "_said", lambda *_, ids=ids: iter(ids)
        )
        assert list(model.stream("x")) == [*text, *end]


@pytest.mark.parametrize("kind", ["learned", "recurrent"])
def test_a_saved_model_is_the_same(kind, tmp_path):
    model = language_model(kind, max_length=STEPS)
    model.save_folder(tmp_path / "folder", {"about": "ids"})
    model.save(tmp_path / "model.keras")
    expected = ops.convert_to_numpy(model(PROMPTS))
    for other in (
        ka.load(tmp_path / "folder"),
        keras.models.load_model(tmp_path / "model.keras"),
        copy.deepcopy(model),
    ):
        assert type(other) is ka.LanguageModel and other.max_length == STEPS
        found = ops.convert_to_numpy(other(PROMPTS))
        np.testing.assert_array_equal(found, expected)
    assert ka.models.read_card(tmp_path / "folder") == {"about": "ids"}


@pytest.mark.tensorflow_only
def test_the_vocabulary_is_saved_with_the_model(tmp_path):
    vocabulary = ka.Vocabulary.build(["abcdefghi"])
    model = language_model(vocabulary=vocabulary)
    model.save_folder(tmp_path / "model")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == ["card.json", "model.keras", "vocabulary.json"]
    for other in (ka.load(tmp_path / "model"), copy.deepcopy(model)):
        assert other.vocabulary.tokens == vocabulary.tokens
    path = tmp_path / "model" / "vocabulary.json"
    path.write_text(path.read_text().replace("a", "z"))
    with pytest.raises(ValueError, match="not the file that was saved"):
        ka.load(tmp_path / "model")


def test_what_cannot_be_is_refused():
    model = language_model()
    with pytest.raises(ValueError, match="`prompts` must be ids where"):
        model.generate(["abc"])
    with pytest.raises(ValueError, match="`prompts` must be a list of"):
        model.generate("abc")
    with pytest.raises(
        ValueError, match=f"`prompts` must be ids from 0 to {IDS - 1}"
    ):
        model.generate([[5, IDS]])
    with pytest.raises(ValueError, match="`prompt` must be one string or"):
        model.stream([[5, 4]])
    with pytest.raises(ValueError, match="`search` must be Greedy"):
        model.stream([5], ka.Beam(3))
    with pytest.raises(ValueError, match="`search` must be Greedy"):
        model.stream([5], ka.Sample(num_samples=3))
    with pytest.raises(ValueError, match="`max_length` must be"):
        model.generate(PROMPTS, max_length=0)
    with pytest.raises(ValueError, match="one integer for each of the 4"):
        model.generate(PROMPTS, row_seeds=[1])
    with pytest.raises(ValueError, match="`inputs` must have shape"):
        model(np.array([1, 5]))
    with pytest.raises(ValueError, match="`decoder` must be a Keras layer"):
        ka.LanguageModel(keras.layers.Dense(3))


def test_no_prompt_has_no_answer():
    model = language_model(max_length=STEPS)
    found = model.generate([], ka.Beam(3, num_hypotheses=2))
    assert found.tokens.shape == (0, 2, STEPS)


@pytest.mark.parametrize(
    "kind", [pytest.param("learned", marks=pytest.mark.exhaustive), "window"]
)
@pytest.mark.parametrize("width", [1, 8])
def test_rows_begin_in_a_cache_no_wider_than_the_prompt(kind, width):
    """Also where a row is all padding, and the prompt one position."""
    decoder = language_model(kind).decoder
    prompt = np.zeros((2, width), "int32")
    prompt[1, -5:] = [1, 5, 4, 7, 9][:width]
    token = np.array([1, 6], "int32")  # the first row begins here
    state = decoder.start_rows(prompt, prompt != 0, 8)
    assert ops.convert_to_numpy(state["position"]).tolist() == [
        0,
        min(width, 5),
    ]
    found, _ = decoder.step_rows(token, state)
    for row in range(2):
        ids = [*prompt[row][prompt[row] != 0], token[row]]
        expected = decoder(np.array([ids]))[0, -1]
        np.testing.assert_allclose(
            *map(ops.convert_to_numpy, (found[row], expected)), atol=1e-5
        )


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([[2**32 + 5]], f"ids from 0 to {IDS - 1}.*to {2**32 + 5}"),
        ([[2**63 + 5]], f"ids from 0 to {IDS - 1}.*to {2**63 + 5}"),
        ([[-(2**32) + 5]], f"ids from 0 to {IDS - 1}.*from {-(2**32) + 5}"),
    ],
)
def test_an_id_that_int32_cannot_hold_is_no_other_id(prompts, message):
    model = language_model(max_length=STEPS)
    with pytest.raises(ValueError, match="`prompts` must be " + message):
        model.generate(np.array(prompts))
    with pytest.raises(ValueError, match="`prompt` must be " + message):
        model.stream(np.array(prompts[0]))


@pytest.mark.parametrize("search", [None, ka.Greedy, [], "greedy"])
def test_what_is_no_search_is_refused_at_once(search):
    model = language_model(max_length=STEPS)
    message = r"`search` must be a Greedy\(\), Sample\(\) or Beam\(\)"
    for prompts in ([[5]], []):
        with pytest.raises(ValueError, match=message):
            model.generate(prompts, search)
    with pytest.raises(ValueError, match=message):
        model.stream([5], search)


@pytest.mark.parametrize("seed", [None, "a", 1.7, 2**40, True, [[1], [2, 3]]])
def test_a_row_seed_is_an_integer_of_32_bits(seed):
    model = language_model(max_length=STEPS)
    with pytest.raises(ValueError, match="`row_seed` must be an integer from"):
        model.stream([5], row_seed=seed)
    for seeds in ([seed], seed):
        if seeds is not None:  # the indices
            with pytest.raises(
                ValueError, match="`row_seeds` must be .*integer"
            ):
                model.generate([[5]], row_seeds=seeds)


def test_prompts_without_an_id_and_of_many_lengths():
    model = language_model(max_length=STEPS)
    empty = model.generate([[0], [0]]).tokens
    for prompts in ([[], []], np.zeros((2, 0))):
        np.testing.assert_array_equal(model.generate(prompts).tokens, empty)
    with pytest.raises(ValueError, match="`prompt` must be one string or"):
        model.stream([[1], [2, 3]])
    with pytest.raises(ValueError, match="each of the 1 prompts"):
        model.generate([[5]], row_seeds=[1, 2])


class Rewriting(Bytes):
    """A tokenizer that tidies up: no space before a full stop."""

    def decode(self, ids):
        texts = super().decode(ids)
        tidy = [text.replace(b" .", b".") for text in texts.ravel()]
        return np.array(tidy, object).reshape(texts.shape)


@pytest.mark.parametrize(("text", "is_stable"), [("a.a", True), ("a .", False)])
def test_a_stream_says_so_where_its_text_was_rewritten(
    text, is_stable, monkeypatch
):
    model = ka.LanguageModel(
        ka.DecoderOnlyTransformer(260, 6, num_heads=2), vocabulary=Rewriting()
    )
    said = [byte + 4 for byte in text.encode()] + [2]
    monkeypatch.setattr(model._generator, "_said", lambda *_: iter(said))
    pieces, stream = [], model.stream("x")
    if is_stable:
        assert list(stream) == list(text)
        return
    with pytest.raises(ValueError, match="`vocabulary` must be a tokenizer wh"):
        pieces += stream
    assert all(pieces)


def test_no_prompt_reaches_past_a_learned_table():
    decoder = ka.DecoderOnlyTransformer(
        IDS, 6, num_heads=2, position=ka.LearnedPositionalEncoding(9)
    )
    model = ka.LanguageModel(decoder, max_length=128)
    longest = [0, 1, 5, 4, 7, 2, 9]  # 3 ids are read
    assert model.generate([longest], max_length=6).tokens.shape == (1, 1, 6)
    for ask in (
        lambda: model.generate([longest, [5] * 7], max_length=3),
        lambda: model.stream([5] * 7, max_length=3),
    ):
        with pytest.raises(
            ValueError, match="`decoder` must have 10 positions for a prompt o"
        ):
            ask()
    with pytest.raises(
        ValueError, match="a prompt of 1 ids and max_length=128"
    ):
        model.generate([[5]])


def test_a_window_is_a_ring_that_a_long_prompt_goes_round():
    model, prompt = language_model("window"), [5, 4, 7, 9, 6, 8, 3, 5, 12, 4, 7]
    found = model.generate([prompt], ka.Greedy(**LONG), max_length=STEPS)
    expected = said_one_by_one(model, prompt, STEPS)
    assert found.tokens[0, 0].tolist() == expected
    score = log_probability(model, prompt, expected)
    np.testing.assert_allclose(found.scores[0, 0], score, atol=1e-4)


@pytest.mark.tensorflow_only
def test_a_stream_traces_a_graph_for_few_lengths_and_anew_once_compiled():
    model = language_model("recurrent", max_length=3)
    search = ka.Greedy(constraints=[MinLength(3)])
    lengths = 5, 6, 7
    for length in lengths:
        ids = [5, 4, 7, 9, 6, 8, 3][:length]
        expected = model.generate([ids], search).tokens[0, 0].tolist()
        assert list(model.stream(ids, search)) == expected
        assert list(model.stream(ids, search, jit_compile=True)) == expected
    functions = model._generator.functions
    begin, _ = functions.get(("stream", search, 3, False), list)
    assert begin.experimental_get_tracing_count() == 1
    model.compile()
    assert functions.get(("stream", search, 3, False), list) == []


def test_the_options_of_attention_are_saved(tmp_path):
    model = language_model("window")
    model.save_folder(tmp_path / "folder")
    other = ka.load(tmp_path / "folder")
    options = model.decoder.attention_options
    assert other.decoder.attention_options == options != AttentionOptions()
    found, expected = other(PROMPTS), model(PROMPTS)
    np.testing.assert_array_equal(*map(ops.convert_to_numpy, (found, expected)))
