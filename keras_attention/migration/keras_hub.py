"""KerasHub's attention -> ours, known by its name: nothing is imported."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention.layers import MultiHeadAttention
from keras_attention.layers import RotaryEmbedding
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.attention.head_projections import one_or_all
from keras_attention.migration.weights import build_at
from keras_attention.migration.weights import copy_trainable
from keras_attention.migration.weights import move_weights
from keras_attention.migration.weights import set_weights


@keras.saving.register_keras_serializable(package="keras_attention")
class KerasHubAttention(MultiHeadAttention):
    """`MultiHeadAttention` that is called, and caches, as KerasHub's layers.

    It stands in KerasHub's models where `CachedMultiHeadAttention` or
    `CachedGemmaAttention` stood, and serves their `generate` too.

    Args:
        *args: those of `MultiHeadAttention`.
        **kwargs: those of `MultiHeadAttention`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width); defaults to `query`.
        key: (batch, key_length, key_width); defaults to `value`.
        attention_mask: as in `MultiHeadAttention`.
        cache: heads of keys and values, (batch, 2, length,
            num_key_value_heads, key_dim), or None.
        cache_update_index: where in the cache the new ones go; None takes
            the cache as it is.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        The output; then, if asked for, the weights; then, if a cache was
        given, the new cache.

    Masking:
        Keras masks are not read: KerasHub's models pass `attention_mask`.

    Raises:
        ValueError: if a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import migration
    >>> layer = migration.KerasHubAttention(2, 3)
    >>> output, cache = layer(
    ...     np.ones((5, 1, 7)),
    ...     cache=np.zeros((5, 2, 11, 2, 3)),
    ...     cache_update_index=4,
    ...     attention_mask=np.arange(11)[None, None] <= 4,
    ... )
    >>> output.shape, cache.shape
    (TensorShape([5, 1, 7]), TensorShape([5, 2, 11, 2, 3]))
    """

    needs_value = False

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple | None = None,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape or query_shape, key_shape)

    def call(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        attention_mask: Any = None,
        cache: Any = None,
        cache_update_index: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        value = query if value is None else value
        offset = 0 if cache_update_index is None else cache_update_index
        heads = self.project_query(query)  # (B, T, N, H)
        if cache is None or cache_update_index is not None:
            keys, values = self.project_key_value(value, key)
            heads, keys = self.rotate(heads, keys, offset, offset)
        if cache is not None and cache_update_index is not None:
            cache = ops.slice_update(
                cache,
                (0, 0, cache_update_index, 0, 0),
                ops.cast(ops.stack((keys, values), axis=1), cache.dtype),
            )
        if cache is not None:
            keys, values = cache[:, 0], cache[:, 1]  # (B, S, K, H)
        shape = (query.shape[0], self.num_heads, query.shape[1], keys.shape[1])
        mask = masks.combine_masks(
            mask_for(shape, attention_mask=attention_mask),
            *self.positional_masks(False, offset),
        )
        arguments = (mask, training, return_attention_scores)
        output, scores = self._compute_attention(
            heads, keys, values, *arguments
        )
        return one_or_all(self.output_of(output, query), scores, cache)

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple | None = None,
        key_shape: tuple | None = None,
    ) -> tuple:
        value_shape = value_shape or query_shape
        return super().compute_output_shape(query_shape, value_shape, key_shape)

    def compute_output_spec(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        attention_mask: Any = None,
        cache: Any = None,
        cache_update_index: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        value = query if value is None else value
        keys = value.shape if cache is None else cache[:, 0, ..., 0].shape
        shape = self.compute_output_shape(query.shape, value.shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        scores = None
        if return_attention_scores:
            shape = self._axes.scores_shape(query.shape, keys)
            scores = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if cache is not None:
            cache = keras.KerasTensor(cache.shape, dtype=cache.dtype)
        return one_or_all(output, scores, cache)


def converter_of(layer: keras.layers.Layer) -> Callable | None:
    """Returns what converts this layer of KerasHub, or None."""
    kind = type(layer)
    if kind.__module__.partition(".")[0] != "keras_hub":
        return None
    return CONVERTERS.get(kind.__name__)


def _from_multi_head(layer):
    new = KerasHubAttention.from_config(layer.get_config())
    if layer.built:
        build_at(new, layer.path, **layer.get_build_config()["shapes_dict"])
        move_weights(layer, new)
    return new


def _from_gemma(layer):
    if not layer.query_head_dim_normalize:
        raise ValueError(
            "`query_head_dim_normalize` must be True: scores are divided by "
            "sqrt(key_dim) here. Received: query_head_dim_normalize=False."
        )
    window = layer.use_sliding_window_attention
    new = KerasHubAttention(
        num_heads=layer.num_query_heads,
        key_dim=layer.head_dim,
        num_key_value_heads=layer.num_key_value_heads,
        use_bias=False,
        dropout=layer.dropout,
        sliding_window=layer.sliding_window_size if window else None,
        logit_soft_cap=layer.logit_soft_cap,
        # Gemma's heads are stored in pairs of neighbours after the rotation,
        # queries and keys alike, which no score can see.
        position=RotaryEmbedding(dtype=layer.dtype_policy),
        kernel_initializer=layer._kernel_initializer,
        name=layer.name,
        dtype=layer.dtype_policy,
        trainable=layer.trainable,
    )
    if layer.built:
        build_at(new, layer.path, (None, None, layer.hidden_dim))
        *projections, output = (
            ops.convert_to_numpy(weight) for weight in layer.weights
        )
        # (N, width, H) there, (width, N, H) here.
        projections = [kernel.swapaxes(0, 1) for kernel in projections]
        set_weights(new, [*projections, output])
        copy_trainable(layer, new)
    return new


CONVERTERS = {
    "CachedMultiHeadAttention": _from_multi_head,
    "CachedGemmaAttention": _from_gemma,
}
