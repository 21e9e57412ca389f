"""The one reading before a training: what it finds, and what it keeps."""

import random
from collections import Counter

import numpy as np
import pytest

from keras_attention import Vocabulary
from keras_attention.training import pairs as pairs_module
from keras_attention.training import survey_pairs
from keras_attention.training.first_pass import HeldOut
from keras_attention.training.first_pass import read_once
from keras_attention.training.pairs import Pairs
from keras_attention.training.pairs import share_of
from keras_attention.training.preparation import prepare
from keras_attention.training.settings import TrainingSettings
from keras_attention.training.survey import Tally
from keras_attention.training.tokenization import KnownTokens
from keras_attention.training.tokenization import NewTokens


def random_pairs(number, sources, seed=3):
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefg", k=7)) for _ in range(sources)]
    chosen = [words[draw.randrange(sources)] for _ in range(number)]
    return [(word, f"{n} {word[: n % 5 + 1]}") for n, word in enumerate(chosen)]


@pytest.mark.parametrize("at_a_time", [1, 7, 911])
def test_share_is_the_one_that_the_number_of_pairs_gives(at_a_time):
    pairs = random_pairs(911, sources=601)
    held_out = HeldOut(0.2, at_most=31)
    rest, held = [], 0
    numbered = list(enumerate(pairs))
    for start in range(0, len(pairs), at_a_time):
        rest += held_out.take(numbered[start : start + at_a_time])
        held = max(held, len(held_out.pairs()))
    share = min(0.2, 31 / 911)  # known at the end alone
    assert held_out.share == share
    assert held_out.pairs() == [p for p in pairs if share_of(p[0]) < share]
    others = [e for e in numbered if share_of(e[1][0]) >= share]
    assert sorted(rest) == others and 10 < len(pairs) - len(rest) < 60
    if at_a_time < 911:
        assert held < 60  # of 911: what is in memory stays small


def test_one_reading_finds_what_several_would():
    pairs = random_pairs(5003, sources=1999)  # more than are read at once
    held_out = HeldOut(0.1, at_most=211)
    sides = [NewTokens("characters", None, 1), NewTokens("symbols", 97, 2)]
    tally = Tally(sides, (None, 3))
    digest = read_once(iter(pairs), tally, held_out)
    rest, held = (list(p) for p in Pairs(pairs).split(211 / 5003))
    assert held_out.pairs() == held
    source, target = (side.vocabulary() for side in sides)
    wanted = Vocabulary.build(s for s, _ in rest)
    assert source.tokens == wanted.tokens
    wanted = Vocabulary.build((t for _, t in rest), "symbols", 97, 2)
    assert target.tokens == wanted.tokens
    survey = tally.survey(5)
    lengths = [(len(s) + 1, len(t.split()) + 1) for s, t in rest]
    assert survey.lengths.tolist() == [list(pair) for pair in lengths]
    assert survey.lengths.dtype == np.uint8  # two bytes a pair are kept
    assert survey == survey_pairs(rest, source, target, None, 3, 5)
    assert str(digest).startswith("5,003 pairs, SHA-256 ")


@pytest.mark.parametrize("validation", [False, True], ids=["share", "given"])
def test_file_is_read_once_before_a_training(tmp_path, monkeypatch, validation):
    readings = Counter()

    def counted(path, columns, read=pairs_module.read_file):
        readings[path.name] += 1
        return read(path, columns)

    monkeypatch.setattr(pairs_module, "read_file", counted)
    lines = [f"{s}\t{t}\n" for s, t in random_pairs(307, sources=211)]
    (tmp_path / "a.tsv").write_text("".join(lines))
    (tmp_path / "b.tsv").write_text("".join(lines[:11]))
    held_out = {"validation_pairs": tmp_path / "b.tsv"} if validation else {}
    data = prepare(
        TrainingSettings(
            pairs=tmp_path / "a.tsv", folder=tmp_path / "m", **held_out
        )
    )
    for _ in range(3):
        assert list(data.held_out)  # these are in memory
    assert readings == {"a.tsv": 1, **({"b.tsv": 1} if validation else {})}


def test_lengths_take_as_many_bytes_as_the_longest_needs():
    vocabulary = Vocabulary.build(["ab"])
    sides = (KnownTokens(vocabulary), KnownTokens(vocabulary))
    tally = Tally(sides)
    tally.add([(1, ("a" * 300, "b"))])
    tally.add([(2, ("ab", "ba")), (0, ("a", "aba"))])
    survey = tally.survey(2)
    assert survey.lengths.tolist() == [[2, 4], [301, 2], [3, 3]]
    assert survey.lengths.dtype == np.uint16
