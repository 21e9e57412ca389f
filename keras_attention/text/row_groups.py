"""Rows of very different lengths, worked on in groups of like lengths.

One word of 10,000 characters among many short ones would pad them all to
10,000. So rows go in groups: no row is padded to more than four times its
length, or to 16, and no group has more than 2^17 places.
"""

from collections.abc import Callable

import tensorflow as tf

PADDED_AT_MOST = 4  # times
SHORT = 16
PLACES_AT_ONCE = 2**17


def in_groups(
    rows: tf.RaggedTensor, work: Callable, sums: int = 0
) -> tuple[tf.RaggedTensor, list]:
    """Applies `work` to all rows, those of like lengths together.

    Args:
        rows: integers `(rows, (length))`.
        work: function from a padded `(some rows, length)` and the lengths
            `(some rows,)` to int32 values, flat, how many there are for each
            row, and a list of `sums` float64 `(some rows,)`.
        sums: length of that list.

    Returns:
        The values, ragged `(rows, (values))`, and the list, each `(rows,)`.
    """
    lengths = tf.cast(rows.row_lengths(), tf.int32)  # (R,)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    falling = tf.gather(lengths, order)
    count = tf.size(order)

    def group(begin, values, counts, *numbers):
        width = falling[begin]
        least = tf.where(width <= SHORT, 0, width // PADDED_AT_MOST)
        alike = tf.reduce_sum(tf.cast(falling >= least, tf.int32)) - begin
        most = tf.maximum(PLACES_AT_ONCE // tf.maximum(width, 1), 1)
        end = begin + tf.minimum(alike, most)
        chosen = tf.gather(rows, order[begin:end])
        found = work(chosen.to_tensor(), falling[begin:end])
        joined = zip(
            (values, counts, *numbers),
            (found[0], found[1], *found[2]),
            strict=True,
        )
        return end, *(tf.concat(pair, axis=0) for pair in joined)

    empty = [tf.zeros([0], tf.int32)] * 2 + [tf.zeros([0], tf.float64)] * sums
    free = tf.TensorShape([None])
    _, values, counts, *numbers = tf.while_loop(
        lambda begin, *_: begin < count,
        group,
        (0, *empty),
        shape_invariants=(tf.TensorShape([]), *[free] * len(empty)),
    )
    back = tf.math.invert_permutation(order)  # (R,)
    counts = tf.cast(counts, tf.int64)
    found = tf.RaggedTensor.from_row_lengths(values, counts, validate=False)
    return tf.gather(found, back), [tf.gather(n, back) for n in numbers]
