"""How text is cut into tokens, in plain TensorFlow operations.

- `"characters"`: one token for each Unicode code point, nothing changed.
- `"words"`: lower-cased; numbers, words (with inner apostrophes and hyphens)
  and single other characters. Any white space separates.
- `"symbols"`: whatever stands between spaces (U+0020 alone), unchanged.
"""

import itertools
from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_attention.choices import UNITS as UNITS

CLOSING_PUNCTUATION = ".,!?;:"
TEXTS_COUNTED_AT_ONCE = 1024

SEPARATORS = r"[\s\p{Z}\p{Cc}]+"
# A number such as 1,000.5; a word such as don't or step-by-step; or any one
# other character. RE2 tries them in this order at each place.
WORD = (
    r"(\p{N}+(?:[.,]\p{N}+)+"
    r"|[\p{L}\p{M}\p{N}_]+(?:['’-][\p{L}\p{M}\p{N}_]+)*"
    r"|[^ ])"
)


def split(texts: tf.Tensor, unit: str) -> tf.RaggedTensor:
    """Cuts texts `(batch,)` into a ragged `(batch, tokens)` of strings."""
    if unit == "characters":
        return tf.strings.unicode_split(texts, "UTF-8", errors="replace")
    texts = tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", errors="replace"
    )
    if unit == "words":
        # In this order: `lower` ends a text at its first U+0000.
        texts = tf.strings.regex_replace(texts, SEPARATORS, " ")
        texts = tf.strings.lower(texts, encoding="utf-8")
        texts = tf.strings.regex_replace(texts, WORD, r" \1 ")
    pieces = tf.strings.split(texts, " ")
    return tf.ragged.boolean_mask(pieces, pieces != "")


def with_space(token: str, unit: str) -> str:
    """Returns the token with the space that joins it to a text before it."""
    closes = unit == "words" and token in CLOSING_PUNCTUATION
    return token if unit == "characters" or closes else f" {token}"


def count_tokens(texts: Iterable[str | bytes], unit: str) -> Counter[str]:
    """Counts the tokens of an iterable of texts, a batch at a time."""
    if isinstance(texts, (str, bytes)):
        raise ValueError(
            "`texts` must be an iterable of texts, not one text. "
            f"Received: texts={texts[:40]!r}. Put it in a list."
        )
    counts = Counter()
    texts = iter(texts)
    while batch := list(itertools.islice(texts, TEXTS_COUNTED_AT_ONCE)):
        counts.update(count_pieces(split(as_text_tensor(batch), unit)))
    return counts


def count_pieces(pieces: tf.RaggedTensor) -> Counter[str]:
    """Counts the tokens of the ragged result of `split`."""
    found, _, times = tf.unique_with_counts(pieces.flat_values)
    tokens = (token.decode("utf-8") for token in found.numpy())
    return Counter(dict(zip(tokens, times.numpy().tolist(), strict=True)))


def check_tokens(tokens: Sequence[str], unit: str) -> None:
    """Checks that each token is what its unit makes of it.

    Any other token would be found in no text.
    """
    pieces = split(as_text_tensor(tokens), unit)
    for token, made in zip(tokens, pieces.to_list(), strict=True):
        if made != [as_bytes(token)]:
            raise ValueError(
                f"`tokens` must each be one of the {unit} of a text. "
                f"Received: token {token!r}. Is `unit` right?"
            )


def as_text_tensor(texts: Any) -> tf.Tensor:
    """Returns `texts` as a string tensor `(batch,)`."""
    if not tf.is_tensor(texts):
        if isinstance(texts, (str, bytes)) or not hasattr(texts, "__iter__"):
            raise ValueError(
                "`texts` must be a batch of strings, (batch,). "
                f"Received: texts={texts!r}. Put a single text in a list."
            )
        texts = tf.constant([as_bytes(text) for text in texts], tf.string)
    if texts.dtype != tf.string or texts.shape.rank not in (None, 1):
        raise ValueError(
            "`texts` must be a batch of strings, (batch,). Received: "
            f"texts.dtype={texts.dtype.name}, texts.shape={texts.shape}."
        )
    return texts


def as_bytes(text: str | bytes) -> bytes:
    """Returns a str or bytes as bytes, UTF-8 if it can be."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise ValueError(
            f"`texts` must hold str or bytes only. Received: {text!r}, of "
            f"type {type(text).__name__}."
        )
    # A lone surrogate becomes broken UTF-8, which TensorFlow replaces.
    return text.encode("utf-8", errors="surrogatepass")
