"""`Mask`: what a pattern of attention has to say, ours or a user's."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.masks import ranges
from keras_attention.masks.ranges import Integer
from keras_attention.masks.ranges import Range
from keras_attention.masks.ranges import Tensor


class Mask:
    """Base of all masks: which keys each query may attend to.

    A new pattern is a frozen dataclass that implements `block`. Its fields
    are tensors (those of a functional model too), numbers, strings, None,
    masks, or tuples of them. It joins with other masks and goes to `attend`,
    to layers and through functional models as ours do; registered with Keras,
    it is saved in `.keras` files.

    `block` alone is correct. `key_range` lets blockwise attention skip keys,
    and makes the cost of a local pattern linear, `key_ranges` where the keys
    seen lie in several places; `visible_range` lets it skip the mask. `row`
    and the other methods save work where the pattern differs from row to row
    of the batch.

    Example:

    >>> import dataclasses
    >>> import keras
    >>> from keras import ops
    >>> from keras_attention import masks
    >>> @keras.saving.register_keras_serializable(package="docs")
    ... @dataclasses.dataclass(frozen=True, eq=False)
    ... class Chunks(masks.Mask):
    ...     size: int
    ...     def block(self, query_start, query_length, key_start, key_length):
    ...         query = query_start + ops.arange(query_length)  # (T,)
    ...         key = key_start + ops.arange(key_length)  # (S,)
    ...         return query[:, None] // self.size == key // self.size
    ...     def key_range(self, query_start, query_end, key_length):
    ...         first = query_start // self.size * self.size
    ...         return first, -(-query_end // self.size) * self.size
    >>> Chunks(2).dense(3, 5).numpy()
    array([[ True,  True, False, False, False],
           [ True,  True, False, False, False],
           [False, False,  True,  True, False]])
    >>> Chunks(2).key_range(2, 3, 5)  # the keys that query 2 may see
    (2, 4)
    >>> (Chunks(2) & masks.Causal()).key_range(2, 3, 5)
    (2, 3)
    """

    # Makes NumPy defer to `__rand__` and `__ror__`.
    __array_ufunc__ = None

    def block(
        self,
        query_start: Integer,
        query_length: Integer,
        key_start: Integer,
        key_length: Integer,
    ) -> Tensor:
        """Returns a boolean block of the mask.

        A block may reach past the end of the sequences: the caller hides what
        lies there, whatever its values.

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

    def dense(self, query_length: Integer, key_length: Integer) -> Tensor:
        """Returns the whole mask as a boolean tensor.

        Its shape is (query_length, key_length) where the pattern is the same
        for the whole batch, (batch, 1 or num_heads, query_length, key_length)
        otherwise.
        """
        block = self.block(0, query_length, 0, key_length)
        leading = ops.shape(block)[:-2]
        return ops.broadcast_to(block, (*leading, query_length, key_length))

    def key_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        """Returns (first, last): keys outside it are hidden from the queries.

        The queries are query_start <= query < query_end, the keys
        first <= key < last. The caller clips the range to the keys there are;
        `first` may exceed `last` when no key is left.
        """
        return 0, key_length

    def key_ranges(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> tuple[Range, ...]:
        """Returns ranges (first, last): keys outside all of them are hidden.

        Several where a pattern has gaps that blockwise attention should skip.
        Their number is fixed; they may overlap, be empty, and come in any
        order. By default the one of `key_range`, which is around all of them.
        """
        return (self.key_range(query_start, query_end, key_length),)

    def visible_range(
        self, query_start: Integer, query_end: Integer, key_length: Integer
    ) -> Range:
        """Returns (first, last): each of the queries sees each of these keys.

        On a block of keys inside this range the mask need not be applied.
        """
        return 0, 0

    def row(self, index: Integer) -> "Mask":
        """Returns the mask of one row of the batch.

        Its `block` has a batch axis of size 1 or none, and its ranges are
        those of the row alone.
        """
        return _Row(self, index)

    def key_padding(self, key_length: Integer) -> Tensor | None:
        """Returns which keys are real: boolean (batch or 1, key_length).

        None where the mask does not say. The others are padding: no query
        sees them.
        """
        return None

    def query_padding(self, query_length: Integer) -> Tensor | None:
        """Returns which queries are real: boolean (batch or 1, query_length).

        None where the mask does not say. The others are padding: they see no
        key.
        """
        return None

    def broadcast_shapes(self) -> Iterable[tuple[str, tuple]]:
        """Returns (field, shape) of each tensor held, aligned with the scores.

        Each shape has four sizes that must broadcast to (batch, num_heads,
        query_length, key_length).
        """
        return ()

    def check(self, target: tuple) -> None:
        """Raises a ValueError unless the mask fits the scores.

        Args:
            target: (batch, num_heads, query_length, key_length); None for a
                size not known.
        """
        for name, shape in self.broadcast_shapes():
            validation.check_broadcasts(
                name,
                shape,
                target,
                validation.SCORE_AXES,
                "Did you swap the query and key axes?",
                received=validation.shape_of(getattr(self, name)),
            )

    def get_config(self) -> dict:
        """Returns the fields by name; Keras registers no class without."""
        fields = dataclasses.fields(self)
        return {f.name: getattr(self, f.name) for f in fields if f.init}

    @classmethod
    def from_config(cls, config: dict) -> "Mask":
        """Returns the mask of these fields."""
        return cls(**config)

    def __and__(self, other: Any) -> "Mask":
        return _algebra().both(self, other)

    def __rand__(self, other: Any) -> "Mask":
        return _algebra().both(other, self)

    def __or__(self, other: Any) -> "Mask":
        return _algebra().either(self, other)

    def __ror__(self, other: Any) -> "Mask":
        return _algebra().either(other, self)


def _algebra():
    # What joins masks is a mask itself, so its module stands above this one.
    from keras_attention.masks import algebra

    return algebra


@dataclasses.dataclass(frozen=True, eq=False)
class _Row(Mask):
    """One row of a mask that does not define `row` itself."""

    mask: Mask
    index: Integer

    def block(self, query_start, query_length, key_start, key_length):
        block = self.mask.block(
            query_start, query_length, key_start, key_length
        )
        return ranges.row(block, self.index) if len(block.shape) > 2 else block

    def key_range(self, query_start, query_end, key_length):
        return self.mask.key_range(query_start, query_end, key_length)

    def key_ranges(self, query_start, query_end, key_length):
        return self.mask.key_ranges(query_start, query_end, key_length)

    def visible_range(self, query_start, query_end, key_length):
        return self.mask.visible_range(query_start, query_end, key_length)
