"""Windows of keys around a centre, gathered so that the cost is linear.

Letters: B batch, Q queries, S key length, W window, D half of it.
"""

from typing import Any

from keras import ops


def window_positions(centre: Any, reach: int, length: Any) -> tuple[Any, Any]:
    """Returns the keys within `reach` of each centre.

    Args:
        centre: float tensor (batch, queries), any real numbers.
        reach: how far a key may be from it.
        length: number of keys.

    Returns:
        The first place of each window, int32 (batch, queries): place w of a
        window is key first + w. And whether there is a key within reach at
        each place, boolean (batch, queries, 2 * reach + 1).
    """
    first = ops.ceil(centre - reach)  # (B, Q)
    places = ops.arange(2 * reach + 1, dtype=centre.dtype)
    keys = first[..., None] + places  # (B, Q, W)
    within = keys <= centre[..., None] + reach
    inside = ops.logical_and(keys >= 0, keys < ops.cast(length, keys.dtype))
    return ops.cast(first, "int32"), ops.logical_and(within, inside)


def gather_windows(tensor: Any, first: Any, size: int) -> Any:
    """Returns the windows of a sequence, (B, Q, W, ...).

    Places before the sequence hold its first entry, places after it its last.

    Args:
        tensor: tensor (batch, length, ...), of length 1 at least.
        first: int32 (batch, queries), where each window begins.
        size: how many entries a window has.
    """
    batch, length, *rest = ops.shape(tensor)
    keys = first[..., None] + ops.arange(size, dtype="int32")  # (B, Q, W)
    keys = ops.clip(keys, 0, length - 1)
    rows = ops.arange(batch, dtype="int32")[:, None, None]
    flat = ops.reshape(tensor, (batch * length, *rest))
    return ops.take(flat, rows * length + keys, axis=0)


def gather_pairs(pairs: Any, first: Any, size: int, length: Any) -> Any:
    """Returns what the windows hold of what is said of pairs, (B, Q, W).

    Places outside the sequence may hold anything.

    Args:
        pairs: boolean tensor (batch or 1, queries or 1, key_length or 1).
        first: int32 (batch, queries), where each window begins.
        size: how many entries a window has.
        length: number of keys.
    """
    if pairs.shape[-1] == 1:
        return pairs
    rows, queries = ops.shape(pairs)[:2]
    pairs = ops.broadcast_to(pairs, (rows, queries, length))
    # There must be something to gather where there is no key.
    one_more = ops.zeros((rows, queries, 1), "bool")
    pairs = ops.concatenate([pairs, one_more], axis=-1)  # (., ., S + 1)
    if pairs.shape[1] == 1:
        batch = ops.shape(first)[0]
        keys = ops.broadcast_to(pairs[:, 0], (batch, length + 1))
        return gather_windows(keys, first, size)
    keys = first[..., None] + ops.arange(size, dtype="int32")  # (B, Q, W)
    return ops.take_along_axis(pairs, ops.clip(keys, 0, length), axis=-1)


def spread_windows(windows: Any, first: Any, length: Any) -> Any:
    """Returns windows (B, Q, W) at their places among zeros, (B, Q, S).

    Args:
        windows: tensor (batch, queries, window); zeros outside the sequence.
        first: int32 (batch, queries), where each window begins.
        length: number of keys.
    """
    size = windows.shape[-1]
    # There must be a key to gather for, even where there are no queries.
    places = ops.arange(length + 1, dtype="int32") - first[..., None]
    found = ops.take_along_axis(windows, ops.clip(places, 0, size - 1), axis=-1)
    inside = ops.logical_and(places >= 0, places < size)  # (B, Q, S + 1)
    found = ops.where(inside, found, ops.zeros_like(found))
    return found[..., :length]  # (B, Q, S)


def gaussian(centre: Any, first: Any, reach: int) -> Any:
    """Returns exp(-(s - centre)^2 / (2 sigma^2)) in each window, (B, Q, W).

    With sigma half of the reach (Luong et al. 2015, arXiv 1508.04025,
    equation 10).

    Args:
        centre: float tensor (batch, queries).
        first: int32 (batch, queries), where each window begins.
        reach: how far a key may be from the centre.
    """
    places = ops.arange(2 * reach + 1, dtype=centre.dtype)
    distance = ops.cast(first, centre.dtype) - centre  # (B, Q)
    distance = distance[..., None] + places  # (B, Q, W)
    return ops.exp(-ops.square(distance) / (2 * (reach / 2) ** 2))
