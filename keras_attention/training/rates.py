"""How good generated texts are: exact match and edit-distance rates.

BLEU and chrF, which need a further package, are in `ngram_scores`.
"""

from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention import validation
from keras_attention.text.units import UNITS
from keras_attention.text.units import as_text_tensor
from keras_attention.text.units import split

TEXTS_AT_ONCE = 1024
TEXT = (str, bytes)


def exact_match(
    references: Sequence, hypotheses: Sequence, unit: str | None = None
) -> float:
    """Returns the share of hypotheses that equal one of their references.

    The word error rate of pronunciations is 1 minus this.

    Args:
        references: list with a text, or a list of texts, for each hypothesis;
            a text is a str, or bytes of UTF-8.
        hypotheses: list of texts.
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
    references, hypotheses = texts_to_compare(references, hypotheses)
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
        references: list with a text, or a list of texts, for each hypothesis;
            a text is a str, or bytes of UTF-8.
        hypotheses: list of texts.
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
    references, hypotheses = texts_to_compare(references, hypotheses)
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


def texts_to_compare(
    references: Sequence, hypotheses: Sequence
) -> tuple[list[list[str]], list[str]]:
    """Returns the references of each hypothesis as a list, and hypotheses.

    Bytes, such as those of a string tensor, are decoded.

    Raises:
        ValueError: if the lists are empty or differ in length, or hold
            anything but texts.
    """
    if isinstance(hypotheses, TEXT) or not len(hypotheses):
        raise validation.invalid(
            "hypotheses", "a list of str, not empty", repr(hypotheses)
        )
    if isinstance(references, TEXT) or len(references) != len(hypotheses):
        raise ValueError(
            "`references` must have one entry for each hypothesis. Received: "
            f"{len(references)} references, {len(hypotheses)} hypotheses."
        )
    lists = [
        [_text("references", text) for text in _as_list(entry)]
        for entry in references
    ]
    if not all(lists):
        raise validation.invalid(
            "references", "at least one str for each hypothesis", "an empty one"
        )
    return lists, [_text("hypotheses", text) for text in hypotheses]


def _as_list(entry):
    """Returns the references of one hypothesis, of which there may be one."""
    is_list = isinstance(entry, Iterable) and not isinstance(entry, TEXT)
    return list(entry) if is_list else [entry]


def _text(name, text):
    if hasattr(text, "numpy"):  # a scalar of a string tensor
        text = text.numpy()
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    if not isinstance(text, str):
        raise validation.invalid(name, "texts, str or bytes", f"{text!r:.80}")
    return text


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
