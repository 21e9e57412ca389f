"""What `generate` returns, of ids and of strings."""

from typing import Any
from typing import NamedTuple

import numpy as np

from keras_attention.decoding.search import Search


class GeneratedTokens(NamedTuple):
    """What `generate` returns of ids; n counts hypotheses.

    They come best first, those of a `Sample` in the order drawn.

    Example:

    >>> from keras_attention.models import GeneratedTokens
    >>> GeneratedTokens._fields
    ('tokens', 'scores', 'lengths', 'alignments')
    """

    tokens: Any  #: (batch, n, max_length) int32, EOS kept, padded with 0
    scores: Any  #: (batch, n) float32
    lengths: Any  #: (batch, n) int32, EOS counted
    alignments: Any  #: (batch, n, longest target, source_length) float32


class GeneratedTexts(NamedTuple):
    """What `generate` returns of strings; n counts hypotheses.

    They come best first, those of a `Sample` in the order drawn.

    Example:

    >>> from keras_attention.models import GeneratedTexts
    >>> GeneratedTexts._fields
    ('texts', 'scores', 'lengths', 'alignments')
    """

    texts: Any  #: (batch, n) strings
    scores: Any  #: (batch, n) float32
    lengths: Any  #: (batch, n) int32, EOS counted
    alignments: Any  #: (batch, n, longest target, source_length) float32


def no_tokens(search: Search, max_length: int) -> GeneratedTokens:
    """Returns what is generated of no row."""
    count = getattr(search, "num_hypotheses", 1)
    count = getattr(search, "num_samples", count)
    return GeneratedTokens(
        np.zeros((0, count, max_length), "int32"),
        np.zeros((0, count), "float32"),
        np.zeros((0, count), "int32"),
        np.zeros((0, count, 0, 0), "float32"),
    )


def decoded_texts(vocabulary: Any, tokens: Any) -> np.ndarray:
    """Returns the texts of ids (..., length) as strings of Python, (...).

    Where somebody's tokenizer gives bytes that are not UTF-8, U+FFFD stands
    for them, as in the answers of a SavedModel.
    """
    texts = np.asarray(vocabulary.decode(tokens))
    decoded = [text.decode("utf-8", "replace") for text in texts.ravel()]
    return np.array(decoded, dtype=object).reshape(texts.shape)
