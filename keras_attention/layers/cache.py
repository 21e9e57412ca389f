"""Keys and values kept from step to step, in tensors of fixed size.

The state is a dict of tensors that is passed in and comes out; no layer keeps
one. `KeyValueCache` knows how it lies in memory and what is done with it.

Letters: T kept positions, B batch, Q slots (sequences of a row, such as
beams), L new positions, K key/value heads, N heads, H width of a head.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional.step import OwnHead
from keras_attention.functional.step import OwnKeys
from keras_attention.functional.step import attend_step
from keras_attention.layers.cache_checks import check_parts
from keras_attention.layers.cache_checks import check_room
from keras_attention.layers.cache_span import Span
from keras_attention.layers.cache_span import mask_of_written

NAMES = ("key", "value")


@dataclasses.dataclass(frozen=True)
class KeyValueCache:
    """The layout of cached heads, and what is done with them.

    `key` is (length, batch, slots, num_heads, key_dim), `value` ends on
    value_dim. Positions come first, so that a step writes one block of memory
    and leaves the rest alone. Where attention has a window, the cache is a
    ring: position p lies at p modulo length, in place of one that no query
    will see again, and what a query sees is counted from its own first key.

    Args:
        num_heads: heads of key and value.
        key_dim: width of a head of the key.
        value_dim: width of a head of the value. None where the one head of
            the key is its own value, as in `LatentAttention`: then there is
            no `value`, here and in what the methods take.
        dtype: dtype of the tensors.
        window: how many positions, its own included, a query sees before it;
            None for all of them.
    """

    num_heads: int
    key_dim: int
    value_dim: int | None
    dtype: str
    window: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors, that of the value last."""
        return NAMES if self.value_dim else NAMES[:1]

    @property
    def is_ring(self) -> bool:
        """Whether positions lie modulo the length."""
        return self.window is not None

    def empty(
        self,
        batch_size: Any,
        max_length: Any,
        slots: int = 1,
        multiple_of: int = 1,
    ) -> dict:
        """Returns a cache of zeros for `max_length` positions, or a window.

        Its length is a multiple of `multiple_of`. `max_length` may be a
        scalar tensor.
        """
        length = max_length
        if self.window is not None:
            shorter = validation.is_integer(length) and length < self.window
            length = length if shorter else self.window
        length = -(-length // multiple_of) * multiple_of
        shape = (length, batch_size, slots, self.num_heads)
        widths = {"key": self.key_dim, "value": self.value_dim}
        return {
            name: ops.zeros((*shape, widths[name]), dtype=self.dtype)
            for name in self.names
        }

    def step(
        self,
        query: Any,
        key: Any,
        value: Any,
        cache: dict,
        span: Span,
        index: Any,
        *,
        mask: masks.Mask | None = None,
        ancestors: Any = None,
        **options,
    ) -> tuple:
        """Writes one position of each slot, and attends to all it then sees.

        Args:
            query: (B, Q, N, H).
            key: (B, Q, K, H).
            value: (B, Q, K, V).
            cache: what `empty` or the last step returned.
            span: what `span_of_step` returned.
            index: the position, an integer, a scalar or one per row (B,).
            mask: a mask, counted as `span` counts, or None.
            ancestors: integer tensor (B, Q, positions), the slot that holds
                the history of each slot at each position. None: its own.
            **options: more arguments of `attend_step`.

        Returns:
            The output (B, Q, N, V), the weights (B, N, Q, T) in the order of
            positions, and the new cache.
        """
        new = {"key": key, "value": value}
        cache = {
            **cache,
            **{n: self._put(cache[n], new[n], index) for n in self.names},
        }
        lying = self._ancestors_as_kept(ancestors, cache, index)
        output, weights = attend_step(
            query=query,
            key=_history(cache["key"], lying),
            value=_history(cache[self.names[-1]], lying),
            layout=OwnKeys() if self.value_dim else OwnHead(),
            mask=masks.combine_masks(span.filled, mask),
            columns=span.columns,
            **options,
        )
        if span.columns is not None:
            order = ops.argsort(span.columns, axis=-1)
            order = ops.reshape(order, (-1, 1, 1, ops.shape(order)[-1]))
            weights = ops.take_along_axis(weights, order, axis=-1)
        return output, weights, cache

    def span_of_step(self, cache: dict, index: Any) -> Span:
        """Returns the span of one step at position `index`."""
        if not self.is_ring:
            return Span(0, index, masks.Causal(index))
        length = ops.shape(cache["key"])[0]
        first = ops.cast(index, "int32") + 1 - length  # () or (B,)
        place = ops.arange(length, dtype="int32")
        columns = ops.mod(place - first[..., None], length)  # (T,) or (B, T)
        return Span(first, length - 1, mask_of_written(first, length), columns)

    def extend(self, key: Any, value: Any, cache: dict, index: Any) -> tuple:
        """Writes several positions, and returns what they may see, in order.

        Args:
            key: (B, L, K, H).
            value: (B, L, K, V).
            cache: a cache of one slot.
            index: position of the first new one, an integer, a scalar or one
                per row (B,).

        Returns:
            Keys and values (B, S, K, ...), their span, and the new cache. A
            ring may lose what the first of the new positions sees, so its
            keys are those kept before and then the new ones.
        """
        new, length = {"key": key, "value": value}, ops.shape(key)[1]
        written = {
            **cache,
            **{
                n: self._put_several(cache[n], new[n], index)
                for n in self.names
            },
        }
        kept = ops.shape(cache["key"])[0]
        if not self.is_ring:
            end = ops.cast(index, "int32") + length
            end = ops.broadcast_to(end, (ops.shape(key)[0],))
            span = Span(0, index, masks.Lengths(end))
            seen = [_in_rows(written[name]) for name in self.names]
            return seen[0], seen[-1], span, written
        place = ops.cast(index, "int32")[..., None]
        place = ops.mod(place + ops.arange(kept, dtype="int32"), kept)
        seen = [
            ops.concatenate(
                [taken(_in_rows(cache[name]), place), new[name]], axis=1
            )
            for name in self.names
        ]
        first = ops.cast(index, "int32") - kept
        span = Span(first, kept, mask_of_written(first, kept + length))
        return seen[0], seen[-1], span, written

    def repeat(self, cache: dict, slots: int) -> dict:
        """Returns a cache of one slot as one of `slots` equal ones."""
        repeated = {n: ops.repeat(cache[n], slots, axis=2) for n in self.names}
        return {**cache, **repeated}

    def seen(self, cache: dict, new_positions: int | None) -> int | None:
        """Returns how many keys the weights of a call are of."""
        kept = cache["key"].shape[0]
        if not self.is_ring or new_positions == 1:
            return kept
        return None if new_positions is None else kept + new_positions

    def reorder(self, cache: dict, parents: Any) -> dict:
        """Returns a cache whose slot k holds what `parents` (B, Q) held."""
        length = cache["key"].shape[0]
        ancestors = ops.repeat(parents[..., None], length, axis=-1)
        moved = {name: _history(cache[name], ancestors) for name in self.names}
        return {**cache, **moved}

    def check(self, cache: Any, cache_index: Any, inputs: Any) -> None:
        """Raises a ValueError unless `cache` fits, and has room for inputs."""
        if cache_index is None:
            raise validation.invalid(
                "cache_index", "given together with `cache`", cache_index
            )
        widths = {"key": self.key_dim, "value": self.value_dim}
        widths = {name: widths[name] for name in self.names}
        check_parts(cache, self.num_heads, widths, inputs.shape[0])
        kept = validation.shape_of(cache["key"])[0]
        if self.is_ring and (kept is None or kept >= self.window):
            kept = None  # it never ends
        check_room(cache_index, inputs.shape[1], kept)

    def _put(self, buffer, new, index):
        """Puts `new` (B, Q, K, H) at one position of (T, B, Q, K, H).

        Where each row has its own, one below 0 is that of padding.
        """
        length, batch = ops.shape(buffer)[:2]
        place = ops.cast(index, "int32")
        if self.is_ring:
            place = ops.mod(place, length)
        new = ops.cast(new, buffer.dtype)
        # A scatter is the one update that TensorFlow, a stock server and XLA
        # all make in place; `slice_update` is an XLA operation on TensorFlow.
        if len(place.shape) == 0:
            place = ops.reshape(place, (1, 1))
            return ops.scatter_update(buffer, place, new[None])
        rows = ops.arange(batch, dtype="int32")
        if not self.is_ring:  # a row whose position is below 0 is kept
            is_there = ops.reshape(place >= 0, (-1, 1, 1, 1))
            place = ops.maximum(place, 0)
            flat = ops.reshape(buffer, (-1, *ops.shape(buffer)[2:]))
            old = ops.take(flat, place * batch + rows, axis=0)
            new = ops.where(is_there, new, old)
        return ops.scatter_update(buffer, ops.stack([place, rows], -1), new)

    def _put_several(self, buffer, new, index):
        """Puts `new` (B, L, K, H) at positions of (T, B, 1, K, H).

        A position is found by comparing, never by slicing, so that one graph
        serves every index, every backend and a SavedModel without XLA.
        """
        kept, length = ops.shape(buffer)[0], ops.shape(new)[1]
        index = ops.cast(index, "int32")[..., None]  # (1,) or (B, 1)
        position = ops.arange(kept, dtype="int32")
        if self.is_ring:  # the last one that lies there
            last = index + length - 1
            position = last - ops.mod(last - position, kept)
        source = position - index  # which of the new: (T,) or (B, T)
        is_new = ops.logical_and(source >= 0, source < length)
        new = taken(new, ops.clip(source, 0, length - 1))  # (B, T, K, H)
        new = ops.cast(ops.swapaxes(new, 0, 1)[:, :, None], buffer.dtype)
        is_new = ops.reshape(is_new, (-1, kept))  # (1 or B, T)
        is_new = ops.expand_dims(ops.transpose(is_new), axis=(2, 3, 4))
        return ops.where(is_new, new, buffer)

    def _ancestors_as_kept(self, ancestors, cache, index):
        """Returns (B, Q, T): the slot of each history at each kept position."""
        if ancestors is None:
            return None
        kept = ops.shape(cache["key"])[0]
        positions = ops.shape(ancestors)[-1]
        if self.is_ring:
            place = ops.arange(kept, dtype="int32")
            place = index - ops.mod(index - place, kept)
            place = ops.clip(place, 0, positions - 1)
            return ops.take(ancestors, place, axis=-1)
        return ops.pad(ancestors, ((0, 0), (0, 0), (0, kept - positions)))


def _in_rows(buffer):
    """Returns (B, T, K, H) from (T, B, 1, K, H)."""
    return ops.swapaxes(buffer[:, :, 0], 0, 1)


def taken(tensor: Any, place: Any) -> Any:
    """Returns the entries `place` (S,) or (B, S) of (B, length, ...)."""
    if len(place.shape) == 1:
        return ops.take(tensor, place, axis=1)
    missing = len(tensor.shape) - len(place.shape)
    place = ops.reshape(place, (*ops.shape(place), *(1,) * missing))
    return ops.take_along_axis(tensor, place, axis=1)


def _history(buffer, ancestors):
    """Returns what each slot descends from, (T, B, Q, K, H)."""
    if ancestors is None:
        return buffer
    length, batch, slots, heads, width = ops.shape(buffer)
    rows = ops.arange(length * batch, dtype="int32") * slots
    rows = ops.reshape(rows, (length, batch, 1))
    rows = rows + ops.transpose(ops.cast(ancestors, "int32"), (2, 0, 1))
    flat = ops.reshape(buffer, (length * batch * slots, heads * width))
    chosen = ops.take(flat, rows, axis=0)  # (T, B, Q, K * H)
    return ops.reshape(chosen, (length, batch, slots, heads, width))
