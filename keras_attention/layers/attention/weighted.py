"""Mechanisms that make one weight for each key."""

import dataclasses
from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention.functional import Dropout
from keras_attention.functional.dense import weighted_values
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.mechanism import AttentionMechanism


class WeightedMechanism(AttentionMechanism):
    """Base of mechanisms that make weights themselves; not a layer by itself.

    It says which keys a query sees, and what weights find, so that `attend`
    of a subclass has only the weights left to make. Its memory is a dict with
    the values under "value".

    Args:
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def project_context(self, context: Any) -> Any:
        """Returns the output of a weighted sum of values, (batch, Q, width)."""
        return context

    def visible(
        self, memory: dict[str, Any], mask: masks.Mask | None, shape: tuple
    ) -> Any:
        """Returns which keys each query sees, or None where it sees all.

        Args:
            memory: what `prepare` returned.
            mask: what the query side adds, or None.
            shape: sizes (batch, queries, key_length).

        Returns:
            Boolean tensor that broadcasts to (batch, queries, key_length).
        """
        joined = self.joined_mask(memory, mask)
        if joined is None:
            return None
        visible = joined.block(0, shape[1], 0, shape[2])
        # A mask of queries and keys alone has two axes.
        return visible[:, 0] if len(visible.shape) == 4 else visible

    def context_of(
        self,
        weights: Any,
        memory: dict[str, Any],
        dropout: Dropout | None = None,
    ) -> Any:
        """Returns what the weights find, (batch, queries, width)."""
        value = at_least_float32(memory["value"])[:, :, None]  # (B, S, 1, V)
        context = weighted_values(weights[:, None], value, dropout)
        context = ops.cast(context[:, :, 0], self.compute_dtype)
        return self.project_context(context)

    def dropout_at(
        self, positions: Any, seed: Any, training: bool | None
    ) -> "DropoutAt | None":
        """Returns the dropout of queries at these positions, or None."""
        if not (self.dropout and training):
            return None
        seed = self.draw_seed(training) if seed is None else seed
        return DropoutAt(self.dropout, seed, positions)


@dataclasses.dataclass(frozen=True, eq=False)
class DropoutAt(Dropout):
    """Dropout of queries that stand at `positions` of a longer sequence.

    So a step drops what the whole target would have dropped there.

    Args:
        rate: see `functional.Dropout`.
        seed: see `functional.Dropout`.
        positions: integer tensor (batch or 1, query_length), or None for 0,
            1, 2, ...
    """

    positions: Any = None

    def with_seed_tensor(self) -> "DropoutAt":
        seed = super().with_seed_tensor().seed
        return DropoutAt(self.rate, seed, self.positions)

    def apply(self, tensor: Any) -> Any:
        if self.positions is None:
            return super().apply(tensor)
        # Not by a gradient of its own: JAX would lose the positions of a loop
        # in it. The bits of one step are few enough to be kept.
        kept = tensor * (1.0 / (1.0 - self.rate))
        keep = self.keep(ops.shape(tensor))
        return ops.where(keep, kept, ops.zeros_like(tensor))

    def bits(self, batch: Any, head: Any, query: Any, key: Any) -> Any:
        if self.positions is not None:
            rows, length = ops.shape(self.positions)
            # One row may stand for all. Blocks read past the last query, and
            # drop what they find there.
            row = ops.minimum(batch, rows - 1)
            place = row * length + ops.minimum(query, length - 1)
            query = ops.take(ops.reshape(self.positions, (-1,)), place)
        return super().bits(batch, head, query, key)


def unless_blind(new: Any, old: Any, visible: Any = None) -> Any:
    """Returns `new`, and `old` for queries that see no key at all.

    A padded query must not move what later queries start from.

    Args:
        new: tensor (batch, queries, ...), part of the state after the queries.
        old: tensor of the same shape and dtype, the part before them.
        visible: what `WeightedMechanism.visible` returned.
    """
    if visible is None:
        return new
    return ops.where(ops.any(visible, axis=-1, keepdims=True), new, old)
