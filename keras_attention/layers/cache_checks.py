"""Checks of a cache that a call is given, and of where it is written."""

from typing import Any

from keras_attention import validation
from keras_attention.masks.integers import as_integers
from keras_attention.masks.known import known_values


def check_parts(
    cache: Any, heads: int, widths: dict[str, int], batch: int | None
) -> None:
    """Checks the names and shapes of the tensors of a cache of one slot.

    Args:
        cache: what is said to be a cache.
        heads: number of its heads.
        widths: width of a head of each part, by name.
        batch: size of the batch, or None where it is not known.

    Raises:
        ValueError: if a part is missing or has another shape.
    """
    if not isinstance(cache, dict) or set(cache) != set(widths):
        raise validation.invalid(
            "cache",
            f"a dict of {' and '.join(widths)}",
            type(cache).__name__,
            "Use `make_cache`.",
        )
    length = validation.shape_of(cache["key"])[:1]
    for name, width in widths.items():
        shape = validation.shape_of(cache[name])
        expected = (*length, batch, 1, heads, width)
        fits = len(shape) == 5 and all(
            size == wanted or None in (size, wanted)
            for size, wanted in zip(shape, expected, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`cache` must hold {name}s of shape (length, batch, 1, "
                f"num_key_value_heads, {name}_dim)={expected}. Received: "
                f"cache[{name!r}].shape={shape}. Use `make_cache`."
            )


def check_lengths(query: Any, **others: Any) -> None:
    """Checks that what is written is as long as the query.

    Raises:
        ValueError: if it is not.
    """
    for name, tensor in others.items():
        lengths = query.shape[1], tensor.shape[1]
        if None not in lengths and lengths[0] != lengths[1]:
            raise ValueError(
                f"`{name}` must have the length of `query` where a cache is "
                "given: both are the new positions. Received: query.shape="
                f"{tuple(query.shape)}, {name}.shape={tuple(tensor.shape)}."
            )


def check_room(index: Any, new_positions: int | None, kept: int | None) -> None:
    """Checks that new positions lie inside the cache, where that shows.

    Args:
        index: position of the first, an integer, a scalar or one per row
            (batch,). One of a row may be below 0: such positions are padding.
        new_positions: how many there are, or None.
        kept: length of the cache, or None.

    Raises:
        ValueError: if they do not.
    """
    values = known_values(as_integers("cache_index", index))
    if values is None or None in (new_positions, kept) or not values.size:
        return
    is_before = not values.ndim and values < 0
    if is_before or values.max() > kept - new_positions:
        raise ValueError(
            "`cache_index` must leave room for the new positions. "
            f"Received: cache_index={values}, {new_positions} new "
            f"positions, max_length={kept}."
        )
