"""Descriptions of packages: the format, the parts, the baseline."""

import gzip
import sys

import pytest

from keras_attention.examples import descriptions
from keras_attention.examples import summaries
from keras_attention.examples import text_to_text

TEXT = """\
Package: 2048
Description-md5: 2d3a24661b5ec0391d6bd1aedf7c20b7
Description-en: Slide and add puzzle game
 The tiles of a grid
 are moved.
 .
  * two arrows

Package: nothing
Description-en: no long text

Package: again
Description: the same game
 The tiles of a grid
 are moved.
 .
  * two arrows
"""
PAIRS = [
    ("The tiles of a grid are moved. * two arrows", "Slide and add puzzle game")
]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_long_and_short_descriptions_are_read_once(tmp_path, suffix):
    data = TEXT.encode()
    path = tmp_path / f"Translation-en{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    assert descriptions.read(tmp_path) == PAIRS


def test_missing_data_is_told(tmp_path):
    with pytest.raises(ValueError, match="a folder that holds Translation-en"):
        descriptions.read(tmp_path)


def test_descriptions_that_begin_alike_are_in_one_part():
    texts = [f"word {n} " + "and so on " * 4 for n in range(2000)]
    parts = [descriptions.part_of(text) for text in texts]
    assert parts == [descriptions.part_of(f"{text} more") for text in texts]
    for name in ("dev", "test"):
        assert 20 < parts.count(name) < 60  # 2%


@pytest.mark.tensorflow_only
def test_the_best_number_of_first_words_is_found():
    pairs = [("one two three four five six", "one two three four five")]
    assert summaries.best_lead(pairs) == 5


@pytest.mark.tensorflow_only
def test_metrics_are_asked_for_before_the_training(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setattr(text_to_text, "train", lambda *_, **__: 1 / 0)
    assert summaries.main(["--quick"]) != 0
    assert "pip install sacrebleu" in capsys.readouterr().err
