"""ROUGE against hand computation and against its definition."""

import itertools
import random

import pytest

from keras_attention.training import measure_texts
from keras_attention.training import rouge_1
from keras_attention.training import rouge_l


def longest_by_definition(first, second):
    """Tries all subsequences of the first, the longest before the others."""
    for length in range(len(first), 0, -1):
        for chosen in itertools.combinations(first, length):
            rest = iter(second)
            if all(word in rest for word in chosen):
                return length
    return 0


def test_rouge_l_equals_its_definition():
    draw = random.Random(7)
    for _ in range(100):
        first, second = (
            draw.choices("abc", k=draw.randint(1, 7)) for _ in range(2)
        )
        longest = longest_by_definition(first, second)
        wanted = 100 * 2 * longest / (len(first) + len(second))
        found = rouge_l([" ".join(first)], [" ".join(second)])
        assert found == pytest.approx(wanted)


def test_rouge_1_counts_a_word_as_often_as_both_have_it():
    # "a a b" and "a b b c": a and b in common.
    assert rouge_1(["a a b"], ["a b b c"]) == pytest.approx(100 * 4 / 7)
    assert rouge_l(["a a b"], ["b a"]) == pytest.approx(100 * 2 / 5)


def test_rouge_is_a_mean_over_texts_of_the_best_reference():
    references = [["x y", "A dog, so!"], "nothing alike"]
    for rouge in (rouge_1, rouge_l):
        assert rouge(references, ["a dog so", "at all"]) == 50.0
        assert rouge(["a"], [""]) == 0.0 and rouge([""], [""]) == 0.0
        with pytest.raises(ValueError, match="`hypotheses` must be a list of"):
            rouge(["a"], [])


def test_words_keep_their_marks_and_end_at_other_characters():
    # Words that differ in their combining marks alone: vowels, an accent.
    for text, other in [("किताब", "कातिब"), ("cafe\u0301", "cafe")]:
        assert rouge_1([text], [other]) == 0.0
        assert rouge_1([text], [f"{text}!"]) == 100.0
    assert rouge_1(["a_b2"], ["b2-a"]) == 100.0


def test_rouge_is_measured_by_its_name():
    names = ["rouge_l", "rouge_1"]
    found = measure_texts(["a b c"], ["c b a"], names)
    assert found == {"rouge_l": pytest.approx(100 / 3), "rouge_1": 100.0}
