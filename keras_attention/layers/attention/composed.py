"""Mechanisms whose scores another mechanism makes."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.attention.additive import AdditiveAttention
from keras_attention.layers.attention.scored import ScoredMechanism
from keras_attention.layers.positions.position import shared_config


class ComposedMechanism(ScoredMechanism):
    """Base of mechanisms around the scores of another; not one by itself.

    The other, `self.score`, projects queries and keys and scores them. What
    is made of the scores, a subclass says in `weights_of` or `attend`. If the
    other has a state, it is under "score" in the state of this one, and
    remembers the weights that this one makes.

    Args:
        units: width of the network of an additive score, as
            `score=AdditiveAttention(units)` has it.
        score: a mechanism that scores keys, such as
            `DotProductAttention("general")`; in place of `units`.
        normalizer: see `ScoredMechanism`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Raises:
        ValueError: unless exactly one of `units` and `score` is given.
    """

    def __init__(
        self,
        units: int | None = None,
        score: ScoredMechanism | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if (units is None) == (score is None):
            raise ValueError(
                "One of `units` and `score` must be given: units=n is short "
                "for score=AdditiveAttention(n). Received: "
                f"units={units!r}, score={score!r}."
            )
        self.units = units
        self.given_score = check_score(score)
        self.score = score
        if units is not None:
            self.score = AdditiveAttention(
                units, dtype=self.dtype_policy, name="score"
            )

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        if not self.score.built:
            self.score.build(query_shape, value_shape, key_shape)

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        return self.score.prepare(value, key, mask)

    def initial_state(self, memory: Any, slots: int = 1) -> dict[str, Any]:
        state = self.score.initial_state(memory, slots)
        return {"score": state} if keras.tree.flatten(state) else {}

    def scores(self, query: Any, memory: dict[str, Any], state: Any) -> Any:
        return self.score.scores(query, memory, state.get("score", {}))

    def remember(self, state: dict[str, Any], weights: Any) -> dict[str, Any]:
        if "score" not in state:
            return state
        remembered = self.score.remember(state["score"], weights)
        return {**state, "score": remembered}

    def project_context(self, context: Any) -> Any:
        return self.score.project_context(context)

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> tuple:
        return self.score.compute_output_shape(query_shape, value_shape)

    def get_config(self) -> dict[str, Any]:
        score = shared_config(self.given_score)
        return {**super().get_config(), "units": self.units, "score": score}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ComposedMechanism":
        score = keras.saving.deserialize_keras_object(config["score"])
        return super().from_config({**config, "score": score})


def check_score(score: Any) -> ScoredMechanism | None:
    """Returns `score` if it is None or makes scores and nothing else."""
    if score is None:
        return None
    if not isinstance(score, ScoredMechanism):
        raise validation.invalid(
            "score",
            "a mechanism that scores keys, such as AdditiveAttention(units) "
            "or DotProductAttention('general')",
            repr(score),
        )
    if score.dropout or score.normalizer != "softmax":
        raise validation.invalid(
            "score",
            "without `dropout` and `normalizer`, which belong to the "
            "mechanism around it",
            f"{type(score).__name__} with dropout={score.dropout}, "
            f"normalizer={score.normalizer!r}",
        )
    return score
