"""Texts of a page: tokens, titles and the hypotheses of a search."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention import validation

LONGEST_TEXT = 200  # characters of a token, of which the page shows fewer


def visible_text(text: Any) -> str:
    """Returns a text with escapes for what cannot be seen.

    Control characters, lone surrogates and those that turn the direction of
    a text around are written as Python escapes.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    text = str(text)
    if text == " ":
        return "\N{OPEN BOX}"
    letters = [
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text[:LONGEST_TEXT]
    ]
    is_cut = len(text) > LONGEST_TEXT
    return "".join(letters) + "\N{HORIZONTAL ELLIPSIS}" * is_cut


def visible_tokens(name: str, tokens: Any) -> list[str] | None:
    """Returns the labels of one side, or None where there are none.

    Args:
        name: the argument, for the message.
        tokens: list or array of str or bytes; one str for its characters.

    Raises:
        ValueError: `tokens` is no list of labels.
    """
    if tokens is None:
        return None
    if isinstance(tokens, bytes):
        tokens = tokens.decode("utf-8", errors="replace")
    if isinstance(tokens, str):
        return [visible_text(letter) for letter in tokens]
    try:
        return [
            visible_text(token)
            for token in np.asarray(tokens, dtype=object).ravel()
        ]
    except ValueError as error:
        raise validation.invalid(
            name, "a list of labels, str or bytes", type(tokens).__name__
        ) from error


def viewed_steps(steps: Any) -> list[list[dict]]:
    """Returns the steps of a search as the page reads them.

    Args:
        steps: for each step a list of (tokens, score), or None.

    Raises:
        ValueError: `steps` is something else.
    """
    if steps is None:
        return []
    if not _is_list(steps):
        raise _not_steps(type(steps).__name__)
    found = []
    for number, step in enumerate(steps):
        if not _is_list(step):
            raise _not_steps(f"a {type(step).__name__} at step {number}")
        found.append([_hypothesis(number, given) for given in step])
    return found


def _is_list(value):
    return isinstance(value, (Sequence, np.ndarray)) and not isinstance(
        value, (str, bytes)
    )


def _hypothesis(number, given):
    if not _is_list(given) or len(given) != 2:
        raise _not_steps(f"{given!r} at step {number}")
    tokens, score = given
    if not validation.is_number(score) or not math.isfinite(score):
        raise _not_steps(f"the score {score!r} at step {number}")
    if isinstance(tokens, (str, bytes)):
        tokens = [tokens]
    tokens = visible_tokens("steps", tokens)
    return {"tokens": tokens, "score": float(score)}


def _not_steps(received):
    return validation.invalid(
        "steps",
        "a list that has for each step the list of its hypotheses, each "
        "(tokens, score) with a finite score",
        received,
    )
