"""All metrics of generated texts by their names."""

from collections.abc import Sequence

from keras_attention import validation
from keras_attention.choices import BLEU_TOKENIZERS
from keras_attention.choices import METRICS
from keras_attention.choices import UNITS
from keras_attention.training.ngram_scores import NEED_SACREBLEU
from keras_attention.training.ngram_scores import bleu
from keras_attention.training.ngram_scores import chrf
from keras_attention.training.ngram_scores import import_sacrebleu
from keras_attention.training.rates import error_rate
from keras_attention.training.rates import exact_match
from keras_attention.training.rouge import rouge_1
from keras_attention.training.rouge import rouge_l

USUAL_METRICS = ("exact_match", "error_rate")


def check_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """Returns the names as a tuple, if each can be measured here.

    Raises:
        ValueError: if there is none, or one is unknown.
        ImportError: if one needs a package that is not installed.
    """
    if isinstance(metrics, str) or not metrics:
        raise validation.invalid(
            "metrics", f"a list of names out of {METRICS}", repr(metrics)
        )
    for name in metrics:
        validation.check_choice("metrics", name, METRICS)
    if set(metrics) & set(NEED_SACREBLEU):
        import_sacrebleu()
    return tuple(metrics)


def measure_texts(
    references: Sequence,
    hypotheses: Sequence,
    metrics: Sequence[str] = USUAL_METRICS,
    unit: str = "characters",
    bleu_tokenizer: str = "13a",
) -> dict[str, float]:
    """Returns the metrics of generated texts by name.

    "exact_match" and "error_rate" count tokens of `unit`, as the functions of
    these names do; "word_error_rate" and "character_error_rate" are error
    rates of those units, words being lower-cased and cut from punctuation,
    whose marks count as words.
    All four are shares; "bleu", "chrf", "rouge_1" and "rouge_l" go up to 100.

    Args:
        references: list with a str, or a list of str, for each hypothesis.
        hypotheses: list of str.
        metrics: list of these names.
        unit: "characters", "words" or "symbols".
        bleu_tokenizer: see `bleu`.

    Raises:
        ValueError: if a name, the unit or the tokenizer is unknown, the lists
            are empty or differ in length, or the references hold no token.
        ImportError: "bleu" or "chrf" without sacrebleu.

    Example:

    >>> from keras_attention.training import measure_texts
    >>> measure_texts(["a dog"], ["a hog"], ["word_error_rate", "error_rate"])
    {'word_error_rate': 0.5, 'error_rate': 0.2}
    """
    validation.check_choice("unit", unit, UNITS)
    validation.check_choice("bleu_tokenizer", bleu_tokenizer, BLEU_TOKENIZERS)
    texts = references, hypotheses
    functions = {
        "exact_match": lambda: exact_match(*texts, unit),
        "error_rate": lambda: error_rate(*texts, unit),
        "word_error_rate": lambda: error_rate(*texts, "words"),
        "character_error_rate": lambda: error_rate(*texts, "characters"),
        "bleu": lambda: bleu(*texts, bleu_tokenizer),
        "chrf": lambda: chrf(*texts),
        "rouge_1": lambda: rouge_1(*texts),
        "rouge_l": lambda: rouge_l(*texts),
    }
    return {name: functions[name]() for name in check_metrics(metrics)}
