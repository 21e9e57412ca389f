"""train() with vocabularies of pieces: learned, shared, or given."""

import dataclasses
import json
import re

import keras
import pytest

import keras_attention as ka
from keras_attention.text import PieceVocabulary
from keras_attention.text import Vocabulary
from keras_attention.training import train
from keras_attention.training.identity import facts_of
from keras_attention.training.preparation import described
from keras_attention.training.preparation import prepare
from keras_attention.training.rates import counted_unit
from keras_attention.training.settings import TrainingSettings

pytestmark = pytest.mark.tensorflow_only

NAMES = ["ox", "goat", "duck", "donkey", "oxen", "goats", "ducks"]
PAIRS = [
    (f"an {a} and {b}.", f"{a} und {b}, {b.upper()}")
    for a in NAMES
    for b in NAMES
]
PIECES = {"source_unit": "pieces", "target_unit": "pieces"}


def prepared(tmp_path, **options):
    settings = TrainingSettings(
        pairs=PAIRS,
        folder=tmp_path / "model",
        **{"validation_pairs": PAIRS[:7], **options},
    )
    return settings, prepare(settings)


@pytest.mark.exhaustive
def test_train_learns_pieces_and_saves_them(tmp_path):
    model, card = train(
        PAIRS,
        tmp_path / "model",
        **PIECES,
        vocabulary_size=47,
        validation_pairs=PAIRS[:7],
        kind="cnn-rnn",
        units=5,
        epochs=1,
        batch_size=13,
        verbose=0,
    )
    size = len(model.target_vocabulary)
    assert card["target"] == f"{size} pieces"
    assert 20 < size <= 47
    assert card["metrics"]["val_error_rate"] >= 0
    loaded = ka.load(tmp_path / "model")
    for name in ("source_vocabulary", "target_vocabulary"):
        ours, again = getattr(model, name), getattr(loaded, name)
        assert isinstance(again, PieceVocabulary)
        assert again.to_dict() == ours.to_dict()
        written = json.loads((tmp_path / f"model/{name}.json").read_text())
        assert written == ours.to_dict()
    texts = ["an ox and goat.", "duck"]
    said = loaded.generate(texts, max_length=11).texts.tolist()
    assert said == model.generate(texts, max_length=11).texts.tolist()


def test_pieces_are_measured_after_they_are_learned(tmp_path):
    settings, data = prepared(
        tmp_path, **PIECES, vocabulary_size=47, max_target_length=17
    )
    sides = (data.source_vocabulary, data.target_vocabulary)
    assert sides[0].tokens != sides[1].tokens
    expected = [
        vocabulary.encode_ragged(texts).row_lengths().numpy().tolist()
        for vocabulary, texts in zip(
            sides, zip(*PAIRS, strict=True), strict=True
        )
    ]
    assert data.survey.lengths.T.tolist() == expected
    left_out = {n for n, length in enumerate(expected[1]) if length > 17}
    assert data.survey.left_out == left_out
    # Whoever resumes learns the same once more.
    again = prepared(tmp_path, **PIECES, vocabulary_size=47)[1]
    facts = facts_of(settings, data)
    assert facts_of(settings, again) == facts
    changed = dict(sides[1].to_dict())
    changed["scores"] = [score - 1 for score in changed["scores"]]
    changed = PieceVocabulary.from_dict(changed)
    other = dataclasses.replace(data, target_vocabulary=changed)
    assert facts_of(settings, other)["vocabularies"] != facts["vocabularies"]


def test_shared_vocabulary_is_learned_from_both_sides(tmp_path):
    _, data = prepared(
        tmp_path, **PIECES, shared_vocabulary=True, vocabulary_size=61
    )
    assert data.source_vocabulary is data.target_vocabulary
    texts = [text for pair in PAIRS for text in pair]
    built = PieceVocabulary.build(texts, 61)
    assert data.source_vocabulary.to_dict() == built.to_dict()


def test_given_vocabularies_are_used_as_they_are(tmp_path):
    pieces = PieceVocabulary(["▁", "a", "n", "▁an"], [-2, -3, -4, -1])
    pieces.save(tmp_path / "pieces.json")
    characters = Vocabulary.build(["abcdefghijklm"])
    _, data = prepared(
        tmp_path,
        source_vocabulary=tmp_path / "pieces.json",
        target_vocabulary=characters,
    )
    assert data.source_vocabulary.to_dict() == pieces.to_dict()
    assert data.target_vocabulary is characters


