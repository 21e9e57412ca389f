"""BLEU and chrF against hand computation; metrics by their names."""

import builtins
import math

import pytest

from keras_attention.training import GenerationMetrics
from keras_attention.training import bleu
from keras_attention.training import chrf
from keras_attention.training import measure_texts
from keras_attention.training.settings import TrainingSettings


def test_bleu_is_a_geometric_mean_with_a_brevity_penalty():
    # Of "a b c d e" and "a b c d": all n-grams match, 4 words for 5.
    wanted = 100 * math.exp(1 - 5 / 4)
    found = bleu(["a b c d e"], ["a b c d"], tokenizer="none")
    assert found == pytest.approx(wanted)
    # Of 5 words, 4 pairs, 3 triples, 2 fours: 4, 3, 2, 1 match.
    wanted = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    found = bleu(["a b c d e"], ["a b c d x"], tokenizer="none")
    assert found == pytest.approx(wanted)


def test_bleu_of_words_that_are_cut_already_gives_no_advice(caplog):
    texts = ["a dog runs ."] * 200
    assert bleu(texts, texts, tokenizer="none") == pytest.approx(100)
    assert not caplog.records


def test_bleu_sums_over_the_corpus_and_takes_any_reference():
    references = [["x y", "a b c d e"], "f g h i j", ["k l m n o"]]
    hypotheses = ["a b c d e", "f g h i j", "k l m n z"]
    matches = 14 / 15 * 11 / 12 * 8 / 9 * 5 / 6
    found = bleu(references, hypotheses, tokenizer="none")
    assert found == pytest.approx(100 * matches**0.25)


def test_bleu_cuts_words_as_told():
    references, hypotheses = ["我 喜欢你们大家。"], ["我喜欢你们大家。"]
    assert bleu(references, hypotheses, "zh") == pytest.approx(100)
    assert bleu(references, hypotheses, "none") < 50
    assert bleu(["Is it so, then?"], ["Is it so , then ?"]) == pytest.approx(
        100
    )


def test_chrf_weighs_recall_twice():
    # Of "abc" and "ab": 2 of 2 and 2 of 3 characters, 1 of 1 and 1 of 2
    # pairs; an order that a side lacks does not count.
    precision, recall = 1.0, (2 / 3 + 1 / 2) / 2
    wanted = 100 * 5 * precision * recall / (4 * precision + recall)
    assert chrf(["abc"], ["ab"]) == pytest.approx(wanted, abs=1.0)
    assert chrf([["xyz", "ab"]], ["ab"]) == 100.0


def test_metrics_by_name_are_those_of_their_functions():
    texts = ["A dog.", "a b"], ["a dog .", "a c"]
    names = ["word_error_rate", "character_error_rate", "bleu", "exact_match"]
    found = measure_texts(*texts, names, unit="words", bleu_tokenizer="char")
    assert list(found) == names
    assert found["word_error_rate"] == 1 / 5  # case and spacing do not count
    assert found["character_error_rate"] == 3 / 9
    assert found["bleu"] == bleu(*texts, tokenizer="char")
    assert found["exact_match"] == 1 / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bleu(["a"], ["a"], "14a"), "`tokenizer` must be one of .*13a"),
        (lambda: chrf(["a"], []), "`hypotheses` must be a list of str"),
        (lambda: measure_texts(["a"], ["a"], []), "`metrics` must be a list"),
        (lambda: measure_texts(["a"], ["a"], "bleu"), "`metrics` must be a li"),
        (
            lambda: measure_texts(["a"], ["a"], ["blue"]),
            "`metrics` must be one of.*'blue'",
        ),
        (
            lambda: measure_texts(["a"], ["a"], ["exact_match"], "pieces"),
            "`unit` must be one of",
        ),
        (
            lambda: measure_texts(["a"], ["a"], bleu_tokenizer="14a"),
            "`bleu_tokenizer` must be one of",
        ),
        (
            lambda: GenerationMetrics([("a", "b")], unit="word"),
            "`unit` must be one of",
        ),
        (
            lambda: TrainingSettings(pairs=[], folder="x", bleu_tokenizer="x"),
            "`bleu_tokenizer` must be one of",
        ),
    ],
    ids=["tokenizer", "lengths", "none", "text", "unknown"]
    + ["unit", "words of bleu", "unit of fit", "training"],
)
def test_wrong_arguments_are_told(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_missing_package_is_told_before_any_work(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "sacrebleu":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (
        lambda: bleu(["a"], ["a"]),
        lambda: GenerationMetrics([("a", "b")], metrics=["chrf"]),
        lambda: TrainingSettings(pairs=[], folder="x", monitor="bleu"),
    ):
        with pytest.raises(
            ImportError, match="`metrics`.: pip install sacrebleu"
        ):
            call()
    assert measure_texts(["a"], ["a"])["exact_match"] == 1.0


def test_bleu_is_at_most_100():
    """SacreBLEU says 100.00000000000004."""
    assert bleu(["a b c d"], ["a b c d"]) == 100.0
