"""What every vocabulary does with ids, whatever its tokens are."""

import json
import pathlib
import warnings
from typing import Any

import tensorflow as tf

from keras_attention import files
from keras_attention import validation
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID
from keras_attention.special_ids import UNKNOWN_ID


class NamedIds(tf.Module):
    """A vocabulary whose ids have names; it has `_names` and `to_dict`."""

    def token_strings(self, ids: Any) -> tf.Tensor:
        """Names each id, special tokens included: labels for a picture.

        Args:
            ids: integer tensor of any shape; a ragged one is padded.

        Returns:
            string tensor of the same shape; ids outside of the vocabulary
            read `<unk>`.

        Raises:
            ValueError: `ids` are not integers.
        """
        return tf.gather(self._names, known(ids, len(self)))

    def save(self, path: str | pathlib.Path) -> None:
        """Writes a JSON file, which `text.read_vocabulary` reads.

        A crash leaves the old file or the new one.
        """
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=1)
        files.write_text(path, text)


def with_ends(ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """Returns int32 ids with `<eos>` at the end of each row."""
    return tf.concat([ids, tf.fill([ids.nrows(), 1], EOS_ID)], axis=1)


def padded_with_ends(ids: tf.RaggedTensor, batch: int | None) -> tf.Tensor:
    """Returns ids with `<eos>`, padded, `(batch, length)`.

    Args:
        ids: int32 ragged tensor `(batch, (length))`.
        batch: the number of rows, if it is known.
    """
    dense = ids.to_tensor(PAD_ID, shape=(batch, None))
    dense = tf.pad(dense, [[0, 0], [0, 1]])  # (B, L)
    length = tf.shape(dense)[1]
    ends = tf.one_hot(ids.row_lengths(), length, dtype=tf.int32)  # (B, L)
    return dense + ends * EOS_ID


def cut_off(tokens: tf.RaggedTensor, max_length: int | None) -> tf.RaggedTensor:
    """Leaves room for `<eos>` in `max_length`; warns outside of graphs."""
    if max_length is None:
        return tokens
    if tf.executing_eagerly():  # in a graph, nobody would see it
        _warn_if_longer(tokens, max_length)
    return tokens[:, : max_length - 1]


def joined(ids: Any, texts: tf.Tensor) -> tf.Tensor:
    """Joins the texts of each row of ids, up to its first `<eos>`.

    Args:
        ids: integer tensor `(..., length)`, ragged or not. `<pad>` and
            `<bos>` are dropped.
        texts: string tensor `(size,)`, what each id reads.

    Returns:
        string tensor `(...)`.

    Raises:
        ValueError: `ids` are not integers or have no axis.
    """
    ids = known(ids, texts.shape[0])
    if ids.shape.rank == 0:
        raise ValueError(
            "`ids` must have at least 1 axis, (..., length). "
            "Received: ids.shape=(). Put the id in a list."
        )
    ends_passed = tf.cumsum(tf.cast(ids == EOS_ID, tf.int32), axis=-1)
    kept = (ends_passed == 0) & (ids != PAD_ID) & (ids != BOS_ID)
    pieces = tf.where(kept, tf.gather(texts, ids), "")
    return tf.strings.reduce_join(pieces, axis=-1)


def known(ids: Any, size: int) -> tf.Tensor:
    """Returns int32 ids, padded, those outside of the vocabulary unknown."""
    ids = _dense(ids)
    is_empty = ids.shape.num_elements() == 0  # [] makes a float tensor
    if not is_empty and not ids.dtype.is_integer:
        raise validation.invalid("ids", "integers", ids.dtype.name)
    ids = tf.cast(ids, tf.int64)
    is_known = (ids >= 0) & (ids < size)
    return tf.where(is_known, tf.cast(ids, tf.int32), UNKNOWN_ID)


def _dense(ids):
    if isinstance(ids, tf.RaggedTensor):
        return ids.to_tensor(PAD_ID)
    try:
        return tf.convert_to_tensor(ids)
    except (TypeError, ValueError) as error:
        raise validation.invalid(
            "ids",
            "integers, all rows of one length",
            f"{ids!r:.80}",
            f"Pad them with {PAD_ID}, or give a tf.RaggedTensor.",
        ) from error


def _warn_if_longer(tokens, max_length):
    longer = tokens.row_lengths() > max_length - 1
    count = int(tf.math.count_nonzero(longer))
    if count:
        warnings.warn(
            f"{count} of {len(longer)} texts have more than "
            f"max_length - 1 = {max_length - 1} tokens and were cut off.",
            stacklevel=4,
        )
