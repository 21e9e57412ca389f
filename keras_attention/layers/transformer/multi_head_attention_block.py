"""The block in which one sequence or set attends to another."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.transformer.block import ResidualBlock
from keras_attention.layers.transformer.block import output_spec
from keras_attention.layers.transformer.block import without_padding


@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadAttentionBlock(ResidualBlock):
    """Multi-head attention to another sequence, then a feed-forward layer.

        H        = LayerNorm(X + Multihead(X, Y, Y))
        MAB(X,Y) = LayerNorm(H + rFF(H))

    (Set Transformer, Lee et al. 2019, arXiv 1810.00825, equations 6 and 7:
    that is `normalize_first=False`.) With `normalize_first`, X, Y and H are
    normalised instead of the sums, as Perceiver does (arXiv 2103.03206).
    Nothing here depends on the order of X or Y: the sets of
    `SetAttentionBlock` and the latents of `PerceiverEncoder` are made of it.

    Args:
        num_heads: number of attention heads.
        feed_forward_units: width of the hidden feed-forward layer.
        key_dim: width of a head. Defaults to the query width / num_heads.
        dropout: share of attention weights, and of each sublayer's output,
            dropped in training.
        activation: activation of the feed-forward layer.
        normalize_first: pre-norm if True, post-norm as in the equations if
            False.
        layer_norm_epsilon: added to the variance in the normalisation.
        seed: integer seed of the dropouts.
        attention_options: an `AttentionOptions`; of it what a
            cross-attention has.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: float tensor (batch, query_length, width), the X above.
        value: float tensor (batch, key_length, value_width), the Y above.
        query_mask, value_mask: boolean (batch, length), True = real. Each
            defaults to the Keras mask of its tensor.
        attention_mask: a further mask, as `MultiHeadAttention` takes it.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        Tensor of the shape of `query` and, if asked for, the attention
        weights (batch, num_heads, query_length, key_length).

    Masking:
        Padded values are not attended to; padded queries attend to nothing
        and are read as zeros, whatever they hold. The Keras mask of `query`
        is passed on.

    Raises:
        ValueError: if the width does not divide by `num_heads`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import MultiHeadAttentionBlock
    >>> block = MultiHeadAttentionBlock(num_heads=2, feed_forward_units=11)
    >>> block(np.ones((3, 5, 14)), np.ones((3, 7, 13))).shape
    TensorShape([3, 5, 14])
    """

    def build(self, query_shape: tuple, value_shape: tuple) -> None:
        validation.check_sequence_shape("query", query_shape)
        validation.check_sequence_shape("value", value_shape)
        self.attention = self._build_attention(
            "attention",
            query_shape,
            value_shape,
            **self._options.of_cross_attention(),
        )
        self._build_feed_forward(query_shape)
        self._build_residuals(("attention", "feed_forward"), query_shape)
        self.value_normalization = None
        if self.normalize_first:
            self.value_normalization = keras.layers.LayerNormalization(
                epsilon=self.layer_norm_epsilon,
                dtype=self.dtype_policy,
                name="value_normalization",
            )
            self.value_normalization.build(value_shape)
        self.built = True

    def call(
        self,
        query: Any,
        value: Any,
        query_mask: Any = None,
        value_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        scores = None
        query, query_mask = without_padding("query_mask", query, query_mask)
        value, value_mask = without_padding("value_mask", value, value_mask)
        if self.value_normalization is not None:
            value = self.value_normalization(value)

        def attend(x):
            nonlocal scores
            result = self.attention(
                x,
                value,
                query_mask=query_mask,
                value_mask=value_mask,
                attention_mask=attention_mask,
                return_attention_scores=return_attention_scores,
                training=training,
            )
            if return_attention_scores:
                result, scores = result
            return result

        x = self._residual(0, query, attend, training)
        x = self._residual(1, x, self._feed_forward, training)
        return (x, scores) if return_attention_scores else x

    def compute_output_shape(
        self, query_shape: tuple, value_shape: tuple
    ) -> tuple:
        return query_shape

    def compute_output_spec(
        self,
        query: Any,
        value: Any,
        query_mask: Any = None,
        value_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        length = value.shape[1]
        return output_spec(self, query, return_attention_scores, length)
