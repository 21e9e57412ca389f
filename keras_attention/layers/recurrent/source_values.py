"""What an `AttentionCell` attends to: one source, or a list of them."""

from typing import Any

from keras_attention import validation
from keras_attention.functional.padding import keep
from keras_attention.layers.attention.call_masks import check_sequence_mask
from keras_attention.masks.booleans import as_boolean


def check_values(values: Any, value_mask: Any, attention: Any) -> None:
    """Raises a ValueError unless values and masks are as many as mechanisms.

    Args:
        values: what a cell is called with, or the shapes of it: one for all
            mechanisms, or a list.
        value_mask: likewise, or None.
        attention: a mechanism, or a list of them.
    """
    masks_are_several = isinstance(value_mask, (list, tuple))
    if not isinstance(values, list) and not _is_of_tensors(values):
        if masks_are_several:
            raise validation.invalid(
                "value_mask",
                "one tensor, as `value` is",
                f"a list of {len(value_mask)}",
            )
        return
    number = len(attention) if isinstance(attention, (list, tuple)) else 1
    if len(values) != number or not isinstance(attention, (list, tuple)):
        raise validation.invalid(
            "value",
            "one tensor, or a list of one for each mechanism in `attention`, "
            "if that is a list",
            f"a list of {len(values)}",
            f"The cell has {number} mechanism{'s' * (number > 1)}.",
        )
    if value_mask is not None and (
        not masks_are_several or len(value_mask) != number
    ):
        raise validation.invalid(
            "value_mask",
            f"a list of {number} masks (or None in place of one), as `value` "
            "is a list",
            f"a list of {len(value_mask)}" if masks_are_several else "one mask",
        )


def with_zeroed_padding(values: Any, value_mask: Any) -> tuple:
    """Returns values with zeros at padding, and their masks, boolean.

    Args:
        values: (batch, source_length, source_width), or a list.
        value_mask: boolean (batch, source_length), True = real, or a list,
            or None.
    """
    if not isinstance(values, (list, tuple)):
        return _zeroed(values, value_mask)
    real = [None] * len(values) if value_mask is None else value_mask
    pairs = [_zeroed(*pair) for pair in zip(values, real, strict=True)]
    return tuple(map(list, zip(*pairs, strict=True)))


def lengths_of(value: Any) -> Any:
    """Returns the length of a value, or the lengths of a list of them."""
    if isinstance(value, (list, tuple)):
        return [one.shape[1] for one in value]
    return value.shape[1]


def shapes_of(value: Any) -> Any:
    """Returns the shape of a value, or the shapes of a list of them."""
    if isinstance(value, (list, tuple)):
        return [tuple(one.shape) for one in value]
    return tuple(value.shape)


def shapes_of_values(shape: Any) -> Any:
    """Returns a shape as a tuple, of several values a list of tuples."""
    if isinstance(shape[-1], (list, tuple)):
        return [tuple(one) for one in shape]
    return tuple(shape)


def _zeroed(value, mask):
    """Returns one value and its mask, as `with_zeroed_padding` does."""
    if mask is None:
        return value, None
    check_sequence_mask("value_mask", mask, value.shape[:2])
    mask = as_boolean("value_mask", mask)
    return keep(value, mask), mask


def _is_of_tensors(values):
    """Whether it is a tuple of values, and not a shape or a tensor."""
    return isinstance(values, tuple) and hasattr(values[0], "shape")
