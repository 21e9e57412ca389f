"""The likeliest pieces of words, by Viterbi, in plain TensorFlow operations.

A unigram model (Kudo 2018, "Subword Regularization", equation 7) gives each
piece x a log-probability, and a word the pieces whose sum is largest:

    x* = argmax over x_1 ... x_n = word of  sum_i log p(x_i)

R counts rows, L code points, D the longest piece that matches.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_attention.text.row_groups import in_groups
from keras_attention.text.trie import Trie

# What a character that no piece spells costs beyond the unlikeliest piece.
UNKNOWN_PENALTY = 10.0
MINUS_INFINITY = float("-inf")


class Unigram(tf.Module):
    """Cuts rows of code points into the likeliest pieces.

    Of ways with equal sums, that whose last piece begins first is taken; and
    rounding decides which sums are equal. So sums are rounded as the
    reference rounds.

    Args:
        pieces: list of sequences of code points.
        ids: list of their ids, at least 0.
        scores: list of their log-probabilities.
        unknown_score: that of a character without a piece of its own.
        single: whether sums are rounded to float32, as SentencePiece does;
            else they are float64, as in Hugging Face's tokenizers.
    """

    def __init__(
        self,
        pieces: Sequence[Sequence[int]],
        ids: Sequence[int],
        scores: Sequence[float],
        unknown_score: float,
        single: bool,
    ):
        super().__init__()
        self._trie = Trie(pieces)
        # The entry -1 of both, the last one, is that of no piece.
        self._ids = tf.constant(np.array([*ids, -1], "int32"))
        self._scores = tf.constant([*scores, MINUS_INFINITY], tf.float64)
        unknown_score = np.float32(unknown_score) if single else unknown_score
        self._unknown = tf.constant(unknown_score, tf.float64)
        self._nothing = tf.constant(MINUS_INFINITY, tf.float64)
        self._single = single

    def segment(self, rows: tf.RaggedTensor) -> tuple[tf.RaggedTensor, list]:
        """Cuts each row into pieces.

        Args:
            rows: int32 code points `(rows, (length))`.

        Returns:
            int32 `(rows, (pieces))`: ids, and -1 - code point for a character
            that is unknown. And two float64 `(rows,)`: by how much the choice
            was clear at the closest place, and the largest sum that occurred.
        """
        return in_groups(rows, self._cut, sums=2)

    def _cut(self, codes, lengths):
        places = tf.range(tf.shape(codes)[1])
        codes = tf.where(places < lengths[:, None], codes, -1)  # (R, L)
        keys = self._trie.matches(codes)  # (R, L, D)
        keys = tf.where(keys < 0, tf.size(self._ids) - 1, keys)
        scores = tf.gather(self._scores, keys)  # (R, L, D)
        alone = scores[:, :, :1]  # pieces of one character
        is_unknown = alone == MINUS_INFINITY
        alone = tf.where(is_unknown, self._unknown, alone)
        scores = tf.concat([alone, scores[:, :, 1:]], axis=2)
        scores = tf.where(codes[:, :, None] < 0, self._nothing, scores)
        best, *facts = self._best_last_pieces(scores)
        ends = self._ends(best, lengths)  # (R, P), falling to 0
        sizes = ends[:, :-1] - ends[:, 1:]
        starts = tf.reverse(ends[:, 1:], [1])
        sizes = tf.reverse(sizes, [1])
        found = self._ids_of(keys, codes, starts, sizes)  # (R, P)
        is_piece = sizes > 0
        counts = tf.reduce_sum(tf.cast(is_piece, tf.int32), axis=1)  # (R,)
        return tf.boolean_mask(found, is_piece), counts, facts

    def _ids_of(self, keys, codes, starts, sizes):
        """Returns the ids of pieces, (R, P); any number where size is 0."""
        places = tf.stack([starts, tf.maximum(sizes - 1, 0)], axis=-1)
        keys = tf.gather_nd(keys, places, batch_dims=1)  # (R, P)
        ids = tf.gather(self._ids, keys)
        codes = tf.gather(codes, starts, batch_dims=1)  # (R, P)
        return tf.where(ids < 0, -1 - codes, ids)

    def _best_last_pieces(self, scores):
        """Finds the length of the last piece of the best way to each place.

        Args:
            scores: float64 (R, L, D) of pieces by start and length - 1.

        Returns:
            int32 (R, L) of lengths; float64 (R,) of how much the best way was
            better at the closest place; float64 (R,) of the largest sum.
        """
        count, length, depth = tf.unstack(tf.shape(scores))
        sizes = tf.range(1, depth + 1)
        steps = tf.transpose(scores, (1, 0, 2))  # (L, R, D)
        # Entry j: the best way to the place j + 1 after this one.
        ahead = tf.fill([count, depth], self._nothing)
        none = tf.zeros([count, depth], tf.int32)
        lasts = tf.TensorArray(tf.int32, length, element_shape=[None])
        zeros = tf.zeros([count], tf.float64)
        clear = tf.fill([count], -self._nothing)

        def step(place, here, ahead, last, lasts, clear, largest):
            sums = self._rounded(here[:, None] + steps[place])  # (R, D)
            gap = tf.abs(sums - ahead)
            gap = tf.where(tf.math.is_finite(gap), gap, -self._nothing)
            clear = tf.minimum(clear, tf.reduce_min(gap, axis=1))
            is_better = sums > ahead
            ahead = tf.where(is_better, sums, ahead)
            last = tf.where(is_better, sizes, last)
            here = ahead[:, 0]
            size = tf.where(here > self._nothing, tf.abs(here), zeros)
            largest = tf.maximum(largest, size)
            lasts = lasts.write(place, last[:, 0])
            ahead = tf.pad(
                ahead[:, 1:], [[0, 0], [0, 1]], constant_values=MINUS_INFINITY
            )
            last = tf.pad(last[:, 1:], [[0, 0], [0, 1]])
            return place + 1, here, ahead, last, lasts, clear, largest

        _, _, _, _, lasts, clear, largest = tf.while_loop(
            lambda place, *_: place < length,
            step,
            (0, zeros, ahead, none, lasts, clear, zeros),
            maximum_iterations=length,
        )
        return tf.transpose(lasts.stack()), clear, largest

    def _rounded(self, sums):
        if not self._single:
            return sums
        return tf.cast(tf.cast(sums, tf.float32), tf.float64)

    @staticmethod
    def _ends(best, lengths):
        """Walks back from the ends: the ends of all pieces, then zeros."""
        ends = tf.TensorArray(
            tf.int32, 1, dynamic_size=True, element_shape=[None]
        )

        def walk(count, place, ends):
            before = tf.maximum(place - 1, 0)
            size = tf.gather(best, before, batch_dims=1)  # (R,)
            # None is known where all sums fell to minus infinity.
            size = tf.maximum(size, 1)
            place = tf.where(place > 0, place - size, 0)
            return count + 1, place, ends.write(count, place)

        *_, ends = tf.while_loop(
            lambda count, place, _: tf.reduce_any(place > 0),
            walk,
            (1, lengths, ends.write(0, lengths)),
        )
        return tf.transpose(ends.stack())  # (P + 1, R) -> (R, P + 1)
