"""The base of all masks, and how masks join: `&` and `|`."""

import dataclasses

from keras import ops

from keras_attention import validation
from keras_attention.masks import ranges
from keras_attention.masks.booleans import as_boolean


class Mask:
    """Base of all masks: one block of the pattern, and what it rules out.

    A new pattern implements `block`; `key_range` and `visible_range` are
    optional and only ever save work. To be given to a layer it is a frozen
    dataclass, whose fields are tensors (those of a functional model too),
    numbers, strings, None, masks, or tuples of them. To be saved in a `.keras`
    file with a functional model it is registered with Keras.

    Example:

    >>> import dataclasses
    >>> import keras
    >>> from keras_attention import masks
    >>> @keras.saving.register_keras_serializable(package="docs")
    ... @dataclasses.dataclass(frozen=True, eq=False)
    ... class EveryOther(masks.Mask):
    ...     step: int = 2
    ...     def block(self, query_start, query_length, key_start, key_length):
    ...         key = key_start + keras.ops.arange(key_length)
    ...         return (key % self.step == 0)[None]  # (1, S)
    >>> EveryOther().dense(2, 5).numpy()
    array([[ True, False,  True, False,  True],
           [ True, False,  True, False,  True]])
    """

    # So that `array & mask` comes here, and is not tried entry by entry.
    __array_ufunc__ = None

    def block(self, query_start, query_length, key_start, key_length):
        """Returns a boolean block of the mask.

        Args:
            query_start: first query, an integer or a scalar tensor.
            query_length: number of queries.
            key_start: first key, an integer or a scalar tensor.
            key_length: number of keys.

        Returns:
            Boolean tensor that broadcasts to (batch, num_heads, query_length,
            key_length): two axes where the pattern is the same for the whole
            batch, four otherwise.
        """
        raise TypeError(f"{type(self).__name__} does not define `block`.")

    def dense(self, query_length, key_length):
        """Returns the whole mask as a boolean tensor.

        Its shape is (query_length, key_length) where the pattern is the same
        for the whole batch, (batch, 1 or num_heads, query_length, key_length)
        otherwise.
        """
        block = self.block(0, query_length, 0, key_length)
        leading = ops.shape(block)[:-2]
        return ops.broadcast_to(block, (*leading, query_length, key_length))

    def key_range(self, query_start, query_end, key_length):
        """Returns (first, last): keys outside it are hidden from the queries.

        The queries are query_start <= query < query_end, the keys
        first <= key < last; `first` may exceed `last` when no key is left.
        """
        return 0, key_length

    def visible_range(self, query_start, query_end, key_length):
        """Returns (first, last): each of the queries sees each of these keys.

        On a block of keys inside this range the mask need not be applied.
        """
        return 0, 0

    def row(self, index):
        """Returns the mask of one row of the batch.

        Its `block` has a batch axis of size 1 or none, and its ranges are
        those of the row alone.
        """
        return _Row(self, index)

    def live_keys(self, key_length):
        """Returns which keys are real: boolean (batch or 1, key_length).

        None where the mask does not say. The others are padding: no query
        sees them.
        """
        return None

    def live_queries(self, query_length):
        """Returns which queries are real: boolean (batch or 1, query_length).

        None where the mask does not say. The others are padding: they see no
        key.
        """
        return None

    def extents(self):
        """Returns (field, shape) of each tensor held, aligned with the scores.

        Each shape has four sizes that must broadcast to (batch, num_heads,
        query_length, key_length).
        """
        return ()

    def check(self, target):
        """Raises a ValueError unless the mask fits the scores.

        Args:
            target: (batch, num_heads, query_length, key_length); None for a
                size not known.
        """
        for name, shape in self.extents():
            validation.check_broadcasts(
                name,
                shape,
                target,
                validation.SCORE_AXES,
                "Did you swap the query and key axes?",
                received=validation.shape_of(getattr(self, name)),
            )

    def get_config(self):
        """Returns the fields by name; Keras registers no class without."""
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields}

    @classmethod
    def from_config(cls, config):
        """Returns the mask of these fields."""
        return cls(**config)

    def __and__(self, other):
        return And((self, as_mask(other)))

    def __rand__(self, other):
        return And((as_mask(other), self))

    def __or__(self, other):
        return Or((self, as_mask(other)))

    def __ror__(self, other):
        return Or((as_mask(other), self))


@dataclasses.dataclass(frozen=True, eq=False)
class _Row(Mask):
    """One row of a mask that does not define `row` itself."""

    mask: Mask
    index: object

    def block(self, query_start, query_length, key_start, key_length):
        block = self.mask.block(
            query_start, query_length, key_start, key_length
        )
        return ranges.row(block, self.index) if len(block.shape) > 2 else block

    def key_range(self, query_start, query_end, key_length):
        return self.mask.key_range(query_start, query_end, key_length)

    def visible_range(self, query_start, query_end, key_length):
        return self.mask.visible_range(query_start, query_end, key_length)


