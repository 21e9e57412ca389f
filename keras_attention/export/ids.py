"""Ids from text and back, and what a signature does with them."""

from typing import Any

import tensorflow as tf

from keras_attention.export import bounds
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID
from keras_attention.special_ids import UNKNOWN_ID


def ids_of(text: Any, vocabulary: Any, max_length: int) -> Any:
    """text (B,) -> at most `max_length` ids each, EOS counted, (B, length)."""
    limit = bounds.bytes_read(getattr(vocabulary, "unit", None), max_length)
    ids = vocabulary.encode(bounds.cut_to_bytes(text, limit))
    ids = tf.cast(ids[:, :max_length], tf.int32)
    place = tf.range(1, tf.shape(ids)[1] + 1)
    was_cut = (place == max_length) & (ids != PAD_ID)
    return tf.where(was_cut, EOS_ID, ids)


def row_seeds(source: Any) -> Any:
    """Returns int32 (B,): what tells the random bits of a row from another's.

    A row's place in a batch is chance on a server, so the numbers of the row
    decide: the same source is answered the same way in every batch.
    """
    if source.dtype.is_integer:
        source = tf.cast(source, tf.int32)
    else:
        source = tf.bitcast(tf.cast(source, tf.float32), tf.int32)
    source = tf.reshape(source, (tf.shape(source)[0], -1))  # (B, numbers)
    position = tf.range(tf.shape(source)[1])
    weight = 2 * position * 40503 + 31013  # odd; wraps around
    return tf.reduce_sum(source * weight, axis=1)


def known_ids(ids: Any, vocabulary_size: int) -> Any:
    """Returns the ids, those outside of the vocabulary as unknown."""
    known = (ids >= 0) & (ids < vocabulary_size)
    return tf.where(known, ids, UNKNOWN_ID)


def after_bos(ids: Any) -> Any:
    """Returns what the decoder reads of labels (B, T), (B, T + 1)."""
    return tf.pad(ids, [[0, 0], [1, 0]], constant_values=BOS_ID)


def names_of(vocabulary: Any, ids: Any) -> Any:
    """Names each id, "" for padding, in valid UTF-8."""
    names = tf.where(ids == PAD_ID, "", vocabulary.token_strings(ids))
    return valid_utf8(names)


def valid_utf8(text: Any) -> Any:
    """Returns the text, bytes that are not UTF-8 as U+FFFD."""
    return tf.strings.unicode_transcode(
        text, "UTF-8", "UTF-8", errors="replace"
    )
