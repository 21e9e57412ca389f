"""Differential attention: what two attentions agree on is taken away."""

from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import differential
from keras_attention.functional import padding
from keras_attention.layers.attention import head_projections
from keras_attention.layers.attention.base import AttentionLayer
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.attention.head_projections import one_or_all
from keras_attention.layers.attention.head_projections import output_spec


@keras.saving.register_keras_serializable(package="keras_attention")
class DifferentialAttention(AttentionLayer):
    """Multi-head attention whose weights are a difference of two softmaxes.

        A_i    = softmax(Q_i,1 K_i,1^T / sqrt(key_dim))
                 - lambda softmax(Q_i,2 K_i,2^T / sqrt(key_dim))
        lambda = exp(lambda_q1 . lambda_k1) - exp(lambda_q2 . lambda_k2)
                 + lambda_init
        head_i = (1 - lambda_init) RMSNorm(A_i V_i)
        output = W_O [head_1, ..., head_num_heads]

    (Differential Transformer, Ye et al. 2024, arXiv 2410.05258, equations 1
    to 3.) Weight that both softmaxes spread over keys that do not matter
    cancels out, as noise does in a differential amplifier. Weights may be
    negative, and those of a query sum to 1 - lambda. There are no biases.

    For long contexts of which little matters. Each head costs two of
    `MultiHeadAttention`: take half as many. It knows no positions and keeps no
    cache.

    Args:
        num_heads: number of heads.
        key_dim: width of each of the two queries and keys of a head.
        value_dim: width of a head for value; defaults to 2 * key_dim, as in
            the paper.
        lambda_init: what lambda is near before training; the paper has 0.8 -
            0.6 exp(-0.3 (l - 1)) in layer l = 1, 2, ..., or 0.8 throughout.
        dropout: share of attention weights dropped in training.
        kernel_initializer: initialiser of the kernels.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width).
        key: (batch, key_length, key_width); defaults to `value`.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: boolean (query_length, key_length), (batch,
            query_length, key_length) or (batch, num_heads, query_length,
            key_length), True = may attend, or a `masks.Mask`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        use_causal_mask: whether a query sees only keys up to its position.

    Returns:
        (batch, query_length, query_width) of the compute dtype and, if asked
        for, the weights (batch, num_heads, query_length, key_length), taken
        before dropout.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights and zero output. The output keeps the
        Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import DifferentialAttention
    >>> layer = DifferentialAttention(num_heads=2, key_dim=5)
    >>> inputs = np.ones((3, 7, 11))
    >>> layer(inputs, inputs, use_causal_mask=True).shape
    TensorShape([3, 7, 11])
    """

    # What a projection may have, and these have not.
    use_bias, bias_initializer = False, keras.initializers.Zeros()
    kernel_regularizer = bias_regularizer = _activity_regularizer = None
    kernel_constraint = bias_constraint = None

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        lambda_init: float = 0.8,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(dropout=dropout, seed=seed, **kwargs)
        check = validation.check_positive_integer
        self.num_heads = check("num_heads", num_heads)
        self.key_dim = check("key_dim", key_dim)
        value_dim = check("value_dim", value_dim, optional=True)
        self.value_dim = value_dim or 2 * self.key_dim
        self.lambda_init = validation.check_rate("lambda_init", lambda_init)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        for name, shape in (
            ("query", query_shape),
            ("value", value_shape),
            ("key", key_shape),
        ):
            validation.check_sequence_shape(name, shape)
        head_projections.check_lengths(value_shape, key_shape)
        project = head_projections.projection
        pairs = 2, self.num_heads, self.key_dim
        values = self.num_heads, self.value_dim
        self.query_dense = project(self, "query", query_shape[-1:], pairs)
        self.key_dense = project(self, "key", key_shape[-1:], pairs)
        self.value_dense = project(self, "value", value_shape[-1:], values)
        self.lambda_query, self.lambda_key = (
            self.add_weight(
                name=name,
                shape=(2, self.key_dim),
                initializer=keras.initializers.RandomNormal(stddev=0.1),
                autocast=False,  # exponents keep their digits
            )
            for name in ("lambda_query", "lambda_key")
        )
        self.head_norm = head_projections.normalization(
            self, "head_norm", "rms", self.value_dim
        )
        self.output_dense = project(
            self, "attention_output", values, query_shape[-1:]
        )
        self.built = True

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        mask = mask_for(
            (query.shape[0], self.num_heads, query.shape[1], key.shape[1]),
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
        )
        query, key, value = padding.zero_padding(mask, query, key, value)
        heads, scores = differential.differential_attend(
            query=self.query_dense(query),  # (B, T, 2, N, H)
            key=self.key_dense(key),  # (B, S, 2, N, H)
            value=self.value_dense(value),  # (B, S, N, V)
            subtracted=differential.subtracted_share(
                self.lambda_query, self.lambda_key, self.lambda_init
            ),
            mask=masks.combine_masks(
                padding.zeroed(mask),
                masks.Causal() if use_causal_mask else None,
            ),
            dropout=self.dropout_for(training),
            return_weights=return_attention_scores,
        )
        if scores is not None:
            scores = ops.cast(scores, self.compute_dtype)
        heads = self.head_norm(heads) * (1.0 - self.lambda_init)
        return one_or_all(self.output_dense(heads), scores)

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> tuple:
        return query_shape

    def compute_output_spec(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        scores_shape = None
        if return_attention_scores:
            lengths = query.shape[1], value.shape[1]
            scores_shape = (query.shape[0], self.num_heads, *lengths)
        return output_spec(self, query.shape, scores_shape)

    def get_config(self) -> dict[str, Any]:
        initializer = keras.saving.serialize_keras_object(
            self.kernel_initializer
        )
        config = {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "lambda_init": self.lambda_init,
            "kernel_initializer": initializer,
        }
        return {**super().get_config(), **config}
