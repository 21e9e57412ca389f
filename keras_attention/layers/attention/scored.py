"""Mechanisms that make weights of a score for each key."""

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention.functional import Dropout
from keras_attention.functional.dense import weighted_values
from keras_attention.functional.dropout import coordinates
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.normalizers import check_normalizer
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.softmax import attention_weights
from keras_attention.layers.attention.mechanism import AttentionMechanism


class ScoredMechanism(AttentionMechanism):
    """Base of mechanisms that score each key; not a layer by itself.

    A subclass makes the scores of its queries in `scores`, and in `remember`
    the state after them. Its memory is a dict with the values under "value".

    Args:
        normalizer: what makes weights of scores: "softmax", "hardmax",
            "sparsemax", "entmax15", "sigmoid", or a function of scores and of
            what is visible, see `functional.attend`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(dropout=dropout, seed=seed, **kwargs)
        self.normalizer = check_normalizer(normalizer)

    def scores(self, query: Any, memory: dict[str, Any], state: Any) -> Any:
        """Returns the scores before any mask.

        Args:
            query: (batch, queries, width).
            memory: what `prepare` returned.
            state: what `initial_state` or the call before returned.

        Returns:
            Tensor (batch, queries, key_length), of at least float32.
        """
        raise TypeError(f"{type(self).__name__} does not define `scores`.")

    def remember(self, state: Any, weights: Any) -> Any:
        """Returns the state after queries that had these weights.

        Args:
            state: the state before them.
            weights: (batch, queries, key_length), of at least float32.
        """
        return state

    def project_context(self, context: Any) -> Any:
        """Returns the output of a weighted sum of values, (batch, Q, width)."""
        return context

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
        scores = self.scores(query, memory, state)
        visible = self.visible(memory, mask, ops.shape(scores))
        weights = self.weights_of(scores, visible)
        dropout = self.dropout_at(positions, seed, training)
        context = self.context_of(weights, memory, dropout)
        state = self.remember(state, weights)
        return context, ops.cast(weights, self.compute_dtype), state

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

    def weights_of(self, scores: Any, visible: Any = None) -> Any:
        """Returns the normalized weights (batch, queries, key_length).

        Args:
            scores: what `scores` returned.
            visible: what `visible` returned.
        """
        if visible is not None and len(visible.shape) == 3:
            visible = visible[:, None]
        weights = attention_weights(
            scores[:, None], visible=visible, normalizer=self.normalizer
        )  # (B, 1, Q, S)
        return weights[:, 0]

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
    ) -> Dropout | None:
        """Returns the dropout of queries at these positions, or None."""
        if not (self.dropout and training):
            return None
        seed = self.draw_seed(training) if seed is None else seed
        if positions is None:
            return Dropout(self.dropout, seed)
        return DropoutAt(self.dropout, seed, positions)

    def get_config(self) -> dict[str, Any]:
        normalizer = self.normalizer
        if not isinstance(normalizer, str):
            normalizer = keras.saving.serialize_keras_object(normalizer)
        return {**super().get_config(), "normalizer": normalizer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScoredMechanism":
        config = dict(config)
        if isinstance(config.get("normalizer"), dict):
            config["normalizer"] = keras.saving.deserialize_keras_object(
                config["normalizer"]
            )
        return cls(**config)


@dataclasses.dataclass(frozen=True, eq=False)
class DropoutAt(Dropout):
    """Dropout of queries that stand at `positions` of a longer sequence.

    So a step drops what the whole target would have dropped there.

    Args:
        rate: see `functional.Dropout`.
        seed: see `functional.Dropout`.
        positions: integer tensor (batch or 1, query_length).
    """

    positions: Any

    def with_seed_tensor(self) -> "DropoutAt":
        seed = super().with_seed_tensor().seed
        return DropoutAt(self.rate, seed, self.positions)

    def apply(self, tensor: Any) -> Any:
        # Without the custom gradient of a `Dropout`: it would close over the
        # positions, which a loop makes, and JAX differentiates the loop later.
        indices = coordinates(ops.shape(tensor), (0,) * len(tensor.shape))
        return tensor * self.apply_at(ops.ones_like(tensor), *indices)

    def bits(self, batch: Any, head: Any, query: Any, key: Any) -> Any:
        query = ops.take(self.positions, ops.reshape(query, (-1,)), axis=1)
        query = query[:, None, :, None]  # (B or 1, 1, T, 1)
        return super().bits(batch, head, query, key)
