"""Rows of blocks that a loop writes or adds to, in place where it can.

TensorFlow loops carry such rows as a `TensorArray`, of fixed size, which its
graphs and XLA both update in place; `ops.slice_update` is an XLA operation on
TensorFlow and could not be served. Other backends update arrays.
"""

from keras import backend
from keras import ops


def zeros(count, shape, dtype):
    """Returns a buffer of `count` blocks of zeros, each of static `shape`."""
    blocks = ops.zeros((count, *shape), dtype=dtype)
    if backend.backend() != "tensorflow":
        return blocks
    import tensorflow as tf

    array = tf.TensorArray(
        dtype, size=count, element_shape=shape, clear_after_read=False
    )
    return array.unstack(blocks)


def write(buffer, index, block):
    """Returns the buffer with `block` at `index`."""
    if backend.backend() == "tensorflow":
        return buffer.write(index, block)
    return buffer.at[index].set(block)


def add(buffer, index, block):
    """Returns the buffer with `block` added at `index`."""
    if backend.backend() == "tensorflow":
        return buffer.write(index, buffer.read(index) + block)
    return buffer.at[index].add(block)


def stack(buffer):
    """Returns all blocks as one tensor (count, *shape)."""
    return buffer.stack() if backend.backend() == "tensorflow" else buffer
