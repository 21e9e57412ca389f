"""Attention that sees where it attended to before (Chorowski)."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.history import location_features
from keras_attention.functional.normalizers import Normalizer
from keras_attention.layers.attention.history import HistoryMechanism


@keras.saving.register_keras_serializable(package="keras_attention")
class LocationSensitiveAttention(HistoryMechanism):
    """Additive attention whose score sees the weights of the query before.

    For long sources that are read from left to right, such as speech: what
    sounds alike is told apart by where it stands. With alpha_{t-1} the
    weights of the query before, zero before the first, and * a convolution
    along the keys:

        f_t      = F * alpha_{t-1}
        e_t(s)   = vector . tanh(W_q q_t + W_k k_s + U f_t(s) + bias)
        alpha_t  = softmax(e_t)

    (Chorowski et al. 2015, arXiv 1506.07503, 2.2.) With `cumulative` the
    convolution is over the sum of the weights of all earlier queries, as in
    Tacotron 2 (Shen et al. 2018, arXiv 1712.05884, 2.2). The paper also
    smooths the weights, which is `normalizer="sigmoid"`.

    Args:
        units: width of the score network.
        filters: number of filters F.
        kernel_size: how many keys a filter sees, an odd number.
        cumulative: whether to sum the weights of all earlier queries.
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
        padded query, gets zero weights and a zero output, and the next one
        sees the weights of the one before it. The output keeps the Keras mask
        of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import LocationSensitiveAttention
    >>> layer = LocationSensitiveAttention(11, filters=5, kernel_size=3)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 13))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 13]), TensorShape([2, 3, 7]))
    """

    remembered = "alignment"

    def __init__(
        self,
        units: int,
        filters: int = 32,
        kernel_size: int = 31,
        cumulative: bool = False,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(
            units, normalizer, dropout, seed, kernel_initializer, **kwargs
        )
        self.filters = validation.check_positive_integer("filters", filters)
        self.kernel_size = validation.check_positive_integer(
            "kernel_size", kernel_size
        )
        if self.kernel_size % 2 == 0:
            raise validation.invalid(
                "kernel_size",
                "odd, so that a filter sees as many keys on either side",
                kernel_size,
            )
        self.cumulative = cumulative

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        self.location_filters = self.add_kernel(
            "location_filters", (self.kernel_size, 1, self.filters)
        )
        self.location_kernel = self.add_kernel(
            "location_kernel", (self.filters, self.units)
        )

    def features(self, history: Any) -> Any:
        filters = ops.cast(self.location_filters, history.dtype)
        kernel = ops.cast(self.location_kernel, history.dtype)
        return location_features(history, filters, kernel)

    def remember(self, state: dict[str, Any], weights: Any) -> dict[str, Any]:
        before = state["alignment"]
        weights = ops.cast(weights, before.dtype)
        if self.cumulative:
            return {"alignment": before + weights}
        # A padded query has none, and is as if it were not there.
        has_some = ops.any(weights > 0, axis=-1, keepdims=True)
        return {"alignment": ops.where(has_some, weights, before)}

    def get_config(self) -> dict[str, Any]:
        config = {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "cumulative": self.cumulative,
        }
        return {**super().get_config(), **config}
