"""Attention that reads a source from left to right (Zhang et al.)."""

from typing import Any

import keras
import numpy as np
from keras import backend
from keras import ops

from keras_attention import masks
from keras_attention.functional.forward import forward_prior
from keras_attention.functional.forward import log_prior
from keras_attention.functional.forward import reweighted
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.composed import ComposedMechanism
from keras_attention.layers.attention.scored import ScoredMechanism


@keras.saving.register_keras_serializable(package="keras_attention")
class ForwardAttention(ComposedMechanism):
    """Attention whose weights stay where they were or move on by one key.

    For what is read in order, such as speech. With y_t the weights that the
    scores alone make, alpha_0 one at the first real key, and n a key:

        alpha'_t(n) = (alpha_{t-1}(n) + alpha_{t-1}(n-1)) y_t(n)
        alpha_t     = alpha'_t / sum over n of alpha'_t(n)

    (Zhang et al. 2018, arXiv 1807.06736, algorithm 1.) So query t, counted
    from 0, sees the first t + 2 keys. With the transition agent (algorithm 2)
    u_t is the probability that the next query moves on:

        alpha'_t(n) = ((1 - u_{t-1}) alpha_{t-1}(n)
                       + u_{t-1} alpha_{t-1}(n-1)) y_t(n)
        u_t         = sigmoid(vector . [context_t; q_t] + bias),  u_0 = 1/2

    The agent of the paper also sees the last output, which here the query
    knows of.

    Args:
        units: width of the network of an additive score, as
            `score=AdditiveAttention(units)` has it.
        score: a mechanism that scores keys, in place of `units`. The one of
            the paper is `LocationSensitiveAttention(units)`, which then sees
            the weights of this one.
        use_transition_agent: whether to learn when to move on.
        normalizer: what makes weights of scores: "softmax", "hardmax",
            "sparsemax", "entmax15", "sigmoid", or a function, see
            `functional.attend`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width).
        key: (batch, key_length, key_width); defaults to `value`.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: boolean (batch, query_length, key_length) or
            (query_length, key_length), True = may attend, or a
            `keras_attention.masks.Mask`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        use_causal_mask: whether a query sees only keys up to its position.

    Returns:
        (batch, query_length, value_width) of the layer's compute dtype and,
        if asked for, the weights (batch, query_length, key_length), taken
        before dropout.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights and a zero output, and the next one
        goes on from where the one before it was. Hidden keys cannot be
        skipped: the real keys of a row should stand together. The output
        keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import ForwardAttention
    >>> layer = ForwardAttention(11, use_transition_agent=True)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 13))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 13]), TensorShape([2, 3, 7]))
    """

    def __init__(
        self,
        units: int | None = None,
        score: ScoredMechanism | None = None,
        use_transition_agent: bool = False,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            units,
            score,
            normalizer=normalizer,
            dropout=dropout,
            seed=seed,
            **kwargs,
        )
        self.use_transition_agent = use_transition_agent

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        if self.use_transition_agent:
            context = self.compute_output_shape(query_shape, value_shape)
            self.transition_vector = self.add_weight(
                name="transition_vector",
                shape=(context[-1] + query_shape[-1],),
            )
            self.transition_bias = self.add_weight(
                name="transition_bias", shape=(), initializer="zeros"
            )

    def initial_state(self, memory: dict[str, Any], slots: int = 1) -> dict:
        batch, length = ops.shape(memory["value"])[:2]
        dtype = backend.result_type(memory["value"].dtype, "float32")
        real = memory.get("mask")
        if real is None:
            real = ops.ones((batch, length), "bool")
        count = ops.cumsum(ops.cast(real, "int32"), axis=1)  # (B, S)
        is_first = ops.logical_and(real, ops.equal(count, 1))
        alignment = ops.repeat(
            ops.cast(is_first, dtype)[:, None], slots, axis=1
        )  # (B, K, S)
        state = {**super().initial_state(memory, slots), "alignment": alignment}
        if self.use_transition_agent:
            state["transition"] = ops.full((batch, slots), 0.5, dtype)
        return state

    def attend(
        self,
        query: Any,
        memory: dict[str, Any],
        state: dict[str, Any],
        *,
        positions: Any = None,
        mask: masks.Mask | None = None,
        seed: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        scores = self.scores(query, memory, state)
        visible = self.visible(memory, mask, ops.shape(scores))
        prior = forward_prior(state["alignment"], state.get("transition"))
        weights = self._weights(scores, visible, prior)
        dropout = self.dropout_at(positions, seed, training)
        context = self.context_of(weights, memory, dropout)
        state = self._moved(state, weights, context, query)
        return context, ops.cast(weights, self.compute_dtype), state

    def _weights(self, scores, visible, prior):
        if self.normalizer != "softmax":
            return reweighted(self.weights_of(scores, visible), prior)
        logarithm, has_prior = log_prior(prior)
        if visible is not None:
            has_prior = ops.logical_and(has_prior, visible)
        return self.weights_of(scores + logarithm, has_prior)

    def _moved(self, state, weights, context, query):
        """Returns the state after these weights; where all are 0 it stays."""
        has_some = ops.any(weights > 0, axis=-1)  # (B, Q)
        before = state["alignment"]
        weights = ops.cast(weights, before.dtype)
        alignment = ops.where(has_some[..., None], weights, before)
        after = {**self.remember(state, weights), "alignment": alignment}
        if self.use_transition_agent:
            before = state["transition"]
            transition = ops.cast(
                self._transition(context, query), before.dtype
            )
            after["transition"] = ops.where(has_some, transition, before)
        return after

    def _transition(self, context, query):
        """Returns the probability to move on, (B, Q)."""
        seen = ops.concatenate(
            [at_least_float32(context), at_least_float32(query)], axis=-1
        )  # (B, Q, V + D)
        vector = ops.cast(self.transition_vector, seen.dtype)
        bias = ops.cast(self.transition_bias, seen.dtype)
        logit = ops.einsum("bqd,d->bq", seen, vector) + bias  # (B, Q)
        # Below 1: after the last key there is nowhere to move on to.
        return ops.minimum(ops.sigmoid(logit), 1 - np.finfo("float32").epsneg)

    def get_config(self) -> dict[str, Any]:
        config = {"use_transition_agent": self.use_transition_agent}
        return {**super().get_config(), **config}
