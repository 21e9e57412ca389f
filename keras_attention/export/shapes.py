"""Shapes of ids that every kernel and few programs of XLA can take."""

import tensorflow as tf

from keras_attention.text import EOS_ID


def at_least_one_row(source):
    """Gives an empty batch a row of EOS; some kernels fail on no rows."""
    missing = tf.maximum(1 - tf.shape(source)[0], 0)
    return tf.pad(source, [[0, missing], [0, 0]], constant_values=EOS_ID)


def first_rows(decoded, source):
    """Leaves the rows of `decoded` that answer a row of `source`."""
    batch = tf.shape(source)[0]
    return tf.nest.map_structure(lambda tensor: tensor[:batch], decoded)


def at_least_one_position(tensor):
    """Gives a `(batch, 0, ...)` tensor a position of zeros, or False."""
    missing = tf.maximum(1 - tf.shape(tensor)[1], 0)
    paddings = [[0, 0]] * tensor.shape.rank
    paddings[1] = [0, missing]
    return tf.pad(tensor, paddings)


def pad_to_powers_of_two(source):
    """Pads (B, S) ids on both axes, so that few shapes are ever compiled.

    Rows that are added repeat the first one, so they end when it does.
    """
    batch, length = tf.unstack(tf.shape(source))
    source = at_least_one_row(source)
    source = tf.pad(source, [[0, 0], [0, _power_of_two(length) - length]])
    rows = tf.range(_power_of_two(batch))
    return tf.gather(source, tf.where(rows < batch, rows, 0))


def _power_of_two(size):
    """The smallest power of two that is at least `size`, and at least 1."""
    powers = tf.bitwise.left_shift(1, tf.range(31))
    return tf.reduce_min(tf.boolean_mask(powers, powers >= size))
