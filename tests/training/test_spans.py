"""Labelled spans and their F1, by hand."""

import pytest

from keras_attention.training import span_f1
from keras_attention.training import spans_of


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("", set()),
        ("O O", set()),
        ("B-a", {("a", 0, 1)}),
        ("B-a B-a I-a", {("a", 0, 1), ("a", 1, 3)}),
        ("B-a I-b O", {("a", 0, 1), ("b", 1, 2)}),
        ("O I-a I-a B-b", {("a", 1, 3), ("b", 3, 4)}),
        ("B-x-y I-x-y", {("x-y", 0, 2)}),
    ],
)
def test_spans_are_those_of_conll(tags, spans):
    assert spans_of(tags.split()) == spans


def test_f1_counts_spans_of_all_texts_together():
    references = ["B-a I-a O".split(), "B-b B-c O B-a".split()]
    predictions = ["B-a O O".split(), "B-b B-c O O".split()]
    # Four true spans, three found, two of them right: P = 2/3, R = 2/4.
    assert span_f1(references, predictions) == pytest.approx(4 / 7)
    assert span_f1(references, references) == 1.0
    assert span_f1([["O"]], [["B-a"]]) == 0.0
    assert span_f1([["O"]], [["O"]]) == 1.0


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"`predictions` must be as many"):
        span_f1([["O", "O"]], [["O"]])


@pytest.mark.parametrize("tag", ["", "S-a", "b-a", "BI-a", "O-a", "artist"])
def test_tags_of_another_scheme_are_refused(tag):
    """Taken for "O", they would make an F1 of 1 out of nothing found."""
    with pytest.raises(ValueError, match=r"`tags` must be 'O', 'B-x' or"):
        span_f1([[tag]], [["O"]])
