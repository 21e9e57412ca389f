"""Checks of what a `PieceVocabulary` is made from."""

import math
from collections import Counter
from typing import Any

from keras_attention import validation
from keras_attention.text.byte_alphabet import byte_of
from keras_attention.text.byte_alphabet import byte_piece
from keras_attention.text.byte_alphabet import bytes_of
from keras_attention.text.reading import MARK
from keras_attention.text.reading import Reading
from keras_attention.text.vocabulary import FILE_VERSION
from keras_attention.text.vocabulary import SPECIAL_TOKENS

ALGORITHMS = ("unigram", "byte_pair")
UNKNOWN = ("fused", "fused_in_words", "single", "bytes")
SUMS = ("float32", "float64")


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a `PieceVocabulary`, sequences as lists.

    Raises:
        ValueError: if they do not fit each other.
    """
    validation.check_choice("algorithm", given["algorithm"], ALGORITHMS)
    validation.check_choice("unknown", given["unknown"], UNKNOWN)
    validation.check_choice("sums", given["sums"], SUMS)
    validation.check_choice("byte_level", given["byte_level"], (True, False))
    if not isinstance(given["reading"], Reading):
        raise validation.invalid("reading", "a Reading", given["reading"])
    if not isinstance(given["charsmap"], str | None):
        raise validation.invalid("charsmap", "a str", type(given["charsmap"]))
    score = given["unknown_score"]
    if score is not None:
        validation.check_number("unknown_score", score)
        if not math.isfinite(score):
            raise validation.invalid("unknown_score", "finite", score)
    pieces = _pieces(given)
    return {
        **given,
        "pieces": pieces,
        "scores": _scores(given, len(pieces)),
        "merges": _merges(given, set(pieces)),
    }


def config_of(data: Any) -> dict[str, Any]:
    """Returns the arguments that a dict for JSON holds.

    Raises:
        ValueError: if an entry is missing or unknown, or of another version.
    """
    if not isinstance(data, dict) or data.get("unit") != "pieces":
        expected = "a dict with 'unit': 'pieces'"
        raise validation.invalid("data", expected, str(data)[:80])
    config = dict(data)
    version = config.pop("version", None)
    if version != FILE_VERSION:
        fix = "Was it written by a newer keras_attention?"
        raise validation.invalid("version", FILE_VERSION, repr(version), fix)
    del config["unit"]
    names = {
        *("pieces", "scores", "algorithm", "merges", "reading", "unknown"),
        *("byte_level", "sums", "unknown_score", "charsmap"),
    }
    if set(config) != names or not isinstance(config["reading"], dict):
        expected = f"a dict with {', '.join(sorted(names))}"
        raise validation.invalid("data", expected, sorted(map(str, config)))
    try:
        config["reading"] = Reading(**config["reading"])
    except TypeError as error:
        raise validation.invalid("reading", "of known names", error) from error
    return config


def _pieces(given):
    pieces = given["pieces"]
    is_sequence = isinstance(pieces, (list, tuple))
    if not is_sequence or not all(isinstance(p, str) and p for p in pieces):
        raise validation.invalid(
            "pieces", "a list of str, none empty", str(pieces)[:80]
        )
    pieces = list(pieces)
    if not any(byte_of(piece) is None for piece in pieces):
        raise validation.invalid("pieces", "at least one", str(pieces[:5]))
    repeated = [piece for piece, n in Counter(pieces).items() if n > 1]
    special = [piece for piece in pieces if piece in SPECIAL_TOKENS]
    if repeated or special:
        raise validation.invalid(
            "pieces",
            "all different, and none of the special tokens",
            (repeated + special)[:5],
        )
    _check_text(given, pieces)
    _check_bytes(given, pieces)
    if given["reading"].cut == "at_marks":
        _check_marks(pieces)
    return pieces


def _check_text(given, pieces):
    for piece in pieces:
        if given["byte_level"]:
            bytes_of(piece)
        elif any("\ud800" <= c <= "\udfff" for c in piece):
            raise validation.invalid("pieces", "valid Unicode", ascii(piece))


def _check_bytes(given, pieces):
    if given["unknown"] != "bytes":
        return
    missing = {*map(byte_piece, range(256))} - set(pieces)
    if missing:
        raise validation.invalid(
            "pieces",
            'all of "<0x00>" to "<0xFF>" where unknown="bytes"',
            f"without {len(missing)} of them, such as {min(missing)!r}",
        )


def _check_marks(pieces):
    for piece in pieces:
        if MARK in piece.lstrip(MARK):
            raise validation.invalid(
                "pieces",
                f"with {MARK!r} at their beginning alone where words are cut "
                "at marks",
                repr(piece),
                'Set `cut` of the reading to "nowhere".',
            )


def _scores(given, count):
    scores, wanted = given["scores"], given["algorithm"] == "unigram"
    if scores is None and (not wanted and given["merges"] is not None):
        return None
    if not isinstance(scores, (list, tuple)) or len(scores) != count:
        shown = str(scores)[:80]
        raise validation.invalid("scores", "one number for each piece", shown)
    if not all(validation.is_number(s) and math.isfinite(s) for s in scores):
        raise validation.invalid("scores", "finite numbers", str(scores)[:80])
    return [float(score) for score in scores]


def _merges(given, pieces):
    merges = given["merges"]
    if merges is None:
        return None
    if given["algorithm"] == "unigram":
        raise validation.invalid("merges", "None for unigrams", "a list")
    is_sequence = isinstance(merges, (list, tuple))
    for merge in merges if is_sequence else [merges]:
        is_pair = isinstance(merge, (list, tuple)) and len(merge) == 2
        if not is_pair or not all(isinstance(p, str) and p for p in merge):
            raise validation.invalid(
                "merges", "a list of (left, right)", str(merge)[:80]
            )
        left, right = merge
        for part in (left, right, left + right):
            if part not in pieces and len(part) > 1:
                raise validation.invalid(
                    "merges", "of pieces that make pieces", repr(merge)
                )
    return [list(merge) for merge in merges]
