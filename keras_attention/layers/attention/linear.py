"""Attention whose cost is linear in the length."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional import linear
from keras_attention.functional.feature_maps import FeatureMap
from keras_attention.functional.feature_maps import feature_map_of
from keras_attention.functional.linear_sums import empty_state
from keras_attention.functional.padding import keep
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention import head_projections
from keras_attention.layers.attention.base import QueryValueLayer
from keras_attention.layers.attention.call_masks import has_causal_part
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.positions.position import with_objects


@keras.saving.register_keras_serializable(package="keras_attention")
class LinearAttention(QueryValueLayer):
    """Multi-head attention with a feature map in place of the softmax.

        output[t] = phi(q[t]) S / phi(q[t]) z,
        S = sum over s of phi(k[s]) v[s]^T,   z = sum over s of phi(k[s])

    (Katharopoulos et al. 2020, arXiv 2006.16236, equations 5 to 12.) Time and
    memory are linear in the length. With `use_causal_mask` the sums are those
    up to each position, and a cache of them, which does not grow, makes each
    further position cost the same. `FavorFeatures` approximates softmax.

    Without a causal mask the output is right for queries and keys of any
    size. With one, and in the weights, that is so where the heads of the keys
    are within +-60 ("elu"), or their features within a factor of e^69: beyond,
    what a query has of a key less than 128 positions before it may be lost
    where it is smaller than that.

    For long sequences, and where generating must not slow down. It recalls
    single keys worse than `MultiHeadAttention`.

    Args:
        num_heads: number of heads.
        key_dim: width of a head for query and key.
        feature_map: "elu", phi(x) = elu(x) + 1, or a `FeatureMap`, such as
            `FavorFeatures(num_features, seed)`.
        value_dim: width of a head for value; defaults to `key_dim`.
        use_bias: whether the projections have biases.
        kernel_initializer: initialiser of the kernels.
        bias_initializer: initialiser of the biases.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width).
        key: (batch, key_length, key_width); defaults to `value`.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: `masks.Lengths`, `Padding`, `QueryPadding`, `Causal()`
            or their `&`. Others would need the weights.
        return_attention_scores: whether to return the weights too, which are
            then built: (query_length, key_length) for each head.
        training: not used; there are no weights to drop.
        use_causal_mask: whether a query sees only keys up to its position.
        cache: what `make_cache` or the last call returned. The query then
            sees what the cache has seen, and the new keys up to its own
            position. Masks are those of the new positions.

    Returns:
        (batch, query_length, query_width) of the compute dtype. Then, if
        asked for, the weights (batch, num_heads, query_length, key_length).
        Then, if a cache was given, the new cache.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights, and its output is the output bias.
        The output keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit, or a mask is no
            padding.

    Example:

    >>> import numpy as np
    >>> from keras_attention import LinearAttention
    >>> layer = LinearAttention(num_heads=2, key_dim=7)
    >>> inputs = np.ones((3, 5, 14))
    >>> whole = layer(inputs, inputs, use_causal_mask=True)
    >>> cache = layer.make_cache(batch_size=3)
    >>> for position in range(5):  # the same, one position at a time
    ...     now = inputs[:, position : position + 1]
    ...     output, cache = layer(now, now, cache=cache)
    >>> bool(np.allclose(output[:, 0], whole[:, -1], atol=1e-6))
    True
    """

    # What a projection may have, and these have not.
    kernel_regularizer = bias_regularizer = _activity_regularizer = None
    kernel_constraint = bias_constraint = None

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        feature_map: str | FeatureMap = "elu",
        value_dim: int | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs,
    ):
        # The sums of a cache would be rounded: the projections cast.
        super().__init__(autocast=False, **kwargs)
        check = validation.check_positive_integer
        self.num_heads = check("num_heads", num_heads)
        self.key_dim = check("key_dim", key_dim)
        self.value_dim = check("value_dim", value_dim, optional=True)
        self.feature_map = feature_map
        self._map = feature_map_of(feature_map)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)

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
        heads = self.num_heads, self.key_dim
        values = self.num_heads, self.value_dim or self.key_dim
        project = head_projections.projection
        self.query_dense = project(self, "query", query_shape[-1:], heads)
        self.key_dense = project(self, "key", key_shape[-1:], heads)
        self.value_dense = project(self, "value", value_shape[-1:], values)
        self.output_dense = project(
            self, "attention_output", values, query_shape[-1:]
        )
        constants = self._map.projection(self.key_dim)
        self.projection = None
        if constants is not None:
            self.projection = self.add_weight(
                name="projection",
                shape=constants.shape,
                initializer=lambda shape, dtype: ops.cast(constants, dtype),
                trainable=False,
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
        *,
        cache: dict[str, Any] | None = None,
    ) -> Any:
        key = value if key is None else key
        mask = mask_for(
            (query.shape[0], self.num_heads, query.shape[1], key.shape[1]),
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask or cache is not None,
        )
        is_causal = has_causal_part(mask, "linear attention has no weights")
        self._check_call(query, key, is_causal, cache, return_attention_scores)
        real_queries = real_keys = None
        if mask is not None:
            real_queries = mask.query_padding(ops.shape(query)[1])
            real_keys = mask.key_padding(ops.shape(key)[1])
        query = keep(query, real_queries)
        inputs = {
            "query": self._features(self.query_dense(query)),
            "key": self._features(self.key_dense(keep(key, real_keys))),
            "value": self.value_dense(keep(value, real_keys)),
        }
        if real_keys is not None:
            rows = ops.shape(key)[:2]
            inputs["key_mask"] = ops.broadcast_to(real_keys, rows)
        if is_causal:
            heads, state = linear.linear_attend_causal(**inputs, state=cache)
        else:
            heads = linear.linear_attend(**inputs)
        output = self.output_dense(keep(heads, real_queries))
        scores = None
        if return_attention_scores:
            scores = self._scores(inputs, mask)
        state = None if cache is None else state
        return head_projections.one_or_all(output, scores, state)

    def _check_call(self, query, key, is_causal, cache, with_scores):
        lengths = query.shape[1], key.shape[1]
        if is_causal and None not in lengths and lengths[0] != lengths[1]:
            raise ValueError(
                "`query` and `key` must have the same length where a query "
                "sees the keys up to its position. Received: query.shape="
                f"{tuple(query.shape)}, key.shape={tuple(key.shape)}."
            )
        if cache is not None and with_scores:
            raise validation.invalid(
                "return_attention_scores",
                "False with a `cache`, which holds sums and no keys",
                with_scores,
            )

    def _features(self, heads):
        """Returns the logarithms of the features (B, T, N, M) of heads."""
        return self._map.log_features(at_least_float32(heads), self.projection)

    def _scores(self, inputs, mask):
        query, key = inputs["query"], inputs["key"]
        visible = None
        if mask is not None:
            visible = mask.dense(ops.shape(query)[1], ops.shape(key)[1])
            visible = (
                visible if len(visible.shape) == 4 else visible[None, None]
            )
        scores = linear.linear_weights(query=query, key=key, visible=visible)
        return ops.cast(scores, self.compute_dtype)

    def make_cache(self, batch_size: Any) -> dict[str, Any]:
        """Returns the cache before the first position.

        Returns:
            A dict of tensors, float32 or the wider compute dtype, whose sizes
            do not depend on a length: see `functional.linear_sums.empty_state`.
        """
        heads = keras.KerasTensor((1, 1, self.num_heads, self.key_dim))
        features = self._map.log_features(
            heads, self._map.projection(self.key_dim)
        )
        value_dim = self.value_dim or self.key_dim
        return empty_state(
            batch_size,
            self.num_heads,
            features.shape[-1],
            value_dim,
            keras.backend.result_type(self.compute_dtype, "float32"),
        )

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
        *,
        cache: dict[str, Any] | None = None,
    ) -> Any:
        scores_shape = None
        if return_attention_scores:
            lengths = query.shape[1], value.shape[1]
            scores_shape = (query.shape[0], self.num_heads, *lengths)
        return head_projections.output_spec(
            self, query.shape, scores_shape, cache
        )

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "feature_map": serialize(self.feature_map),
            "value_dim": self.value_dim,
            "use_bias": self.use_bias,
            "kernel_initializer": serialize(self.kernel_initializer),
            "bias_initializer": serialize(self.bias_initializer),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LinearAttention":
        return super().from_config(with_objects(config, "feature_map"))
