"""Attention that sees what it has attended to so far (See et al.)."""

from typing import Any

import keras
from keras import ops

from keras_attention.layers.attention.history import HistoryMechanism


@keras.saving.register_keras_serializable(package="keras_attention")
class CoverageAttention(HistoryMechanism):
    """Additive attention whose score sees how much each key was attended to.

    Against repetition in summaries and translations. With the coverage c_t,
    the sum of the weights of all queries before t:

        c_t      = sum over t' < t of alpha_t'
        e_t(s)   = vector . tanh(W_q q_t + W_k k_s + w_c c_t(s) + bias)
        alpha_t  = softmax(e_t)

    (See et al. 2017, arXiv 1704.04368, equations 10 and 11.) The paper trains
    it with a loss on the weights returned, `functional.coverage_loss`.

    Args:
        units: width of the score network.
        normalizer: what makes weights of scores: "softmax", "hardmax",
            "sparsemax", "entmax15", "sigmoid", or a function, see
            `functional.attend`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        kernel_initializer: initialiser of all weights but the bias.
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
        padded query, gets zero weights and a zero output, and covers nothing.
        The output keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import CoverageAttention
    >>> layer = CoverageAttention(11)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 13))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 13]), TensorShape([2, 3, 7]))
    """

    remembered = "coverage"

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        self.coverage_vector = self.add_kernel("coverage_vector", (self.units,))

    def features(self, history: Any) -> Any:
        vector = ops.cast(self.coverage_vector, history.dtype)
        return history[..., None] * vector  # (B, Q, S, U)

    def remember(self, state: dict[str, Any], weights: Any) -> dict[str, Any]:
        coverage = state["coverage"]
        return {"coverage": coverage + ops.cast(weights, coverage.dtype)}
