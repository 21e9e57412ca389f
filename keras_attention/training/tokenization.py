"""Texts to ids and to numbers of ids, for vocabularies and tokenizers alike.

A tokenizer is whoever has `encode`, `decode` and `token_strings`. What our
vocabularies have beyond that, ragged ids and a unit, saves padding and looking
up.
"""

import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention.text import PAD_ID
from keras_attention.text import PieceVocabulary
from keras_attention.text import Vocabulary
from keras_attention.text.learning import WordCounts
from keras_attention.text.units import as_text_tensor
from keras_attention.text.units import count_pieces
from keras_attention.text.units import split

Tokenizer = Any


class NewTokens:
    """Measures texts, and counts their tokens for a vocabulary to come.

    Args:
        unit: "characters", "words" or "symbols".
        max_size: see `Vocabulary.build`.
        min_count: the same.
    """

    measures = True

    def __init__(self, unit: str, max_size: int | None, min_count: int):
        self._arguments = (unit, max_size, min_count)
        self._counts = Counter()

    def lengths(self, texts: Iterable[str]) -> np.ndarray:
        """Counts the tokens; returns the numbers of ids, EOS counted."""
        pieces = split(as_text_tensor(texts), self._arguments[0])
        self._counts.update(count_pieces(pieces))
        return pieces.row_lengths().numpy() + 1  # (texts,)

    def vocabulary(self) -> Vocabulary:
        """Returns the vocabulary of what was counted."""
        return Vocabulary.from_counts(self._counts, *self._arguments)


class NewPieces:
    """Counts the words of texts, from which pieces are to be learned.

    It may stand on both sides, for one vocabulary of them.

    Args:
        max_size: the most entries, or None for 8000.
    """

    # How many pieces a text has is known only when they are learned.
    measures = False

    def __init__(self, max_size: int | None):
        self._counts = WordCounts(**({"size": max_size} if max_size else {}))

    def lengths(self, texts: Iterable[str]) -> np.ndarray:
        """Counts the words; returns how many each text has, (texts,)."""
        return self._counts.add(as_text_tensor(texts)).numpy()

    def vocabulary(self) -> PieceVocabulary:
        """Returns the vocabulary of what was counted, one object."""
        return self._vocabulary

    @functools.cached_property
    def _vocabulary(self):
        return self._counts.vocabulary(size_name="vocabulary_size")


class KnownTokens:
    """Measures texts with a vocabulary, or tokenizer, that is there already.

    Args:
        tokenizer: a `text.Vocabulary`, or another tokenizer.
    """

    measures = True

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer

    def lengths(self, texts: Iterable[str]) -> np.ndarray:
        """Returns the number of ids of each text, EOS counted, (texts,)."""
        texts = as_text_tensor(texts)
        if isinstance(self._tokenizer, Vocabulary):
            pieces = split(texts, self._tokenizer.unit)  # (texts, (tokens))
            return pieces.row_lengths().numpy() + 1
        return ragged_ids(self._tokenizer, texts).row_lengths().numpy()

    def vocabulary(self) -> Tokenizer:
        """Returns the tokenizer."""
        return self._tokenizer


def ragged_ids(tokenizer: Tokenizer, texts: tf.Tensor) -> tf.RaggedTensor:
    """Returns int32 ids with EOS, (texts, (length))."""
    if hasattr(tokenizer, "encode_ragged"):
        return tokenizer.encode_ragged(texts)
    ids = tf.cast(tokenizer.encode(texts), tf.int32)  # (texts, length)
    return tf.RaggedTensor.from_tensor(ids, padding=PAD_ID)
