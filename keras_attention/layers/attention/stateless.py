"""Mechanisms without a state: projections before `functional.attend`."""

import dataclasses
from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention.functional import Dropout
from keras_attention.functional import attend
from keras_attention.layers.attention.mechanism import AttentionMechanism


class StatelessMechanism(AttentionMechanism):
    """Base of the single-head layers: they differ in their score alone.

    A subclass builds its weights in `build`, projects the keys in `prepare`,
    which ends with `memory_of`, and says in `attend_inputs` what goes into
    `functional.attend`.
    """

    def memory_of(self, key: Any, value: Any, mask: Any = None) -> dict:
        """Returns the memory: projected keys, values and, if given, a mask."""
        memory = {"key": key, "value": value}
        return memory if mask is None else {**memory, "mask": mask}

    def attend_inputs(self, query: Any, key: Any) -> dict:
        """Returns the arguments of `functional.attend` that make the score.

        Args:
            query: (batch, query_length, width), as given to the layer.
            key: the keys that `prepare` has projected.

        Returns:
            A dict with `query`, `key`, `score` and, where needed, `bias`;
            query and key without the axis of heads.
        """
        raise TypeError(f"{type(self).__name__} lacks `attend_inputs`.")

    def attend(
        self,
        query: Any,
        memory: dict[str, Any],
        state: Any,
        *,
        positions: Any = None,
        mask: masks.Mask | None = None,
        seed: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        inputs = self.attend_inputs(query, memory["key"])
        for name in ("query", "key"):
            inputs[name] = inputs[name][:, :, None]  # (B, ., 1, H)
        dropout = None
        if self.dropout and training:
            seed = self.draw_seed(training) if seed is None else seed
            dropout = DropoutAt(self.dropout, seed, positions)
        result = attend(
            **inputs,
            value=memory["value"][:, :, None],  # (B, S, 1, D)
            mask=self.joined_mask(memory, mask),
            dropout=dropout,
            return_weights=return_attention_scores,
        )
        if not return_attention_scores:
            return result[:, :, 0], None, state
        context, weights = result
        return context[:, :, 0], weights[:, 0], state


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

    def bits(self, batch: Any, head: Any, query: Any, key: Any) -> Any:
        if self.positions is not None:
            query = ops.take(self.positions, ops.reshape(query, (-1,)), axis=1)
            query = query[:, None, :, None]  # (B or 1, 1, T, 1)
        return super().bits(batch, head, query, key)
