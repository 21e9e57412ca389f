"""Mechanisms that make weights of a score for each key."""

from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.normalizers import check_normalizer
from keras_attention.functional.softmax import attention_weights
from keras_attention.layers.attention.weighted import WeightedMechanism


class ScoredMechanism(WeightedMechanism):
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
