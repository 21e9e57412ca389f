"""Reading and writing the fixed-size buffers of a search.

B is the batch, K the beam slots, J any number of chosen slots, T the maximum
length, S the source length.
"""

from typing import Any

from keras import ops

GROUP = 64  # entries of which `largest` first looks at the best alone


def gather_slots(tensor: Any, parents: Any) -> Any:
    """Picks beam slots, each row its own.

    This is what a decoder's `reorder` does to state that must move.

    Args:
        tensor: shape (batch, slots, ...).
        parents: integer tensor of shape (batch, chosen), values below
            `slots`.

    Returns:
        Tensor of shape (batch, chosen, ...): entry (b, j) is
        `tensor[b, parents[b, j]]`.

    Example:

    >>> import numpy as np
    >>> from keras_attention.decoding import gather_slots
    >>> state = np.arange(6).reshape(2, 3)
    >>> gather_slots(state, np.array([[2, 2], [0, 1]])).numpy()
    array([[2, 2],
           [3, 4]])
    """
    batch, width, *tail = ops.shape(tensor)
    rows = ops.arange(batch, dtype="int32")[:, None] * width  # (B, 1)
    flat = ops.reshape(tensor, (batch * width, *tail))  # (B*K, ...)
    return ops.take(flat, rows + ops.cast(parents, "int32"), axis=0)


def largest(values: Any, count: int) -> tuple[Any, Any]:
    """Returns the `count` largest of each row (B, M), and where they are.

    What `ops.top_k` returns, the first of equals first. XLA sorts the whole
    row for it, so of a long row only the groups with the best heads, one for
    each entry to find, are sorted.
    """
    batch, size = ops.shape(values)
    if size <= 2 * GROUP * count:
        best, places = ops.top_k(values, count)
        return best, ops.cast(places, "int32")
    groups = -(-size // GROUP)
    surplus = ops.full(
        (batch, groups * GROUP - size), -float("inf"), dtype=values.dtype
    )
    values = ops.concatenate([values, surplus], axis=1)
    values = ops.reshape(values, (batch, groups, GROUP))
    heads = ops.max(values, axis=-1)  # (B, G)
    # In their order, so that of equals the first comes first below too.
    chosen = ops.sort(ops.top_k(heads, count)[1], axis=-1)  # (B, C)
    chosen = ops.cast(chosen, "int32")
    few = ops.reshape(gather_slots(values, chosen), (batch, count * GROUP))
    best, places = ops.top_k(few, count)
    places = ops.cast(places, "int32")
    group = gather_slots(chosen, places // GROUP)  # (B, C)
    return best, group * GROUP + places % GROUP


def write_at(buffer: Any, values: Any, index: Any) -> Any:
    """Returns (B, K, T) `buffer` with (B, K) `values` at position `index`."""
    positions = ops.arange(buffer.shape[-1], dtype="int32")
    return ops.where(positions == index, values[..., None], buffer)


def no_alignment(source_mask: Any, max_length: int, width: int) -> Any:
    """Returns the empty (B, T, K, S) buffer of alignments."""
    batch, source_length = ops.shape(source_mask)
    shape = (batch, max_length, width, source_length)
    return ops.zeros(shape, dtype="float32")


def write_alignment(buffer: Any, alignment: Any, index: Any) -> Any:
    """Returns (B, T, K, S) `buffer` with (B, K, S) written at `index`."""
    positions = ops.arange(buffer.shape[1], dtype="int32")[:, None, None]
    return ops.where(positions == index, alignment[:, None], buffer)


def own_slots(batch: Any, width: int, max_length: int) -> Any:
    """Returns the (B, K, T) ancestors of slots that descend from themselves."""
    slots = ops.arange(width, dtype="int32")[:, None]
    return ops.broadcast_to(slots, (batch, width, max_length))


def descend(ancestors: Any, parents: Any, index: Any) -> Any:
    """Returns the ancestors, for step `index` + 1, of the slots' children.

    Child k of parent p has p's history up to `index`, and itself after that.
    """
    width, max_length = ancestors.shape[1:]
    own = ops.arange(width, dtype="int32")[:, None]
    past = ops.arange(max_length, dtype="int32") <= index
    return ops.where(past, gather_slots(ancestors, parents), own)


def follow(alignments: Any, paths: Any, lengths: Any) -> Any:
    """Collects each hypothesis's alignment from the slots it went through.

    Args:
        alignments: shape (B, T, K, S), as the slots wrote them.
        paths: int32, shape (B, J, T), the slot at each position.
        lengths: int32, shape (B, J); zeros come back from there on.

    Returns:
        Tensor of shape (B, J, T, S).
    """
    batch, max_length, width, source_length = ops.shape(alignments)
    rows = ops.arange(batch, dtype="int32")[:, None, None] * max_length
    positions = ops.arange(max_length, dtype="int32")
    flat = ops.reshape(
        alignments, (batch * max_length * width, source_length)
    )  # (B*T*K, S)
    found = ops.take(flat, (rows + positions) * width + paths, axis=0)
    written = positions < lengths[..., None]  # (B, J, T)
    return ops.where(written[..., None], found, ops.zeros_like(found))
