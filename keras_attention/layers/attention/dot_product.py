"""Dot-product attention and its relatives (Luong, cosine, distance)."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.choices import SCORES
from keras_attention.functional import DotProductScore
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.stateless import StatelessMechanism


@keras.saving.register_keras_serializable(package="keras_attention")
class DotProductAttention(StatelessMechanism):
    """Attention whose score compares a query and a key as vectors.

    The score of a query q and a key k is one of

        "dot"       q . k                    (Luong et al. 2015, equation 8)
        "scaled"    q . k / sqrt(key_width)  (Vaswani et al. 2017, equation 1)
        "general"   (q W) . k                (Luong et al. 2015, equation 8)
        "cosine"    q . k / (|q| |k|)        (Graves et al. 2014, equation 6)
        "distance"  -|q - k|^2

        output = sum over keys of softmax(scale * score) * value

    (arXiv 1508.04025, 1706.03762 and 1410.5401.) Only "general" has a kernel
    and takes keys of another width than the queries. "cosine" lies in
    [-1, 1], so its softmax is flat unless `scale`, an inverse temperature, is
    well above 1; a vector of zeros has cosine 0 with everything. Luong's
    *concat* is `AdditiveAttention`.

    Args:
        score: "dot", "scaled", "general", "cosine" or "distance".
        use_scale: whether `scale` is learned: one weight, which starts there.
        scale: number above 0 that multiplies the score.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        kernel_initializer: initialiser of the kernel of "general".
        kernel_regularizer: regulariser of the kernel of "general".
        kernel_constraint: constraint on the kernel of "general".
        normalizer: what makes weights of scores: "softmax", "hardmax",
            "sparsemax", "entmax15", "sigmoid", or a function, see
            `functional.attend`.
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
        padded query, gets zero weights and a zero output. The output keeps
        the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit, or if queries and
            keys differ in width under a score other than "general".

    Example:

    >>> import numpy as np
    >>> from keras_attention import DotProductAttention
    >>> layer = DotProductAttention(score="cosine", scale=10.0)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 5))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 5]), TensorShape([2, 3, 7]))
    """

    def __init__(
        self,
        score: str = "scaled",
        use_scale: bool = False,
        scale: float = 1.0,
        dropout: float = 0.0,
        seed: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        normalizer: Normalizer = "softmax",
        **kwargs,
    ):
        super().__init__(normalizer, dropout, seed, **kwargs)
        self.score_name = validation.check_choice("score", score, SCORES)
        self.use_scale = use_scale
        self.scale = validation.check_positive_number("scale", scale)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        super().build(query_shape, value_shape, key_shape)
        if self.score_name == "general":
            self.kernel = self.add_weight(
                name="kernel",
                shape=(query_shape[-1], key_shape[-1]),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )
        elif query_shape[-1] != key_shape[-1]:
            raise ValueError(
                "`key` must have the width of `query` with "
                f"score='{self.score_name}'. Received: "
                f"query.shape={tuple(query_shape)}, "
                f"key.shape={tuple(key_shape)}. Use score='general'."
            )
        if self.use_scale:
            # Read in full precision: half a float is too coarse a factor.
            self.scale_weight = self.add_weight(
                name="scale",
                shape=(),
                initializer=keras.initializers.Constant(self.scale),
                autocast=False,
            )

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        key = value if key is None else key
        key = _unit(key) if self.score_name == "cosine" else key
        return self.memory_of(key, value, mask)

    def attend_inputs(self, query: Any, key: Any) -> dict:
        bias, query_bias, scale = None, None, self.scale
        if self.use_scale:
            scale = at_least_float32(self.scale_weight)
        if self.score_name == "scaled":
            scale = scale / math.sqrt(query.shape[-1])
        elif self.score_name == "general":
            # Not `matmul`: XLA cannot differentiate TensorFlow's in a loop.
            query = ops.einsum("btd,dk->btk", query, self.kernel)
        elif self.score_name == "cosine":
            query = _unit(query)
        elif self.score_name == "distance":
            # -|q-k|^2 = 2 q.k - |k|^2 - |q|^2, and softmax does not see the
            # last term. Biases, because they stay in float32 there.
            query_bias = -scale * _squared_length(query)  # (B, Q, 1)
            bias = -scale * _squared_length(key)  # (B, S, 1)
            bias = ops.transpose(bias, (0, 2, 1))[:, None]  # (B, 1, 1, S)
            scale = 2.0 * scale
        return {
            "query": query,
            "key": key,
            "score": DotProductScore(scale),
            "bias": bias,
            "query_bias": query_bias,
        }

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "score": self.score_name,
            "use_scale": self.use_scale,
            "scale": self.scale,
            "kernel_initializer": serialize(self.kernel_initializer),
            "kernel_regularizer": serialize(self.kernel_regularizer),
            "kernel_constraint": serialize(self.kernel_constraint),
        }
        return {**super().get_config(), **config}


def _squared_length(vectors):
    """Returns |x|^2 along the last axis, kept, in at least float32."""
    squares = ops.square(at_least_float32(vectors))
    return ops.sum(squares, axis=-1, keepdims=True)


def _unit(vectors):
    """Returns x / |x| along the last axis; zero, gradient too, where x is."""
    squared = _squared_length(vectors)
    has_length = squared >= np.finfo("float32").tiny
    # The unused branch must be finite: its gradient is multiplied by zero.
    safe = ops.where(has_length, squared, ops.ones_like(squared))
    unit = ops.cast(vectors, squared.dtype) * ops.rsqrt(safe)
    unit = ops.where(has_length, unit, ops.zeros_like(unit))
    return ops.cast(unit, vectors.dtype)
