"""How a text is read before it is cut into pieces, and its words found.

A space is marked by U+2581, "▁", so that it can be part of a piece. All of it
is plain TensorFlow operations.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_attention import validation
from keras_attention.text.units import SEPARATORS

MARK = "\u2581"
# No part of UTF-8, so no text holds it where broken bytes were replaced.
BETWEEN = b"\xff"
PREFIXES = ("always", "unless_there", "never")
CUTS = ("at_marks", "at_each_mark", "gpt2", "nowhere")

# What GPT-2 takes for white space: Unicode's property White_Space.
SPACE = (
    r"\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}"
    r"\x{205F}\x{3000}"
)
# GPT-2 leaves the last white space of several to what follows it, by a look
# ahead that RE2 lacks. Here a separator is put before it first.
LAST_SPACE = rf"([{SPACE}])([^{SPACE}])"
GPT2_WORD = (
    r"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+"
    rf"| ?[^{SPACE}\p{{L}}\p{{N}}]+|[{SPACE}]+)"
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a text is read before it is cut into pieces.

    Bytes that are not UTF-8 are read as U+FFFD. Then, in this order:

    Args:
        any_space: whether each run of white space or control characters is
            read as one space (U+0020).
        lower_case: whether text is lower-cased; without `any_space` it ends
            at the first U+0000 then.
        folds_spaces: whether spaces at both ends are dropped, and several
            read as one.
        prefix: whether a space is put before a text that is not empty:
            "always", "unless_there" is one already, or "never".
        marks_spaces: whether spaces are marked by "▁".
        cut: where words are cut, which no piece crosses: "at_marks", before
            each run of them, "at_each_mark", "gpt2" as the tokenizer of
            GPT-2, "nowhere".

    Raises:
        ValueError: if an argument is none of these.

    Example:

    >>> from keras_attention.text import Reading
    >>> reading = Reading(lower_case=True)
    >>> [text.decode() for text in reading(["  An   Ox "]).numpy()]
    ['▁an▁ox']
    """

    lower_case: bool = False
    any_space: bool = True
    folds_spaces: bool = True
    prefix: str = "always"
    marks_spaces: bool = True
    cut: str = "at_marks"

    def __post_init__(self):
        validation.check_choice("prefix", self.prefix, PREFIXES)
        validation.check_choice("cut", self.cut, CUTS)
        for name, value in vars(self).items():
            if name not in ("prefix", "cut"):
                validation.check_choice(name, value, (True, False))

    def __call__(
        self, texts: Any, charsmap: Callable | None = None
    ) -> tf.Tensor:
        """Returns the texts `(batch,)` as they are cut into words.

        Args:
            texts: string tensor `(batch,)`.
            charsmap: function that is applied to valid texts first.
        """
        texts = tf.strings.unicode_transcode(
            texts, "UTF-8", "UTF-8", errors="replace"
        )
        has_any = texts != ""
        if charsmap is not None:
            texts = charsmap(texts)
        if self.any_space:  # before `lower`, which ends a text at U+0000
            texts = tf.strings.regex_replace(texts, SEPARATORS, " ")
        if self.lower_case:
            texts = tf.strings.lower(texts, encoding="utf-8")
        if self.folds_spaces:
            texts = tf.strings.regex_replace(texts, "^ +", "")
            texts = tf.strings.regex_replace(texts, " +", " ")
        mark = MARK if self.marks_spaces else " "
        texts = tf.strings.regex_replace(texts, " ", mark)
        texts = self._with_prefix(texts, mark, has_any)
        if self.folds_spaces:
            texts = tf.strings.regex_replace(texts, f"(?:{mark})+$", "")
        return texts

    def words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Cuts texts that were read into words, `(batch, (words))`."""
        if self.cut == "nowhere":
            words = texts[:, None]
            return tf.ragged.boolean_mask(words, words != "")
        if self.cut == "gpt2":
            texts = _replace(texts, LAST_SPACE, BETWEEN + rb"\1\2")
            texts = _replace(texts, GPT2_WORD, BETWEEN + rb"\1" + BETWEEN)
        elif self.cut == "at_marks":
            texts = _replace(
                texts, f"([^{MARK}]){MARK}", rb"\1" + BETWEEN + MARK.encode()
            )
        else:
            texts = _replace(texts, MARK, BETWEEN + MARK.encode())
        words = tf.strings.split(texts, BETWEEN)  # (B, (words))
        return tf.ragged.boolean_mask(words, words != "")

    def back(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns joined pieces as a text: spaces for marks, no prefix."""
        if self.marks_spaces:
            texts = tf.strings.regex_replace(texts, MARK, " ")
        if self.folds_spaces:
            return tf.strings.regex_replace(texts, "^ +", "")
        if self.prefix == "never":
            return texts
        return tf.strings.regex_replace(texts, "^ ", "")

    def _with_prefix(self, texts, mark, has_none):
        if self.prefix == "never":
            return texts
        if self.prefix == "unless_there":
            is_there = tf.strings.regex_full_match(texts, f"(?s){mark}.*")
            has_none &= ~is_there
        return tf.where(has_none, mark + texts, texts)


def _replace(texts, pattern, rewrite):
    return tf.strings.regex_replace(texts, pattern, rewrite)
