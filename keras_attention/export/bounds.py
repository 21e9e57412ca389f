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
    around = tf.strings.substr(texts, start, tf.fill(tf.shape(start), 4))
    # The last of these 4 bytes is the first one that is cut off.
    around = tf.io.decode_raw(around, tf.uint8, fixed_length=4)  # (B, 4)
    continues = tf.cast(around & 0b1100_0000 == 0b1000_0000, tf.int32)
    # How many bytes before the cut belong to the character that it would
    # break; 4 in a row are no UTF-8.
    inside = tf.math.cumprod(continues, axis=1, reverse=True)
    inside = tf.reduce_sum(inside, axis=1) % 4  # (B,)
    return tf.strings.substr(texts, tf.zeros_like(inside), limit - inside)
