"""Attention over some axes of an input of any rank, by way of `attend`.

An input is (batch, axes..., width). Attention runs over some of its axes; the
others are free: each of their entries is one more row of the batch.

Letters: B batch, F... free axes, T... and S... the attended axes of query and
key, N heads, H width of a head.
"""

import dataclasses
import math

from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import attend
from keras_attention.functional import padding
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.masks.booleans import as_boolean


@dataclasses.dataclass(frozen=True)
class AttentionAxes:
    """Which axes of an input are attended over.

    Args:
        axes: the attended axes, counted from the front, in the order in which
            the scores show them.
        rank: number of axes of the input, batch and width included.
        num_heads: heads of the query.
    """

    axes: tuple
    rank: int
    num_heads: int

    @classmethod
    def resolve(cls, attention_axes, rank, num_heads):
        """Reads the argument `attention_axes` for inputs of this rank."""
        if attention_axes is None:
            return cls(tuple(range(1, rank - 1)), rank, num_heads)
        given = attention_axes
        given = (given,) if isinstance(given, int) else tuple(given)
        axes = tuple(axis if axis >= 0 else rank + axis for axis in given)
        inside = all(0 < axis < rank - 1 for axis in axes)
        if not axes or not inside or len(set(axes)) < len(axes):
            raise validation.invalid(
                "attention_axes",
                f"distinct axes between batch and width of {rank} axes",
                attention_axes,
            )
        return cls(axes, rank, num_heads)

    @property
    def free(self):
        """The axes that are neither batch, nor attended, nor width."""
        return tuple(x for x in range(1, self.rank - 1) if x not in self.axes)

    @property
    def is_plain(self):
        """Whether inputs are (batch, length, width): nothing to fold."""
        return self.rank == 3

    def check(self, query_shape, value_shape):
        """Raises a ValueError unless query and value go together."""
        received = (
            f"Received: query.shape={tuple(query_shape)}, "
            f"value.shape={tuple(value_shape)}."
        )
        if len(query_shape) != len(value_shape) or self.rank < 3:
            raise ValueError(
                "`query` and `value` must have the same number of axes, "
                f"(batch, length, width) or more. {received}"
            )
        for axis in self.free:
            sizes = {query_shape[axis], value_shape[axis]} - {None}
            if len(sizes) > 1:
                raise ValueError(
                    "`query` and `value` must have the same size on axis "
                    f"{axis}, which is not attended over. {received}"
                )

    def attend(self, query, key, value, mask=None, **arguments):
        """Calls `functional.attend` on heads (B, axes..., N, H).

        Args:
            query: heads of the query.
            key: heads of the key.
            value: heads of the value.
            mask: what `masks` returned, a tensor as `fold_mask` takes it, or
                None.
            **arguments: more arguments of `functional.attend`.

        Returns:
            The heads (B, axes..., N, V) and the weights (B, F..., N, T...,
            S...), or None unless `return_weights` asks for them.
        """
        output = attend(
            query=self.fold(query, trailing=2),  # (B*F, T, N, H)
            key=self.fold(key, trailing=2),  # (B*F, S, K, H)
            value=self.fold(value, trailing=2),  # (B*F, S, K, V)
            mask=self.as_mask(mask, query, key),
            **arguments,
        )
        weights = None
        if arguments.get("return_weights"):
            output, weights = output
            weights = self.unfold_scores(weights, query, key)
        return self.unfold_heads(output, query), weights

    def masks(self, query, key, attention_mask, *padding):
        """Returns the AND of the masks of a call, for `attend`, or None.

        Args:
            query: any tensor (B, axes..., ...).
            key: any tensor (B, axes..., ...).
            attention_mask: a packed mask, a tensor as `fold_mask` takes it,
                or None.
            *padding: masks of query, value and key, (B, axes...) or None.
        """
        if attention_mask is not None and not isinstance(attention_mask, dict):
            attention_mask = self.fold_mask(attention_mask, query, key)
        query_mask, value_mask, key_mask = map(self.fold, padding)
        return mask_for(
            self.folded_shape(query.shape, key.shape),
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
        )

    def zero_padding(self, mask, query, key, value):
        """Returns the inputs (B, axes..., width) with zeros at padding.

        Args:
            mask: what `masks` returned.
            query: the query.
            key: the key.
            value: the value.
        """
        if self.is_plain or mask is None:
            return padding.zero_padding(mask, query, key, value)
        sizes = self._sizes(ops.shape(query), ops.shape(key))
        rows, queries, keys = map(math.prod, sizes)
        query_padding = self._unfold_flags(
            mask.query_padding(queries), (rows, queries), query
        )
        key_padding = self._unfold_flags(
            mask.key_padding(keys), (rows, keys), key
        )
        return (
            padding.keep(query, query_padding),
            padding.keep(key, key_padding),
            padding.keep(value, key_padding),
        )

    def fold(self, tensor, trailing=0):
        """Returns (B*F, T, ...) from (B, axes..., ...).

        Args:
            tensor: a tensor with the axes of the input but its width.
            trailing: how many axes follow, 2 for (N, H).
        """
        if self.is_plain or tensor is None:
            return tensor
        kept = range(self.rank - 1, self.rank - 1 + trailing)
        tensor = ops.transpose(tensor, (0, *self.free, *self.axes, *kept))
        sizes, rows = ops.shape(tensor), 1 + len(self.free)
        end = len(sizes) - trailing
        shape = (math.prod(sizes[:rows]), math.prod(sizes[rows:end]))
        return ops.reshape(tensor, (*shape, *sizes[end:]))

    def as_mask(self, mask, query, key):
        """Returns a `masks.Mask` for folded heads from a mask or a tensor."""
        if mask is None or isinstance(mask, masks.Mask):
            return mask
        return masks.Array(self.fold_mask(mask, query, key))

    def fold_mask(self, mask, query, key):
        """Returns (B*F, N or 1, T, S) from a mask as Keras takes it.

        Its last axes are (T..., S...), and whatever stands before them is the
        beginning of (B, F..., N): size 1 stands for the axes left out.
        """
        if self.is_plain:
            return mask
        sizes = self._sizes(ops.shape(query), ops.shape(key))
        batch, queries, keys = sizes
        full = len(batch) + 1 + len(queries) + len(keys)
        shape = validation.shape_of(mask)
        lead = len(shape) - len(queries) - len(keys)
        aligned = (
            *shape[: max(lead, 0)],
            *(1,) * (full - len(shape)),
            *shape[max(lead, 0) :],
        )
        validation.check_broadcasts(
            "attention_mask",
            aligned,
            self.scores_shape(query.shape, key.shape),
            "(batch, free axes, num_heads, query axes, key axes)",
            "Did you swap the query and key axes?",
            received=shape,
        )
        heads = aligned[len(batch)]
        mask = as_boolean("attention_mask", mask)
        mask = ops.reshape(mask, self._known(mask, aligned))
        mask = ops.broadcast_to(mask, (*batch, heads, *queries, *keys))
        rows, queries, keys = map(math.prod, sizes)
        return ops.reshape(mask, (rows, heads, queries, keys))

    def unfold_heads(self, tensor, query):
        """Returns (B, axes..., N, H) from (B*F, T, N, H)."""
        if self.is_plain:
            return tensor
        batch, queries, _ = self._sizes(ops.shape(query), ops.shape(query))
        heads = tensor.shape[2:]
        tensor = ops.reshape(tensor, (*batch, *queries, *heads))
        order = (0, *self.free, *self.axes, self.rank - 1, self.rank)
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return ops.transpose(tensor, inverse)

    def _unfold_flags(self, flags, shape, tensor):
        """Returns (B, axes...) from flags that broadcast to (B*F, L)."""
        if flags is None:
            return None
        flags = ops.broadcast_to(flags, shape)[:, :, None, None]
        return self.unfold_heads(flags, tensor)[..., 0, 0]

    def unfold_scores(self, scores, query, key):
        """Returns (B, F..., N, T..., S...) from (B*F, N, T, S)."""
        if self.is_plain:
            return scores
        shape = self.scores_shape(ops.shape(query), ops.shape(key))
        return ops.reshape(scores, shape)

    def scores_shape(self, query_shape, key_shape):
        """Returns the shape of the scores that the layer gives back."""
        batch, queries, keys = self._sizes(query_shape, key_shape)
        return (*batch, self.num_heads, *queries, *keys)

    def folded_shape(self, query_shape, key_shape):
        """Returns (B*F, N, T, S), with None where a size is not known."""
        sizes = self._sizes(query_shape, key_shape)
        rows, queries, keys = (
            None if None in part else math.prod(part) for part in sizes
        )
        return rows, self.num_heads, queries, keys

    def _sizes(self, query_shape, key_shape):
        batch = tuple(query_shape[axis] for axis in (0, *self.free))
        queries = tuple(query_shape[axis] for axis in self.axes)
        keys = tuple(key_shape[axis] for axis in self.axes)
        return batch, queries, keys

    @staticmethod
    def _known(tensor, shape):
        """Fills the unknown sizes of `shape` from the tensor, in order."""
        unknown = (
            size
            for size, static in zip(
                ops.shape(tensor), validation.shape_of(tensor), strict=True
            )
            if static is None
        )
        return tuple(next(unknown) if s is None else s for s in shape)


def checked_axes(attention_axes):
    """Returns `attention_axes` as given, if it is of a type it can have."""
    is_integer = isinstance(attention_axes, int)
    if attention_axes is None or is_integer:
        return attention_axes
    if not isinstance(attention_axes, (list, tuple)):
        raise validation.invalid(
            "attention_axes", "an int, list, or tuple", repr(attention_axes)
        )
    return attention_axes
