"""Keys and values of the positions seen so far, in buffers of fixed size.

A cache is a dict of two tensors, {"key": (batch, max_length,
num_key_value_heads, key_dim), "value": (..., value_dim)}. It is passed in and
comes out: no layer keeps one. A position is written by comparing it with the
index, never by slicing, so that one graph serves every index, every backend
and a SavedModel without XLA.

Letters: B batch, M max_length, L new positions, K key/value heads, H width.
"""

from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.masks.booleans import as_boolean


def empty(batch_size, max_length, num_heads, key_dim, value_dim, dtype):
    """Returns a cache of zeros."""
    shape = (batch_size, max_length, num_heads)
    return {
        "key": ops.zeros((*shape, key_dim), dtype=dtype),
        "value": ops.zeros((*shape, value_dim), dtype=dtype),
    }


def step(cache, cache_index, key, value, *padding):
    """Writes the new keys and values, and returns what a query then sees.

    Args:
        cache: as `empty` makes it.
        cache_index: position of the first new key, an integer, a scalar
            tensor or one per row (batch,).
        key: (batch, length, num_key_value_heads, key_dim).
        value: (batch, length, num_key_value_heads, value_dim).
        *padding: `value_mask` and `key_mask`, each None or (batch,
            max_length), or (batch, length) for the new ones alone.

    Returns:
        The new cache, the mask that hides all positions after the new ones,
        and the list of the masks given, each (batch, max_length) or None.
    """
    check(cache, cache_index, key)
    padding = [
        _spread(name, mask, cache, cache_index)
        for name, mask in zip(("value_mask", "key_mask"), padding, strict=True)
    ]
    new = {"key": key, "value": value}
    end = ops.cast(cache_index, "int32") + ops.shape(key)[1]
    filled = masks.Lengths(ops.broadcast_to(end, (ops.shape(key)[0],)))
    written = {n: _write(cache[n], new[n], cache_index) for n in new}
    return written, filled, padding


def check(cache, cache_index, key):
    """Raises a ValueError unless `key` (B, L, K, H) can be written."""
    if cache_index is None:
        raise validation.invalid(
            "cache_index", "given together with `cache`", cache_index
        )
    if not isinstance(cache, dict) or set(cache) != {"key", "value"}:
        raise validation.invalid(
            "cache",
            'a dict {"key", "value"}',
            type(cache).__name__,
            "Use `make_cache`.",
        )
    if len(key.shape) != 4:
        raise ValueError(
            "`cache` must come with inputs of shape (batch, length, width). "
            f"Received: {len(key.shape) - 1} axes."
        )
    shape = validation.shape_of(cache["key"])
    if len(shape) != 4 or tuple(shape[2:]) != tuple(key.shape[2:]):
        raise ValueError(
            "`cache` must hold keys of shape (batch, max_length, "
            f"num_key_value_heads, key_dim)=(..., {key.shape[2]}, "
            f"{key.shape[3]}). Received: cache['key'].shape={shape}."
        )
    sizes = (cache_index, key.shape[1], shape[1])
    if all(isinstance(size, int) for size in sizes) and not (
        0 <= cache_index <= shape[1] - key.shape[1]
    ):
        raise ValueError(
            "`cache_index` must leave room for the new positions. Received: "
            f"cache_index={cache_index}, {key.shape[1]} new positions, "
            f"max_length={shape[1]}."
        )


def _spread(name, mask, cache, cache_index):
    # Positions that are not new stay visible.
    max_length = cache["key"].shape[1]
    if mask is None or mask.shape[1] == max_length:
        return mask
    mask = as_boolean(name, mask)
    everywhere = ops.ones((ops.shape(mask)[0], max_length), dtype="bool")
    return _write(everywhere, mask, cache_index)


def _write(buffer, new, cache_index):
    new = ops.cast(new, buffer.dtype)
    rank, length = len(buffer.shape), ops.shape(new)[1]
    index = ops.cast(cache_index, "int32")
    index = ops.reshape(index, (-1, *(1,) * (rank - 1)))  # (1 or B, 1, 1, 1)
    position = ops.arange(ops.shape(buffer)[1], dtype="int32")
    position = ops.reshape(position, (1, -1, *(1,) * (rank - 2)))
    source = position - index  # (1 or B, M, 1, 1): which of the new
    is_new = ops.logical_and(source >= 0, source < length)
    if new.shape[1] != 1:  # one position broadcasts
        source = ops.clip(source, 0, length - 1)
        new = ops.take_along_axis(new, source, axis=1)  # (B, M, K, H)
    return ops.where(is_new, new, buffer)
