"""Exact match and edit-distance rates against hand computation."""

import functools
import itertools
import random

import numpy as np
import pytest
import tensorflow as tf

from keras_attention.training import chrf
from keras_attention.training import edit_distance
from keras_attention.training import error_rate
from keras_attention.training import exact_match
from keras_attention.training import rouge_1


def distance_by_definition(first, second):
    @functools.cache
    def of(i, j):
        if not i or not j:
            return i + j
        changed = of(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(changed, of(i - 1, j) + 1, of(i, j - 1) + 1)

    return of(len(first), len(second))


def test_edit_distance_equals_its_definition():
    draw = random.Random(7)
    for _ in range(200):
        first, second = (
            draw.choices("abc", k=draw.randint(0, 7)) for _ in range(2)
        )
        wanted = distance_by_definition(tuple(first), tuple(second))
        assert edit_distance(first, second) == wanted


def test_exact_match_takes_any_reference():
    references = ["a b", ["c", "d e"], ["f"]]
    assert exact_match(references, ["a b", "d e", "g"]) == 2 / 3


def test_exact_match_of_tokens_leaves_out_spacing_and_case():
    assert exact_match(["A  b"], ["A b"]) == 0.0
    assert exact_match(["A  b"], ["A b"], unit="symbols") == 1.0
    assert exact_match(["Hello, World"], ["hello, world"], unit="words") == 1.0
    assert exact_match(["Ab"], ["ab"], unit="characters") == 0.0


def test_error_rate_sums_over_all_texts():
    # One substitution in 3, one deletion in 4: (1 + 1) / (3 + 4).
    found = error_rate(["A B C", "A B C D"], ["A X C", "A B D"], "symbols")
    assert found == 2 / 7


def test_bytes_are_the_text_that_they_encode():
    texts = ["Ä B", b"\xc3\x84 B"]
    for reference, text in itertools.product(texts, texts):
        assert exact_match([reference], [text]) == 1.0
        assert exact_match([["C", reference]], np.array([text], object)) == 1.0
        assert error_rate([reference], [text]) == 0.0
        assert rouge_1([reference], [text]) == 100.0
    # What `decode` returns.
    assert exact_match(["Ä B", "C"], tf.constant(["Ä B", "D"])) == 0.5


@pytest.mark.parametrize(
    "metric", [exact_match, error_rate, rouge_1, chrf], ids=lambda m: m.__name__
)
def test_what_is_no_text_is_refused(metric):
    with pytest.raises(ValueError, match="`references` must be texts, .*=3"):
        metric([3], ["ab"])
    with pytest.raises(ValueError, match="`references` must be texts, .*=3"):
        metric([["a", 3]], ["ab"])
    with pytest.raises(ValueError, match="`hypotheses` must be texts, .*=7"):
        metric(["a"], [7])
    with pytest.raises(ValueError, match="`hypotheses` must be a list"):
        metric(["a"], b"a")


def test_error_rate_takes_the_closest_reference():
    # Distances 3 of 3 and 1 of 2.
    assert error_rate([["abc", "xy"]], ["xz"]) == 1 / 2
    # Equally close, one of 1 and one of 3: the longest counts.
    assert error_rate([["x", "xyz"]], ["xy"]) == 1 / 3


@pytest.mark.parametrize(
    ("hypotheses", "unit", "wanted"),
    [(["don't go"], "words", 1 / 2), (["dont stop"], "characters", 1 / 10)],
)
def test_error_rate_counts_units(hypotheses, unit, wanted):
    assert error_rate(["Don't stop".lower()], hypotheses, unit) == wanted


def test_error_rate_may_exceed_one():
    assert error_rate(["a"], ["bcd"]) == 3.0


@pytest.mark.parametrize("rate", [exact_match, error_rate])
@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [
        (["a"], [], "`hypotheses` must be a list of str, not empty"),
        (["a"], "a", "`hypotheses` must be a list of str"),
        (["a", "b"], ["a"], "one entry for each hypothesis.* 2 ref"),
        ("a", ["a"], "`references` must have one entry"),
        ([[]], ["a"], "at least one str for each hypothesis"),
    ],
    ids=["empty", "text", "lengths", "one-text", "no-reference"],
)
def test_rates_check_their_arguments(rate, references, hypotheses, message):
    with pytest.raises(ValueError, match=message):
        rate(references, hypotheses)


def test_error_rate_needs_tokens_and_a_known_unit():
    with pytest.raises(ValueError, match="texts with at least one token"):
        error_rate([""], ["a"])
    with pytest.raises(ValueError, match="`unit` must be one of"):
        error_rate(["a"], ["a"], unit="letters")
