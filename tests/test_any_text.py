"""Any text at all: trained on, encoded, answered by generate and SavedModel.

Texts have characters of every plane of Unicode, marks, controls, bytes that
are not UTF-8, and up to 10,000 characters. The gate tries some of them with
one unit on each side, `make soak` many with all.
"""

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import keras_attention as ka
from keras_attention.special_ids import UNKNOWN_ID

pytestmark = [
    pytest.mark.tensorflow_only,
    pytest.mark.filterwarnings("ignore:.* were cut off"),
]

MAX_SOURCE_LENGTH, MAX_LENGTH, BATCH = 23, 7, 5
SOAKED = 500  # batches of texts for each unit
PLANES = range(17)
SURROGATES = range(0xD800, 0xE000)
ODD = "ab \t\n\r\0\x1b\x7f\u0085\u0301\u0308\u200d\u2028\ufe0f\ufeff\ufffd▁<'-"


def characters_of(plane):
    return st.characters(
        min_codepoint=plane << 16,
        max_codepoint=(plane << 16) + 0xFFFF,
        exclude_categories=["Cs"],
    )


any_text = st.text(
    st.one_of(
        st.sampled_from(ODD),
        st.sampled_from(PLANES).flatmap(characters_of),
        st.characters(categories=["Mn", "Mc", "Cc", "Cf", "Zs", "Nd"]),
    ),
    max_size=40,
)
long_text = st.builds(
    lambda part, size: (part * size)[:size],
    st.text(st.sampled_from(ODD + "é中🙂"), min_size=1, max_size=40),
    st.integers(100, 10_000),
)
any_bytes = st.one_of(
    any_text.map(str.encode),
    any_text.map(lambda text: text.encode("utf-16-le")),
    st.binary(max_size=40),
    long_text.map(str.encode),
)
batches = st.lists(any_bytes, min_size=BATCH, max_size=BATCH)
OF_EACH_PLANE = "".join(chr((plane << 16) + 0x1234) for plane in PLANES)
KNOWN_TO_BE_HARD = [
    OF_EACH_PLANE.encode(),
    b"",
    b"\xed\xa0\x80 \xed\xb0\x80",  # surrogates
    "e\u0301\u0301 \u1100\u1161 <eos><pad>".encode(),
    b"a" * 10_000,
]


def wild_pairs():
    """Pairs that nobody would train on, each side with something to read."""
    draw = random.Random(5)

    def text():
        found = [*draw.choices(ODD, k=9)]
        for plane in PLANES:
            code = draw.randrange(plane << 16, (plane + 1) << 16)
            found.append("x" if code in SURROGATES else chr(code))
        draw.shuffle(found)
        return f"x{''.join(found[: draw.randrange(2, 25)])}"

    return [
        *((text(), text()) for _ in range(19)),
        ("\ud800a\udfff", "a lone \udc00"),
        ("a\u0301" * 10, "<eos><pad>"),
        ("<unk>", "\0"),
        ("q " * 5_000, "left out"),
        ("left out", "z " * 5_000),
    ]


@dataclasses.dataclass(frozen=True, repr=False)  # which would be long
class Chain:
    """A model that was trained on wild texts, saved, loaded and exported."""

    pairs: list
    trained: Any
    model: Any  # loaded
    served: Any  # the SavedModel, which would else be deleted
    answer: Any  # its signature


def trained(source_unit, target_unit, parent):
    """Returns the `Chain` of a model with these units."""
    import tensorflow as tf

    from keras_attention import export
    from keras_attention.training import train

    pairs = wild_pairs()
    with pytest.warns(UserWarning, match="2 pairs are longer"):
        model, _ = train(
            pairs,
            parent / "model",
            kind="cnn-rnn",
            cell="simple",
            units=5,
            source_unit=source_unit,
            target_unit=target_unit,
            validation_pairs=pairs[:3],
            max_source_length=MAX_SOURCE_LENGTH + 10,
            max_target_length=MAX_SOURCE_LENGTH + 10,
            epochs=1,
            batch_size=29,
            verbose=0,
        )
    draw = np.random.default_rng(3)
    model.set_weights([draw.normal(0, 0.7, w.shape) for w in model.weights])
    folder = export.export_saved_model(
        model,
        parent / "1",
        ka.Greedy(),
        max_length=MAX_LENGTH,
        max_source_length=MAX_SOURCE_LENGTH,
        signatures=["serving_default"],
    )
    served = tf.saved_model.load(str(folder))
    return Chain(
        model=ka.load(parent / "model"),
        trained=model,
        served=served,
        answer=served.signatures["serving_default"],
        pairs=pairs,
    )


