"""Attention to a fixed number of mixtures of keys."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.padding import keep
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.run_time import check_when_run
from keras_attention.layers.attention.shortened import ShortenedAttention


@keras.saving.register_keras_serializable(package="keras_attention")
class LowRankAttention(ShortenedAttention):
    """Multi-head attention to `rank` learned mixtures of keys and values.

        head_i = softmax(Q W_q,i (E K W_k,i)^T / sqrt(key_dim)) F V W_v,i

    (Linformer, Wang et al. 2020, arXiv 2006.04768, equation 7; E and F are
    shared by the heads.) E and F mix positions, so the cost is length times
    `rank`; the layer knows positions apart, up to `max_length`, and cannot be
    causal. Padding is zero before it is mixed.

    For long inputs of bounded length in encoders. `PooledAttention` mixes
    without weights and without a bound.

    Args:
        num_heads: number of heads.
        key_dim: width of a head for query and key.
        rank: number of mixtures, the paper's k.
        max_length: number of keys at most.
        value_dim: width of a head for value; defaults to `key_dim`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width).
        key: (batch, key_length, key_width); defaults to `value`.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: `masks.Lengths`, `Padding`, `QueryPadding` or their
            `&`. Others would need one weight per key.
        return_attention_scores: whether to return the weights of the mixtures
            too.
        training: whether dropout is on.
        use_causal_mask: refused.

    Returns:
        (batch, query_length, query_width) of the compute dtype and, if asked
        for, the weights (batch, num_heads, query_length, rank).

    Masking:
        Padding takes no part in a mixture. A padded query, and a row without
        a real key, gets zero weights, and its output is the output bias. The
        output keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit, a mask is no
            padding, or there are more than `max_length` keys. In a graph that
            does not know their number, the same as an error of TensorFlow
            when it runs; compiled by XLA, which has no such errors, the
            output is NaN.

    Example:

    >>> import numpy as np
    >>> from keras_attention import LowRankAttention
    >>> layer = LowRankAttention(2, key_dim=7, rank=3, max_length=101)
    >>> inputs = np.ones((3, 11, 14))
    >>> output, weights = layer(inputs, inputs, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([3, 11, 14]), TensorShape([3, 2, 11, 3]))
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        rank: int,
        max_length: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(num_heads, key_dim, value_dim, dropout, seed, **kwargs)
        self.rank = validation.check_positive_integer("rank", rank)
        self.max_length = validation.check_positive_integer(
            "max_length", max_length
        )

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        self.key_mixture, self.value_mixture = (
            self.add_weight(
                name=name,
                shape=(self.max_length, self.rank),
                # As those of the theorem that the method rests on.
                initializer=keras.initializers.RandomNormal(
                    stddev=self.rank**-0.5
                ),
            )
            for name in ("key_mixture", "value_mixture")
        )

    def shorten(self, key: Any, value: Any, real_keys: Any) -> tuple:
        self._check_length(key.shape[1])
        shortened = (
            self._mix(keep(key, real_keys), self.key_mixture),
            self._mix(keep(value, real_keys), self.value_mixture),
        )
        if real_keys is None and key.shape[1]:
            return *shortened, None
        if real_keys is None:
            real_keys = ops.ones(ops.shape(key)[:2], dtype="bool")
        # Mixtures of nothing are zeros, which the projections have biases on.
        is_real = ops.any(real_keys, axis=1, keepdims=True)  # (B, 1)
        return *shortened, ops.repeat(is_real, self.rank, axis=1)

    def _mix(self, tensor, mixture):
        """Returns the mixtures (B, rank, D) of a tensor (B, S, D)."""
        mixture = self._of_length(mixture, ops.shape(tensor)[1])  # (S, rank)
        mixed = ops.einsum(
            "bsd,sr->brd", *map(at_least_float32, (tensor, mixture))
        )
        return ops.cast(mixed, self.compute_dtype)

    def _of_length(self, mixture, length):
        """Returns the first `length` rows of a mixture (max_length, rank)."""
        mixture = ops.convert_to_tensor(mixture)
        if not validation.is_integer(length):
            check_when_run(length <= self.max_length, self._too_long(), length)
            # Rows of NaN for positions that nothing was learned of.
            missing = ops.maximum(length - self.max_length, 0)
            mixture = ops.pad(
                mixture, ((0, missing), (0, 0)), constant_values=float("nan")
            )
        return mixture[:length]  # (length, rank)

    def short_length(self, key_length: int | None) -> int | None:
        self._check_length(key_length)
        return self.rank

    def _check_length(self, length):
        if length is not None and length > self.max_length:
            raise ValueError(f"{self._too_long()} Received: {length}.")

    def _too_long(self):
        return (
            f"`value` must have at most max_length={self.max_length} "
            "positions: choose a larger `max_length`."
        )

    def get_config(self) -> dict[str, Any]:
        config = {"rank": self.rank, "max_length": self.max_length}
        return {**super().get_config(), **config}
