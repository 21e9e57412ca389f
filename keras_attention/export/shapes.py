"""Shapes of sources that every kernel and few programs of XLA can take.

A batch of sources is a dict of tensors, as `generate_tokens` takes them.
"""

from typing import Any

import tensorflow as tf

from keras_attention.functional.attention import SMALLEST_FUSED
from keras_attention.models import source_rows
from keras_attention.special_ids import EOS_ID

# The rule is that of `generate`; a graph looks the number up.
MOST_ROWS_FUSED = 32
POWERS_OF_TWO = [source_rows.next_power_of_two(2**n) for n in range(31)]


def of_as_many_rows(inputs: dict) -> dict:
    """Returns the inputs of a request, which fails where they differ in rows.

    Else kernels would broadcast or cut, and rows be lost without a word.

    Args:
        inputs: dict of tensors (B, ...) by name.
    """
    (first, tensor), *others = inputs.items()
    checks = [
        tf.debugging.assert_equal(
            tf.shape(tensor)[0],
            tf.shape(other)[0],
            f"`{first}` and `{name}` must have as many rows",
        )
        for name, other in others
    ]
    with tf.control_dependencies(checks):
        return {name: tf.identity(other) for name, other in inputs.items()}


def of_length(ids: Any, length: int | None) -> Any:
    """Returns ids (B, S) padded and cut to a length; to at least 1 for None."""
    if length is None:
        return at_least_one_position(ids)
    missing = tf.maximum(length - tf.shape(ids)[1], 0)
    padded = tf.pad(ids, [[0, 0], [0, missing]])[:, :length]
    return tf.ensure_shape(padded, (None, length))


def at_least_one_row(arrays: Any) -> Any:
    """Gives an empty batch a row of EOS or zeros; some kernels need rows."""

    def with_row(tensor):
        missing = tf.maximum(1 - tf.shape(tensor)[0], 0)
        paddings = [[0, missing]] + [[0, 0]] * (tensor.shape.rank - 1)
        is_ids = tensor.dtype == tf.int32 and tensor.shape.rank == 2
        fill = EOS_ID if is_ids else 0
        if tensor.dtype == tf.bool:
            fill = True
        return tf.pad(tensor, paddings, constant_values=fill)

    return tf.nest.map_structure(with_row, arrays)


def first_rows(decoded: Any, source: Any) -> Any:
    """Leaves the rows of `decoded` that answer a row of `source`."""
    batch = tf.shape(source)[0]
    return tf.nest.map_structure(lambda tensor: tensor[:batch], decoded)


def at_least_one_position(tensor: Any) -> Any:
    """Gives a `(batch, 0, ...)` tensor a position of zeros, or False."""
    missing = tf.maximum(1 - tf.shape(tensor)[1], 0)
    paddings = [[0, 0]] * tensor.shape.rank
    paddings[1] = [0, missing]
    return tf.pad(tensor, paddings)


def pad_to_powers_of_two(arrays: dict, may_pad_length: bool = True) -> dict:
    """Pads a batch of sources so that few shapes are ever compiled.

    Rows that are added repeat the first one, so they end when it does.

    Args:
        arrays: dict of tensors (B, S, ...).
        may_pad_length: whether zeros at the end of axis 1 change no answer.
    """
    batch = tf.shape(arrays["source"])[0]
    rows = tf.range(next_power_of_two(batch))
    rows = tf.where(rows < batch, rows, 0)

    def padded(tensor):
        if may_pad_length:
            length = tf.shape(tensor)[1]
            paddings = [[0, 0]] * tensor.shape.rank
            paddings[1] = [0, next_power_of_two(length) - length]
            tensor = tf.pad(tensor, paddings)
        return tf.gather(tensor, rows)

    return tf.nest.map_structure(padded, at_least_one_row(arrays))


def compiled_shapes(max_source_length: int) -> list[tuple[int, int]]:
    """Returns the (rows, length) that a fused kernel is made for.

    Those of `pad_to_powers_of_two`, from the lengths that repay it up to that
    of the longest source, for the rows of a usual request.
    """
    longest = source_rows.next_power_of_two(max_source_length)
    lengths = [
        n for n in POWERS_OF_TWO if n <= longest and n * n >= SMALLEST_FUSED
    ]
    rows = [n for n in POWERS_OF_TWO if n <= MOST_ROWS_FUSED]
    return [(n, length) for n in rows for length in lengths]


def next_power_of_two(size: Any) -> Any:
    """`source_rows.next_power_of_two` of a tensor."""
    powers = tf.constant(POWERS_OF_TWO)
    return tf.reduce_min(tf.boolean_mask(powers, powers >= size))
