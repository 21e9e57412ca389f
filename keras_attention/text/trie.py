"""All pieces that begin at each place of many words, by one prefix tree."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

NOWHERE, ROOT = 0, 1  # nodes


class Trie(tf.Module):
    """A prefix tree of sequences of code points, walked from all places.

    Nodes are numbers. A step down is a look-up of the node and the next
    symbol, for all places at once, so a walk takes as many look-ups as the
    longest piece that matches anywhere has symbols.

    Args:
        keys: list of sequences of integers, all different, none empty.
    """

    def __init__(self, keys: Sequence[Sequence[int]]):
        super().__init__()
        alphabet = sorted({code for key in keys for code in key})
        symbols = {code: n for n, code in enumerate(alphabet, start=1)}
        self._base = len(symbols) + 1
        steps, key_at = {}, {}
        for number, key in enumerate(keys):
            node = ROOT
            for code in key:
                step = node * self._base + symbols[code]
                node = steps.setdefault(step, len(steps) + ROOT + 1)
            key_at[node] = number
        self._symbols = table_of(symbols, 0)
        self._steps = table_of(steps, NOWHERE)
        numbers = np.full(len(steps) + ROOT + 1, -1, "int32")
        numbers[list(key_at)] = list(key_at.values())
        self._numbers = tf.constant(numbers)  # of the key that ends at a node

    def matches(self, codes: tf.Tensor) -> tf.Tensor:
        """Finds all keys in rows of code points.

        Args:
            codes: int32 `(rows, length)`; -1 stands for padding.

        Returns:
            int32 `(rows, length, depth)`: the number of the key that begins
            at a place and has 1, 2, ... symbols, or -1. Depth is at least 1,
            and at most the length of the longest key, or of the rows.
        """
        symbols = self._symbols.lookup(tf.cast(codes, tf.int64))  # (R, L)
        nodes = tf.fill(tf.shape(symbols), tf.constant(ROOT, tf.int64))
        found = tf.TensorArray(
            tf.int32, 0, dynamic_size=True, element_shape=[None, None]
        )

        def goes_on(depth, nodes, *_):
            is_there = tf.reduce_any(nodes != NOWHERE)
            return (depth == 0) | (is_there & (depth < tf.shape(codes)[1]))

        def go_down(depth, nodes, ahead, found):
            nodes = self._steps.lookup(nodes * self._base + ahead)
            found = found.write(depth, tf.gather(self._numbers, nodes))
            ahead = tf.pad(ahead[:, 1:], [[0, 0], [0, 1]])  # (R, L)
            return depth + 1, nodes, ahead, found

        *_, found = tf.while_loop(goes_on, go_down, (0, nodes, symbols, found))
        return tf.transpose(found.stack(), (1, 2, 0))  # (D, R, L) -> (R, L, D)


def table_of(
    entries: dict[int, int], default: int
) -> tf.lookup.StaticHashTable:
    """Returns a table of int64 by int64 for use inside of a graph."""
    # TensorFlow refuses an empty one. What any key has without an entry
    # changes nothing.
    entries = entries or {0: default}
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(list(entries), tf.int64),
            tf.constant(list(entries.values()), tf.int64),
        ),
        default_value=default,
    )