@dataclasses.dataclass(frozen=True, eq=False)
class And(Mask):
    """Visible where every one of `masks` is; what `a & b` makes."""

    masks: tuple

    def row(self, index):
        return And(tuple(mask.row(index) for mask in self.masks))

    def live_keys(self, key_length):
        return _all(mask.live_keys(key_length) for mask in self.masks)

    def live_queries(self, query_length):
        return _all(mask.live_queries(query_length) for mask in self.masks)

    def check(self, target):
        for mask in self.masks:
            mask.check(target)

    def block(self, query_start, query_length, key_start, key_length):
        area = (query_start, query_length, key_start, key_length)
        blocks = [mask.block(*area) for mask in self.masks]
        result = blocks[0]
        for block in blocks[1:]:
            result = ops.logical_and(result, block)
        return result

    def key_range(self, query_start, query_end, key_length):
        return ranges.intersection(
            mask.key_range(query_start, query_end, key_length)
            for mask in self.masks
        )

    def visible_range(self, query_start, query_end, key_length):
        return ranges.intersection(
            mask.visible_range(query_start, query_end, key_length)
            for mask in self.masks
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Or(Mask):
    """Visible where at least one of `masks` is; what `a | b` makes."""

    masks: tuple

    def row(self, index):
        return Or(tuple(mask.row(index) for mask in self.masks))

    def check(self, target):
        for mask in self.masks:
            mask.check(target)

    def block(self, query_start, query_length, key_start, key_length):
        area = (query_start, query_length, key_start, key_length)
        blocks = [mask.block(*area) for mask in self.masks]
        result = blocks[0]
        for block in blocks[1:]:
            result = ops.logical_or(result, block)
        return result

    def key_range(self, query_start, query_end, key_length):
        area = (query_start, query_end, key_length)
        first, last = self.masks[0].key_range(*area)
        for mask in self.masks[1:]:
            other_first, other_last = mask.key_range(*area)
            first = ranges.minimum(first, other_first)
            last = ranges.maximum(last, other_last)
        return first, last


@dataclasses.dataclass(frozen=True, eq=False)
class Array(Mask):
    """Any pattern, written out.

    Args:
        mask: tensor of shape (query_length, key_length), (batch,
            query_length, key_length) or (batch, num_heads, query_length,
            key_length), where any size may be 1: booleans, or numbers 0 and
            1, which become booleans.

    Raises:
        ValueError: if `mask` does not have two, three or four axes, or holds
            a number that is neither 0 nor 1.
    """

    mask: object

    def __post_init__(self):
        object.__setattr__(self, "mask", as_boolean("mask", self.mask))
        if len(validation.shape_of(self.mask)) not in (2, 3, 4):
            raise ValueError(
                "`mask` must have shape (query_length, key_length), (batch, "
                "query_length, key_length) or (batch, num_heads, "
                "query_length, key_length). "
                f"Received: mask.shape={validation.shape_of(self.mask)}."
            )

    def extents(self):
        shape = validation.shape_of(self.mask)
        if len(shape) == 3:
            shape = (shape[0], 1, *shape[1:])  # (B, 1, T, S)
        return (("mask", shape),)

    def block(self, query_start, query_length, key_start, key_length):
        return _array_block(
            self.mask,
            (None, None, query_start, key_start),
            (None, None, query_length, key_length),
        )

    def row(self, index):
        return _ArrayRow(self.mask, index)


@dataclasses.dataclass(frozen=True, eq=False)
class _ArrayRow(Mask):
    """One row of an `Array`, read block by block and never as a whole."""

    mask: object
    index: object

    def block(self, query_start, query_length, key_start, key_length):
        return _array_block(
            self.mask,
            (self.index, None, query_start, key_start),
            (1, None, query_length, key_length),
        )


def _array_block(mask, starts, lengths):
    mask = ops.convert_to_tensor(mask)
    if len(mask.shape) == 3:
        mask = mask[:, None]  # (B, 1, T, S)
    rank = len(mask.shape)
    return ranges.window(mask, starts[-rank:], lengths[-rank:])


def _all(parts):
    """Returns the AND of those of `parts` that are not None."""
    result = None
    for part in parts:
        if part is not None:
            result = part if result is None else ops.logical_and(result, part)
    return result


def as_mask(mask):
    """Returns `mask` as a `Mask`: a tensor becomes an `Array`, None stays."""
    return mask if mask is None or isinstance(mask, Mask) else Array(mask)


def combine_masks(*masks):
    """Returns the AND of all masks or tensors given, skipping None.

    Example:

    >>> from keras_attention import masks
    >>> mask = masks.combine_masks(masks.Causal(), None)
    >>> mask.dense(5, 7).shape
    TensorShape([5, 7])
    """
    present = tuple(as_mask(mask) for mask in masks if mask is not None)
    if len(present) > 1:
        return And(present)
    return present[0] if present else None
