"""Pieces of words by merging pairs, in plain TensorFlow operations.

Byte pair encoding (Sennrich et al. 2016, "Neural Machine Translation of Rare
Words with Subword Units", section 3.2): a word begins as its characters; of
all neighbours that may be merged, those of the lowest rank are, the leftmost
first, until none are left.

R counts rows, L code points.
"""

from collections.abc import Collection
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_attention.text.row_groups import in_groups
from keras_attention.text.trie import table_of

NEVER = np.iinfo(np.int32).max  # the rank of neighbours that stay apart


class BytePairs(tf.Module):
    """Cuts rows of code points into pieces by a list of merges.

    Args:
        merges: list of (left, right, merged, rank), strings and an integer.
        ids: dict from pieces to their ids, at least 0.
    """

    def __init__(
        self,
        merges: Sequence[tuple[str, str, str, int]],
        ids: dict[str, int],
    ):
        super().__init__()
        known = {*ids, *(part for merge in merges for part in merge[:3])}
        symbols = {text: n for n, text in enumerate(sorted(known))}
        self._base = len(symbols)
        pairs = {
            symbols[left] * self._base + symbols[right]: number
            for number, (left, right, _, _) in enumerate(merges)
        }
        self._pairs = table_of(pairs, len(merges))
        ranks = [rank for *_, rank in merges]
        merged = [symbols[text] for _, _, text, _ in merges]
        self._ranks = tf.constant(np.array([*ranks, NEVER], "int32"))
        self._merged = tf.constant(np.array([*merged, 0], "int32"))
        letters = {ord(s): n for s, n in symbols.items() if len(s) == 1}
        self._letters = table_of(letters, -1)
        values = [ids.get(s, -1 - ord(s[:1])) for s in symbols]
        self._values = tf.constant(np.array(values, "int32"))

    def segment(self, rows: tf.RaggedTensor) -> tuple[tf.RaggedTensor, list]:
        """Cuts each row into pieces.

        Args:
            rows: int32 code points `(rows, (length))`.

        Returns:
            int32 `(rows, (pieces))`: ids, and -1 - code point for a character
            that is unknown. And an empty list: merges have no rounding.
        """
        return in_groups(rows, self._cut)

    def _cut(self, codes, lengths):
        symbols = self._letters.lookup(tf.cast(codes, tf.int64))  # (R, L)
        symbols = tf.cast(symbols, tf.int32)
        symbols = tf.where(symbols < 0, -1 - codes, symbols)
        symbols, counts = self._merge_all(symbols, lengths)
        is_symbol = tf.range(tf.shape(symbols)[1]) < counts[:, None]
        flat = tf.boolean_mask(symbols, is_symbol)
        values = tf.gather(self._values, tf.maximum(flat, 0))
        return tf.where(flat < 0, flat, values), counts, []

    def _merge_all(self, symbols, counts):
        """Merges one pair of each row in each round, until none is left."""
        padded = tf.pad(symbols, [[0, 0], [0, 1]])  # (R, L + 1)
        places = tf.range(tf.shape(symbols)[1])  # (L,)
        ranks = self._rank(padded[:, :-1], padded[:, 1:])  # (R, L)
        ranks = tf.where(places < counts[:, None] - 1, ranks, NEVER)

        def merge(symbols, ranks, counts):
            at = tf.argmin(ranks, axis=1, output_type=tf.int32)[:, None]
            merges = tf.gather(ranks, at, batch_dims=1) != NEVER  # (R, 1)
            left, right = (
                tf.gather(symbols, tf.minimum(at + n, places[-1]), batch_dims=1)
                for n in (0, 1)
            )
            merged = tf.gather(self._merged, self._number(left, right))
            moved = _shifted(symbols, merges & (places > at))
            is_new = merges & (places == at)
            symbols = tf.where(is_new, merged, moved)
            counts -= tf.cast(merges[:, 0], tf.int32)
            ranks = _shifted(ranks, merges & (places > at), NEVER)
            # Two pairs are new: the one before the merged piece and its own.
            for first in (at - 1, at):
                exists = (first >= 0) & (first < counts[:, None] - 1)
                pair = [
                    tf.gather(
                        symbols,
                        tf.clip_by_value(first + n, 0, places[-1]),
                        batch_dims=1,
                    )
                    for n in (0, 1)
                ]
                rank = tf.where(exists, self._rank(*pair), NEVER)  # (R, 1)
                ranks = tf.where(merges & (places == first), rank, ranks)
            return symbols, ranks, counts

        symbols, _, counts = tf.while_loop(
            lambda symbols, ranks, counts: tf.reduce_any(ranks != NEVER),
            merge,
            (symbols, ranks, counts),
        )
        return symbols, counts

    def _number(self, left, right):
        """Returns the numbers of the merges of pairs of symbols."""
        left, right = tf.cast(left, tf.int64), tf.cast(right, tf.int64)
        is_known = (left >= 0) & (right >= 0)
        pairs = tf.where(is_known, left * self._base + right, -1)
        return self._pairs.lookup(pairs)

    def _rank(self, left, right):
        return tf.gather(self._ranks, self._number(left, right))


def _shifted(values, moves, last=0):
    """Takes the next entry of its row where `moves` is true."""
    following = tf.pad(values[:, 1:], [[0, 0], [0, 1]], constant_values=last)
    return tf.where(moves, following, values)


def merges_of(
    pieces: Collection[str],
    scores: dict[str, float],
    merges: Sequence | None = None,
) -> list[tuple[str, str, str, int]]:
    """Returns the merges that make pieces: (left, right, merged, rank).

    Args:
        pieces: all pieces.
        scores: dict from pieces to their scores; the highest is merged first.
        merges: (left, right) in their order, in place of scores. Else any two
            neighbours may be merged that spell a piece.
    """
    if merges is not None:
        return [
            (left, right, left + right, rank)
            for rank, (left, right) in enumerate(merges)
        ]
    falling = sorted({scores[piece] for piece in pieces}, reverse=True)
    rank_of = {score: rank for rank, score in enumerate(falling)}
    return [
        (piece[:cut], piece[cut:], piece, rank_of[scores[piece]])
        for piece in pieces
        for cut in range(1, len(piece))
        if all(
            len(part) == 1 or part in pieces
            for part in (piece[:cut], piece[cut:])
        )
    ]
