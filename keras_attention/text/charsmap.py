"""Replaces characters before a text is cut, as SentencePiece normalises.

A model of SentencePiece holds its normalizer, such as NFKC, as a table of
replacements: of the entries that match at a place the longest is replaced,
and what follows it is read next.

N counts the bytes of all texts.
"""

import base64
import binascii
import struct

import numpy as np
import tensorflow as tf

# A unit of the double-array trie that holds the keys: 32 bits.
LABEL = 0x800000FF  # the byte that leads to a node, and a bit for values
VALUE = 0x7FFFFFFF
HEADER = struct.Struct("<I")
SINGLE_BYTES = [bytes([byte]) for byte in range(256)]


class Charsmap(tf.Module):
    """The table of replacements of a SentencePiece model.

    Its first number is the size of a double-array trie (Aoe 1989, "An
    Efficient Digital Search Algorithm by Using a Double-Array Structure") of
    the UTF-8 of what is replaced; then come the replacements, each ended by a
    zero byte. The child of a node by a label is at offset XOR label, and the
    value of a node, where there is one, at its offset: the place of the
    replacement.

    Args:
        encoded: base64 of the table, str.

    Raises:
        ValueError: if it is none.
    """

    def __init__(self, encoded: str):
        super().__init__()
        units, texts = _parsed(encoded)
        offsets = units >> 10 << ((units & 0x200) >> 6)
        self._labels = tf.constant((units & LABEL).astype("int64"))
        self._offsets = tf.constant(offsets.astype("int32"))
        self._has_value = tf.constant((units >> 8 & 1).astype(bool))
        self._values = tf.constant((units & VALUE).astype("int32"))
        self._texts = tf.constant(texts.astype("int32"))
        ends = np.flatnonzero(texts == 0)
        sizes = ends[np.searchsorted(ends, np.arange(len(texts)))]
        sizes = (sizes - np.arange(len(texts))).astype("int32")
        self._sizes = tf.constant(sizes)  # of the text from each place on
        self._bytes = tf.constant(SINGLE_BYTES)

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns the texts `(batch,)`, valid UTF-8, with replacements."""
        # A zero byte is part of no key, so nothing matches across texts.
        joined = tf.strings.reduce_join(texts + b"\0")
        codes = tf.cast(tf.io.decode_raw(joined, tf.uint8), tf.int32)  # (N,)
        sizes, values = self._longest_matches(codes)
        is_read = _is_read(sizes)
        is_end = tf.cumsum(tf.strings.length(texts) + 1) - 1  # (B,)
        is_end = tf.scatter_nd(
            is_end[:, None], tf.ones_like(is_end), tf.shape(codes)
        )
        counts = tf.where(sizes > 0, tf.gather(self._sizes, values), 1)
        counts = tf.where(is_read & (is_end == 0), counts, 0)
        place = tf.repeat(tf.range(tf.size(codes)), counts)  # (M,)
        within = tf.ragged.range(counts).flat_values
        last = tf.size(self._texts) - 1
        of_text = tf.minimum(tf.gather(values, place) + within, last)
        found = tf.where(
            tf.gather(sizes, place) > 0,
            tf.gather(self._texts, of_text),
            tf.gather(codes, place),
        )
        lengths = tf.cast(tf.strings.length(texts) + 1, tf.int64)
        rows = tf.RaggedTensor.from_row_lengths(counts, lengths, validate=False)
        lengths = tf.cast(tf.reduce_sum(rows, axis=1), tf.int64)  # (B,)
        found = tf.RaggedTensor.from_row_lengths(
            tf.gather(self._bytes, found), lengths, validate=False
        )
        return tf.strings.reduce_join(found, axis=-1)

    def _longest_matches(self, codes):
        """Finds the longest key at each place.

        Args:
            codes: int32 (N,), bytes.

        Returns:
            Its size, int32 (N,), 0 where none matches; and its value.
        """
        count = tf.size(self._labels)
        zeros = tf.zeros_like(codes)
        nodes = tf.fill(tf.shape(codes), self._offsets[0])

        def go_down(depth, nodes, is_there, ahead, sizes, values):
            children = tf.bitwise.bitwise_xor(nodes, ahead)
            is_there &= (children < count) & (ahead > 0)
            children = tf.where(is_there, children, 0)
            labels = tf.gather(self._labels, children)
            is_there &= labels == tf.cast(ahead, tf.int64)
            offsets = tf.gather(self._offsets, children)
            nodes = tf.bitwise.bitwise_xor(children, offsets)
            is_key = is_there & tf.gather(self._has_value, children)
            is_key &= nodes < count
            value = tf.gather(self._values, tf.where(is_key, nodes, 0))
            value = tf.minimum(value, tf.size(self._texts) - 1)
            sizes = tf.where(is_key, depth + 1, sizes)
            values = tf.where(is_key, value, values)
            ahead = tf.concat([ahead[1:], [0]], axis=0)[: tf.size(ahead)]
            return depth + 1, nodes, is_there, ahead, sizes, values

        shapes = [tf.TensorShape([None])] * 5
        *_, sizes, values = tf.while_loop(
            lambda depth, nodes, is_there, *_: tf.reduce_any(is_there),
            go_down,
            (0, nodes, tf.ones_like(codes, tf.bool), codes, zeros, zeros),
            shape_invariants=(tf.TensorShape([]), *shapes),
        )
        return sizes, values


def _is_read(sizes):
    """Whether reading stops at each place, (N,): no match before covers it.

    Each round settles at least the next place, and mostly all: matches that
    overlap are rare.
    """
    longest = tf.reduce_max(tf.concat([[0], sizes], axis=0))
    row = tf.TensorShape([None])

    def settle(is_read, _):
        def cover(distance, covered):
            reaches = is_read & (sizes > distance)
            begin = tf.zeros([distance], tf.bool)
            ahead = tf.concat([begin, reaches], axis=0)[: tf.size(sizes)]
            return distance + 1, covered | ahead

        _, covered = tf.while_loop(
            lambda distance, _: distance < longest,
            cover,
            (1, tf.zeros_like(is_read)),
            shape_invariants=(tf.TensorShape([]), row),
        )
        return ~covered, tf.reduce_any(covered == is_read)

    is_read, _ = tf.while_loop(
        lambda _, has_changed: has_changed,
        settle,
        (tf.ones_like(sizes, tf.bool), longest > 1),
        shape_invariants=(row, tf.TensorShape([])),
    )
    return is_read


def _parsed(encoded):
    """Returns the units of the trie, uint32, and the texts, uint8."""
    try:
        table = base64.b64decode(encoded, validate=True)
        (size,) = HEADER.unpack_from(table)
        units = np.frombuffer(table, "<u4", size // 4, HEADER.size)
    except (binascii.Error, struct.error, ValueError, TypeError) as error:
        raise ValueError(f"`charsmap` is broken: {error}") from error
    texts = np.frombuffer(table[HEADER.size + size :], "u1")
    if not len(units) or not len(texts) or texts[-1] != 0:
        raise ValueError("`charsmap` is broken: it holds no replacements")
    return units, texts
