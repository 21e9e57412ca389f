"""What becomes of characters that no piece spells.

Until then such a character is the number -1 - code point, ids are at least 0.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_attention.special_ids import UNKNOWN_ID


def as_unknown(values: tf.RaggedTensor, fuse: bool) -> tf.RaggedTensor:
    """Puts the unknown id in place of unknown characters.

    Args:
        values: int32 `(rows, (pieces))`.
        fuse: whether several in a row make one id.
    """
    if fuse:
        flat, rows = values.flat_values, values.value_rowids()  # (N,)
        is_new = tf.concat([[True], rows[1:] != rows[:-1]], 0)[: tf.size(rows)]
        before = tf.concat([[0], flat[:-1]], axis=0)[: tf.size(rows)]
        is_kept = (flat >= 0) | (before >= 0) | is_new
        values = tf.ragged.boolean_mask(values, values.with_values(is_kept))
    known = tf.where(values.flat_values < 0, UNKNOWN_ID, values.flat_values)
    return values.with_values(known)


def as_bytes_of(
    values: tf.RaggedTensor, byte_ids: Sequence[int]
) -> tf.RaggedTensor:
    """Puts the ids of its UTF-8 bytes in place of each unknown character.

    Args:
        values: int32 `(rows, (pieces))`.
        byte_ids: int32 `(256,)`, the ids of all bytes.
    """
    flat = values.flat_values  # (N,)
    code = -1 - flat
    count = tf.where(code < 0x80, 1, tf.where(code < 0x800, 2, 3))
    count = tf.where(code < 0x10000, count, 4)
    count = tf.where(flat >= 0, 1, count)
    place = tf.ragged.range(count).flat_values  # (M,)
    flat, code, of = (tf.repeat(x, count) for x in (flat, code, count))
    bits = tf.bitwise.right_shift(tf.maximum(code, 0), 6 * (of - 1 - place))
    first = tf.gather([0, 0x00, 0xC0, 0xE0, 0xF0], of) + bits
    byte = tf.where(place == 0, first, 0x80 + bits % 0x40)  # (M,)
    ids = tf.gather(byte_ids, tf.where(flat >= 0, 0, byte))
    counts = tf.reduce_sum(values.with_values(count), axis=1)  # (rows,)
    counts = tf.cast(counts, tf.int64)
    found = tf.where(flat >= 0, flat, ids)
    return tf.RaggedTensor.from_row_lengths(found, counts, validate=False)
