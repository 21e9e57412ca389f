"""Mechanisms without a state: projections before `functional.attend`."""

from typing import Any

from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.scored import ScoredMechanism


class StatelessMechanism(ScoredMechanism):
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
            query and key without the axis of heads. `query_bias`, (batch,
            query_length, 1), may add what is alike for all keys of a query: a
            softmax does not see it.
        """
        raise TypeError(f"{type(self).__name__} lacks `attend_inputs`.")

    def scores(self, query: Any, memory: dict[str, Any], state: Any) -> Any:
        inputs = self.attend_inputs(query, memory["key"])
        query, key = (
            at_least_float32(inputs[name])[:, :, None]  # (B, ., 1, H)
            for name in ("query", "key")
        )
        scores = inputs["score"].scores(query, key)  # (B, 1, Q, S)
        bias, query_bias = inputs.get("bias"), inputs.get("query_bias")
        scores = (scores if bias is None else scores + bias)[:, 0]
        return scores if query_bias is None else scores + query_bias

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
        # Not by way of `scores`: long targets go block by block here.
        inputs = self.attend_inputs(query, memory["key"])
        for name in ("query", "key"):
            inputs[name] = inputs[name][:, :, None]  # (B, ., 1, H)
        query_bias = inputs.pop("query_bias", None)
        if query_bias is not None and self.normalizer != "softmax":
            inputs["bias"] = inputs["bias"] + query_bias[:, None]
        result = attend(
            **inputs,
            value=memory["value"][:, :, None],  # (B, S, 1, D)
            mask=self.joined_mask(memory, mask),
            dropout=self.dropout_at(positions, seed, training),
            return_weights=return_attention_scores,
            normalizer=self.normalizer,
        )
        context, weights = result, None
        if return_attention_scores:
            context, weights = result
            weights = weights[:, 0]
        return self.project_context(context[:, :, 0]), weights, state
