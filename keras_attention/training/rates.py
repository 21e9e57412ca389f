"""How good generated texts are: exact match and edit-distance rates.

BLEU and chrF, which need a further package, are in `ngram_scores`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention import validation
from keras_attention.text.units import UNITS
from keras_attention.text.units import as_text_tensor
from keras_attention.text.units import split

TEXTS_AT_ONCE = 1024


def exact_match(
    references: Sequence, hypotheses: Sequence, unit: str | None = None
) -> float:
    """Returns the share of hypotheses that equal one of their references.

    The word error rate of pronunciations is 1 minus this.

    Args:
        references: list with a str, or a list of str, for each hypothesis.
        hypotheses: list of str.
        unit: None compares texts; "characters", "words" or "symbols" their
            tokens, so that spacing and, for words, case do not count.

    Returns:
        float in [0, 1].

    Raises:
        ValueError: if the lists are empty or differ in length, or the unit is
            unknown.

    Example:

    >>> from keras_attention.training import exact_match
    >>> exact_match([["L IY D", "L EH D"], "S AO"], ["L EH D", "S IY"])
    0.5
    """
    references = reference_lists(references, hypotheses)
    if unit is not None:
        validation.check_choice("unit", unit, UNITS)
        references = _tokens_of_each(references, unit)
        hypotheses = _tokens(hypotheses, unit)
    pairs = zip(hypotheses, references, strict=True)
    return sum(text in those for text, those in pairs) / len(references)


def error_rate(
    references: Sequence, hypotheses: Sequence, unit: str = "characters"
) -> float:
    """Returns edit distance over reference length, summed over all texts.

    Each hypothesis is compared with its closest reference, of several equally
    close ones the longest. With phonemes as symbols this is the phoneme error
    rate, with characters the character error rate.

    Args:
        references: list with a str, or a list of str, for each hypothesis.
        hypotheses: list of str.
        unit: what is counted: "characters", "words" or "symbols".

    Returns:
        float, at least 0; above 1 where hypotheses are far too long.

    Raises:
        ValueError: if the lists are empty or differ in length, or the
            references hold no token.

    Example:

    >>> from keras_attention.training import error_rate
    >>> error_rate([["HH AH L OW", "HH EH L OW"]], ["HH AH L"], "symbols")
    0.25
    """
    validation.check_choice("unit", unit, UNITS)
    references = reference_lists(references, hypotheses)
    references = _tokens_of_each(references, unit)
    errors = total = 0
    for text, those in zip(_tokens(hypotheses, unit), references, strict=True):
        found = [(edit_distance(one, text), -len(one)) for one in those]
        distance, length = min(found)
        errors += distance
        total -= length
    if not total:
        raise validation.invalid(
            "references", "texts with at least one token", "none"
        )
    return errors / total


def counted_unit(vocabulary: Any) -> str:
    """Returns what is counted in texts of a vocabulary: its unit, if it can.

    Pieces are no unit of a language: of two vocabularies the one with longer
    pieces would make fewer errors. So characters are counted in their place.

    Args:
        vocabulary: a `text.Vocabulary`, or another tokenizer.
    """
    unit = getattr(vocabulary, "unit", None)
    return unit if unit in UNITS else "characters"


def edit_distance(first: Sequence, second: Sequence) -> int:
    """Returns the Levenshtein distance of two sequences.

    The least number of insertions, deletions and substitutions of one item
    that turn one into the other.

    Example:

    >>> from keras_attention.training import edit_distance
    >>> edit_distance("kitten", "sitting")
    3
    """
    ids = {item: number for number, item in enumerate({*first, *second})}
    second = np.array([ids[item] for item in second], int)
    places = np.arange(len(second) + 1)
    row = places.copy()
    for number, item in enumerate(first, start=1):
        changed = np.minimum(row[:-1] + (second != ids[item]), row[1:] + 1)
        row = np.concatenate([[number], changed])
        # Insertions: row[j] = min over i <= j of row[i] + (j - i).
        row = np.minimum.accumulate(row - places) + places
    return int(row[-1])


def reference_lists(
    references: Sequence, hypotheses: Sequence
) -> list[list[str]]:
    """Returns the references of each hypothesis as a list.

    Raises:
        ValueError: if the lists are empty or differ in length.
    """
    if isinstance(hypotheses, str) or not len(hypotheses):
        raise validation.invalid(
            "hypotheses", "a list of str, not empty", repr(hypotheses)
        )
    if isinstance(references, str) or len(references) != len(hypotheses):
        raise ValueError(
            "`references` must have one entry for each hypothesis. Received: "
            f"{len(references)} references, {len(hypotheses)} hypotheses."
        )
    lists = [[r] if isinstance(r, str) else list(r) for r in references]
    if not all(lists):
        raise validation.invalid(
            "references", "at least one str for each hypothesis", "an empty one"
        )
    return lists


def _tokens_of_each(references, unit):
    flat = iter(_tokens([text for those in references for text in those], unit))
    return [[next(flat) for _ in those] for those in references]


def _tokens(texts, unit):
    """Returns the tokens of each text, as a list of lists of bytes."""
    found = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = as_text_tensor(list(texts[start : start + TEXTS_AT_ONCE]))
        found += split(some, unit).to_list()
    return found
