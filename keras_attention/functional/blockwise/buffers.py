"""Rows of blocks that a loop writes or adds to, in place where it can.

Where TensorFlow loops over single blocks they are a `TensorArray` of fixed
size, which its graphs and XLA both update in place; `ops.slice_update` is an
XLA operation on TensorFlow and could not be served. Where many blocks are
added at once, and on other backends, they are a tensor.
"""

from typing import Any

from keras import backend
from keras import ops


def zeros(count: Any, shape: tuple, dtype: Any, is_written_singly: bool) -> Any:
    """Returns a buffer of `count` blocks of zeros, each of this shape."""
    blocks = ops.zeros((count, *shape), dtype=dtype)
    if not (is_written_singly and backend.backend() == "tensorflow"):
        return blocks
    import tensorflow as tf

    known = [size if isinstance(size, int) else None for size in shape]
    array = tf.TensorArray(
        dtype, size=count, element_shape=known, clear_after_read=False
    )
    return array.unstack(blocks)


def write(buffer: Any, index: Any, block: Any) -> Any:
    """Returns the buffer with `block` at `index`."""
    if backend.backend() == "tensorflow":
        return buffer.write(index, block)
    return buffer.at[index].set(block)


def add(buffer: Any, index: Any, blocks: Any) -> Any:
    """Returns the buffer with `blocks`, (P, ...), added at `index`.

    `index` is (P,), and may name a block more than once; or it is one
    integer, where P is 1.
    """
    is_single = len(getattr(index, "shape", ())) == 0
    if backend.backend() != "tensorflow":
        return buffer.at[index].add(blocks[0] if is_single else blocks)
    if is_single:
        return buffer.write(index, buffer.read(index) + blocks[0])
    import tensorflow as tf

    return tf.tensor_scatter_nd_add(buffer, index[:, None], blocks)


def stack(buffer: Any) -> Any:
    """Returns all blocks as one tensor (count, *shape)."""
    return buffer.stack() if hasattr(buffer, "stack") else buffer