@keras.saving.register_keras_serializable("tests")
class Letters:
    """A tokenizer with nothing beyond what every one must have."""

    def __init__(self, letters="abcdefghijklmnopqrstuvwxyzABCDEGKNOSTUX .,"):
        self.letters = letters
        self._inner = Vocabulary.from_counts(dict.fromkeys(letters, 1))
        for name in ("encode", "decode", "token_strings"):
            setattr(self, name, getattr(self._inner, name))

    def __len__(self):
        return len(self._inner)

    def get_config(self):
        return {"letters": self.letters}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_other_tokenizers_are_described_and_told_apart(tmp_path):
    one, other = Letters(), Letters("oxen")
    settings, data = prepared(
        tmp_path, source_vocabulary=one, target_vocabulary=one
    )
    assert described(one) == f"{len(one)} tokens"
    facts = facts_of(settings, data)["vocabularies"]
    changed = dataclasses.replace(data, target_vocabulary=other)
    assert facts_of(settings, changed)["vocabularies"] != facts
    again = dataclasses.replace(data, target_vocabulary=Letters())
    assert facts_of(settings, again)["vocabularies"] == facts


def test_characters_are_counted_in_place_of_pieces():
    pieces = PieceVocabulary(["▁", "a"], [-1, -2])
    assert counted_unit(pieces) == "characters"
    assert counted_unit(Vocabulary.build(["a"], "words")) == "words"
    assert counted_unit(object()) == "characters"


class Unsaved:
    """A tokenizer that has all but a config."""

    encode = decode = token_strings = __len__ = None


class Unread(Unsaved):
    """A tokenizer that Keras could write and not read."""

    get_config = dict


GIVEN = {"source_vocabulary": __file__, "target_vocabulary": __file__}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"source_unit": "pieces", "shared_vocabulary": True},
            "`shared_vocabulary` must be False unless both units are one",
        ),
        ({**PIECES, "shared_vocabulary": 1.5}, "`shared_vocabulary` must be"),
        ({**PIECES, "vocabulary_size": 4}, "`vocabulary_size` must be above 4"),
        ({"vocabulary_size": 3}, "`vocabulary_size` must be above 4"),
        (
            {**GIVEN, "vocabulary_size": 50},
            "`vocabulary_size` must be None where both vocabularies are given",
        ),
        (
            {"source_vocabulary": ["a", "b"]},
            "`source_vocabulary` must be a text.Vocabulary, a tokenizer with",
        ),
        (
            {"target_vocabulary": Unsaved()},
            "`target_vocabulary` must be .* a tokenizer with `get_config`",
        ),
        (
            {"target_vocabulary": Unread()},
            "`target_vocabulary` must be .* `get_config` and `from_config`",
        ),
        ({**PIECES, "min_count": 2}, "`min_count` must be 1 where no tokens"),
        (
            {"source_vocabulary": "none.json"},
            "`source_vocabulary` must be the path of a file",
        ),
        (
            {"target_vocabulary": object(), "target_unit": "pieces"},
            "`target_unit` must be None where `target_vocabulary` is given",
        ),
        (
            {"source_vocabulary": object(), "initial_folder": "some"},
            "`source_vocabulary` must not be given with `initial_folder`",
        ),
    ],
)
def test_settings_refuse(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(pairs=PAIRS, folder=tmp_path / "model", **options)


def least_of(pairs, size):
    return PieceVocabulary.build([source for source, _ in pairs], size)


def test_too_small_a_vocabulary_names_what_is_needed(tmp_path):
    message = (
        r"`vocabulary_size` must be more than 4 and the .*vocabulary_size=9\. "
        r"Here that takes at least (\d+)\."
    )
    with pytest.raises(ValueError, match=message) as caught:
        prepared(tmp_path, **PIECES, vocabulary_size=9)
    least = int(re.search(message, str(caught.value))[1])
    assert len(least_of(PAIRS, least).tokens) <= least
    with pytest.raises(ValueError, match=f"takes at least {least}"):
        least_of(PAIRS, least - 1)