CHAINS = {
    "words": "symbols",
    "symbols": "words",
    "characters": "pieces",
    "pieces": "characters",
}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return trained("words", "symbols", tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module", params=CHAINS)
def chain(request, tmp_path_factory):
    unit = request.param
    return trained(unit, CHAINS[unit], tmp_path_factory.mktemp(unit))


def check_answers(chain, texts):
    """The SavedModel answers as `generate`, which reads as many ids."""
    import tensorflow as tf

    from keras_attention.export import bounds

    vocabulary = chain.trained.source_vocabulary
    unit = getattr(vocabulary, "unit", None)
    limit = bounds.bytes_read(unit, MAX_SOURCE_LENGTH)
    ids = vocabulary.encode(
        bounds.cut_to_bytes(tf.constant(texts), limit), MAX_SOURCE_LENGTH
    ).numpy()
    padded = np.zeros((BATCH, MAX_SOURCE_LENGTH), "int32")
    padded[:, : ids.shape[1]] = ids
    expected = chain.trained.generate(padded, max_length=MAX_LENGTH)
    told = chain.answer(text=tf.constant(texts))
    answers = [text.decode() for text in told["text"].numpy()]  # all UTF-8
    written = chain.trained.target_vocabulary.decode(expected.tokens[:, 0])
    assert answers == [text.decode() for text in written.numpy()]
    np.testing.assert_allclose(
        told["score"], expected.scores[:, 0], rtol=1e-5, atol=1e-5
    )


def check_what_it_was_trained_on(chain):
    """Each text is known to the vocabulary that was made of it."""
    sides = zip(*chain.pairs[:-2], strict=True)  # the last were left out
    for name, texts in zip(("source", "target"), sides, strict=True):
        vocabulary = getattr(chain.model, f"{name}_vocabulary")
        texts = [t for t in texts if "<eos>" not in t and "<unk>" not in t]
        ids = vocabulary.encode(texts).numpy()
        is_known = ~(ids == UNKNOWN_ID).any(axis=1)
        if vocabulary.unit == "pieces":  # of rare characters only some
            read = vocabulary.normalize(texts).numpy()[is_known].tolist()
            assert vocabulary.decode(ids[is_known]).numpy().tolist() == read
        else:
            assert is_known.all()
        assert is_known.any()


def test_training_takes_any_text(words):
    check_what_it_was_trained_on(words)


def test_generate_takes_any_text(words):
    found = words.model.generate(KNOWN_TO_BE_HARD, max_length=MAX_LENGTH)
    assert [type(text) for text in found.texts[:, 0]] == [str] * BATCH
    assert len({*found.texts[:, 0]}) > 2
    assert np.isfinite(found.scores).all()


@settings(max_examples=15)
@example(KNOWN_TO_BE_HARD)
@given(batches)
def test_saved_model_answers_any_text_as_generate(words, texts):
    check_answers(words, texts)


@pytest.mark.soak
def test_each_unit_takes_any_text(chain):
    check_what_it_was_trained_on(chain)
    found = chain.model.generate(KNOWN_TO_BE_HARD, max_length=MAX_LENGTH)
    assert np.isfinite(found.scores).all()


@pytest.mark.soak
def test_saved_model_of_each_unit_answers_any_text(chain, record_property):
    tried = []

    @settings(max_examples=SOAKED, derandomize=False, print_blob=True)
    @example(KNOWN_TO_BE_HARD)
    @given(batches)
    def check(texts):
        tried.extend(texts)
        check_answers(chain, texts)

    check()
    record_property("texts tried", len(tried))
