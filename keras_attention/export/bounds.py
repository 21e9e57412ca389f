"""How much of a text is read, so that one request cannot fill the memory.

Splitting a text into tokens takes about 40 times the memory of its bytes, and
only then are its tokens counted. So each text is cut to a number of bytes
first. An error instead would fail the other requests that a server has joined
with this one.
"""

from typing import Any

import tensorflow as tf

# No character of UTF-8 has more than 4 bytes. The other tokens may be of any
# length; 64 bytes for each leave room for long words and wide spaces.
BYTES_PER_TOKEN = {"characters": 4}
BYTES_PER_OTHER_TOKEN = 64


def bytes_read(unit: str | None, max_tokens: int) -> int:
    """Returns how many bytes of a text are read for `max_tokens` tokens.

    Args:
        unit: of the vocabulary, such as `"characters"`; None if it names
            none.
        max_tokens: the most ids of a text, EOS counted.
    """
    return BYTES_PER_TOKEN.get(unit, BYTES_PER_OTHER_TOKEN) * max_tokens


def cut_to_bytes(texts: Any, limit: int) -> Any:
    """Cuts each text to at most `limit` bytes, never inside a character.

    Args:
        texts: string tensor `(batch,)`; it may hold broken UTF-8.
        limit: integer, at least 4.
    """
    start = tf.minimum(limit - 3, tf.strings.length(texts))  # (B,)
    # The last of 4 bytes from there is the first one that is cut off: how
    # many before it belong to the character that the cut would break?
    inside = _continuing_bytes(texts, start, reverse=True)
    return tf.strings.substr(texts, tf.zeros_like(inside), limit - inside)


def cut_to_last_bytes(texts: Any, limit: int) -> Any:
    """Cuts the beginning off, so that each text has at most `limit` bytes.

    Args:
        texts: string tensor `(batch,)`; it may hold broken UTF-8.
        limit: integer, at least 4.
    """
    start = tf.maximum(tf.strings.length(texts) - limit, 0)  # (B,)
    inside = _continuing_bytes(texts, start)
    start += tf.where(start > 0, inside, 0)
    return tf.strings.substr(texts, start, tf.fill(tf.shape(start), limit))


def _continuing_bytes(texts, start, reverse=False):
    """How many of 4 bytes from `start` on, or back, go on with a character.

    All 4 are no UTF-8, and count as none.
    """
    around = tf.strings.substr(texts, start, tf.fill(tf.shape(start), 4))
    around = tf.io.decode_raw(around, tf.uint8, fixed_length=4)  # (B, 4)
    continues = tf.cast(around & 0b1100_0000 == 0b1000_0000, tf.int32)
    inside = tf.math.cumprod(continues, axis=1, reverse=reverse)
    return tf.reduce_sum(inside, axis=1) % 4  # (B,)
