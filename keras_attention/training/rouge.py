"""ROUGE: how much of a summary's words are those of its reference."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

from keras_attention.training.rates import texts_to_compare


def rouge_1(references: Sequence, hypotheses: Sequence) -> float:
    """Returns the mean ROUGE-1, from 0 to 100: common words in any order.

    Lin 2004, section 2, as F1: with c words in common, of n in the text and m
    in its reference,

        ROUGE-1 = 100 * 2 c / (n + m)

    Words are runs of letters with their marks and of digits, lower-cased;
    nothing is stemmed. Of several references the best one counts.

    Args:
        references: list with a str, or a list of str, for each hypothesis.
        hypotheses: list of str.

    Returns:
        float in [0, 100].

    Raises:
        ValueError: if the lists are empty or differ in length.

    Example:

    >>> from keras_attention.training import rouge_1
    >>> rouge_1(["small tool for images"], ["a tool for small images"])
    88.8...
    """
    return _mean(references, hypotheses, _words_in_common)


def rouge_l(references: Sequence, hypotheses: Sequence) -> float:
    """Returns the mean ROUGE-L, from 0 to 100: common words in their order.

    Lin 2004, section 3: `rouge_1` with the length of the longest common
    subsequence as c.

    Args:
        references: as those of `rouge_1`.
        hypotheses: see there.

    Returns:
        float in [0, 100].

    Raises:
        ValueError: if the lists are empty or differ in length.

    Example:

    >>> from keras_attention.training import rouge_l
    >>> rouge_l(["small tool for images"], ["a tool for small images"])
    66.6...
    """
    return _mean(references, hypotheses, _longest_common_subsequence)


def _mean(references, hypotheses, count):
    lists, texts = texts_to_compare(references, hypotheses)
    scores = [
        max(_f1(_words(one), _words(text), count) for one in those)
        for text, those in zip(texts, lists, strict=True)
    ]
    return 100.0 * sum(scores) / len(scores)


def _f1(reference, text, count):
    total = len(reference) + len(text)
    return 2 * count(reference, text) / total if total else 0.0


def _words(text):
    kept = (c if _is_of_a_word(c) else " " for c in text.lower())
    return "".join(kept).split()


def _is_of_a_word(character):
    # Marks such as vowel signs are no letters, and inside of words.
    is_mark = unicodedata.category(character).startswith("M")
    return is_mark or character.isalnum()


def _words_in_common(first, second):
    return (Counter(first) & Counter(second)).total()


def _longest_common_subsequence(first, second):
    lengths = [0] * (len(second) + 1)  # of what was read of both
    for word in first:
        before = lengths[:]
        for place, other in enumerate(second):
            lengths[place + 1] = (
                before[place] + 1
                if word == other
                else max(before[place + 1], lengths[place])
            )
    return lengths[-1]
