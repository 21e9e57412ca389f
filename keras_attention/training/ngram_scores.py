"""BLEU and chrF of generated texts, as sacreBLEU counts them.

Both compare short runs of tokens, n-grams, with those of the references, and
are what translations are published with. Figures can be compared only where
the tokens are cut alike, so the counting is left to the package `sacrebleu`.
"""

from collections.abc import Sequence
from typing import Any

from keras_attention import validation
from keras_attention.choices import BLEU_TOKENIZERS
from keras_attention.training.rates import texts_to_compare

NEED_SACREBLEU = ("bleu", "chrf")


def bleu(
    references: Sequence, hypotheses: Sequence, tokenizer: str = "13a"
) -> float:
    """Returns the BLEU of a corpus, from 0 to 100.

    Papineni et al. 2002, equations 2 and 3: the geometric mean of the
    precisions p_n of n-grams up to 4 words, times a penalty for texts that
    are shorter than their references,

        BLEU = 100 * min(1, e^(1 - r / c)) * (p_1 p_2 p_3 p_4)^(1/4)

    with c words in all hypotheses and r in the references of the closest
    lengths. Case counts. An order without a match is smoothed (sacreBLEU's
    "exp", Post 2018).

    Args:
        references: list with a str, or a list of str, for each hypothesis.
        hypotheses: list of str.
        tokenizer: how words are cut: "13a", the one of published figures;
            "intl", by Unicode; "zh", Chinese characters apart; "char"; or
            "none", at spaces, for texts that are cut already.

    Returns:
        float in [0, 100].

    Raises:
        ValueError: if the lists are empty or differ in length, or the
            tokenizer is unknown.
        ImportError: sacrebleu is not installed.

    Example:

    >>> from keras_attention.training import bleu
    >>> round(bleu(["a dog runs in the grass"], ["a dog runs in grass"]), 1)
    57.9
    """
    validation.check_choice("tokenizer", tokenizer, BLEU_TOKENIZERS)
    metric = import_sacrebleu().metrics.BLEU(
        tokenize=tokenizer,
        force=tokenizer == "none",  # or it warns of texts that are cut already
    )
    return _corpus_score(metric, references, hypotheses)


def chrf(references: Sequence, hypotheses: Sequence) -> float:
    """Returns the chrF of a corpus, from 0 to 100.

    Popović 2015, equation 1: precision P and recall R of the n-grams of
    characters, averaged over n from 1 to 6, spaces left out, joined with
    recall counting twice (beta = 2):

        chrF = 100 * (1 + beta^2) P R / (beta^2 P + R)

    It needs no words, so it suits languages that write none.

    Args:
        references: list with a str, or a list of str, for each hypothesis.
        hypotheses: list of str.

    Returns:
        float in [0, 100].

    Raises:
        ValueError: if the lists are empty or differ in length.
        ImportError: sacrebleu is not installed.

    Example:

    >>> from keras_attention.training import chrf
    >>> chrf(["a dog"], ["a dog"])
    100.0
    """
    metric = import_sacrebleu().metrics.CHRF()
    return _corpus_score(metric, references, hypotheses)


def import_sacrebleu() -> Any:
    """Returns the package.

    Raises:
        ImportError: it is not installed; the message says how to.
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise ImportError(
            "BLEU and chrF need sacrebleu (the extra `metrics`): "
            "pip install sacrebleu"
        ) from error
    return sacrebleu


def _corpus_score(metric, references, hypotheses):
    lists, texts = texts_to_compare(references, hypotheses)
    most = max(map(len, lists))
    # The first references of all texts, the second ones, and so on.
    streams = [
        [those[n] if n < len(those) else None for those in lists]
        for n in range(most)
    ]
    score = metric.corpus_score(texts, streams).score
    return min(score, 100.0)  # 100.00000000000004 is rounding
