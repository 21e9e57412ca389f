"""The masks of a layer's call: each checked once, and joined into one."""

from typing import Any

from keras_attention import masks
from keras_attention import validation
from keras_attention.masks import packing
from keras_attention.masks.booleans import as_boolean


def mask_for(
    scores_shape: tuple,
    *,
    query_mask: Any = None,
    value_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    use_causal_mask: bool = False,
) -> masks.Mask | None:
    """Returns the AND of all the masks of a layer's call, or None.

    Args:
        scores_shape: (batch, num_heads, query_length, key_length), with None
            for sizes not known.
        query_mask: (batch, query_length); padded queries see nothing.
        value_mask: (batch, key_length).
        key_mask: (batch, key_length).
        attention_mask: a `masks.Mask`, packed by `MaskCarrier` or not, or a
            tensor as `masks.Array` takes it.
        use_causal_mask: whether key <= query is asked for, top-left aligned.

    Raises:
        ValueError: if the shape of a mask does not fit.
    """
    if isinstance(attention_mask, dict):
        attention_mask = packing.unpack(attention_mask)
    if isinstance(attention_mask, masks.Mask):
        attention_mask.check(scores_shape)
    elif attention_mask is not None:
        attention_mask = _checked_array(attention_mask, scores_shape)
    batch, _, query_length, key_length = scores_shape
    queries, keys = (batch, query_length), (batch, key_length)
    return masks.combine_masks(
        _padding(masks.QueryPadding, "query_mask", query_mask, queries),
        _padding(masks.Padding, "value_mask", value_mask, keys),
        _padding(masks.Padding, "key_mask", key_mask, keys),
        attention_mask,
        masks.Causal() if use_causal_mask else None,
    )


def has_causal_part(mask: masks.Mask | None, reason: str) -> bool:
    """Whether a mask of padding is causal as well.

    Args:
        mask: what `mask_for` returned.
        reason: why the layer takes no other masks, for the error.

    Raises:
        ValueError: if a part of the mask is neither padding nor `Causal()`.
    """
    if mask is None:
        return False
    if isinstance(mask, masks.And):
        parts = [has_causal_part(part, reason) for part in mask.masks]
        return any(parts)
    if isinstance(mask, (masks.Lengths, masks.Padding, masks.QueryPadding)):
        return False
    is_causal = isinstance(mask, masks.Causal)
    if is_causal and validation.is_integer(mask.offset) and mask.offset == 0:
        return True
    raise validation.invalid(
        "attention_mask",
        f"made of padding alone, for {reason}",
        type(mask).__name__,
        "`MultiHeadAttention` takes every mask.",
    )


def _checked_array(mask, scores_shape):
    """Returns an `Array`; errors name the argument of the layer."""
    shape = validation.shape_of(mask)
    if len(shape) not in (2, 3, 4):
        raise ValueError(
            f"`attention_mask` must broadcast to {validation.SCORE_AXES}="
            f"{tuple(scores_shape)}. Received: attention_mask.shape={shape}."
        )
    array = masks.Array(as_boolean("attention_mask", mask))
    ((_, aligned),) = array.broadcast_shapes()
    validation.check_broadcasts(
        "attention_mask",
        aligned,
        scores_shape,
        validation.SCORE_AXES,
        "Did you swap the query and key axes?",
        received=shape,
    )
    return array


def _padding(kind, name, mask, shape):
    if mask is None:
        return None
    check_sequence_mask(name, mask, shape)
    return kind(as_boolean(name, mask))


def check_sequence_mask(name: str, mask: Any, expected: tuple) -> None:
    """Raises a ValueError unless the mask has the shape (batch, length)."""
    expected = tuple(expected)
    shape = validation.shape_of(mask)
    fits = len(shape) == 2 and all(
        size == wanted or None in (size, wanted)
        for size, wanted in zip(shape, expected, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`{name}` must have shape (batch, length)={expected}. "
            f"Received: {name}.shape={shape}."
        )
