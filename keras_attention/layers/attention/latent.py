"""Multi-head latent attention: a small cache for many heads."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import DotProductScore
from keras_attention.functional import attend
from keras_attention.functional import latent as latents
from keras_attention.functional import padding
from keras_attention.layers.attention import cached_call
from keras_attention.layers.attention import head_projections
from keras_attention.layers.attention.base import AttentionLayer
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.attention.head_projections import one_or_all
from keras_attention.layers.attention.head_projections import output_spec
from keras_attention.layers.cache import KeyValueCache
from keras_attention.layers.initializers import cloned
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.positions.position import with_objects
from keras_attention.layers.positions.rotary import RotaryEmbedding
from keras_attention.layers.positions.rotation import Rotation


@keras.saving.register_keras_serializable(package="keras_attention")
class LatentAttention(AttentionLayer):
    """Multi-head attention whose cache holds one latent for all heads (MLA).

        c[s]   = RMSNorm(W_DKV h[s]),     k_R[s] = RoPE(W_KR h[s])
        k_i[s] = [W_UK,i c[s]; k_R[s]],   v_i[s] = W_UV,i c[s]
        q_i[t] = [W_UQ,i c_Q[t]; RoPE(W_QR,i c_Q[t])]
        head_i = softmax(q_i k_i^T / sqrt(key_dim + rotary_dim)) v_i
        output = W_O [head_1, ..., head_num_heads]

    (DeepSeek-V2, Liu et al. 2024, arXiv 2405.04434, equations 9 to 19, and
    the normalisations of its section 3.1.2.) c_Q = RMSNorm(W_DQ h) with
    `query_latent_dim`, else h itself. The rotary part is apart from the rest,
    since a rotation between W_UK and the query could not be moved.

    For decoders that keep long sequences: a cache has latent_dim + rotary_dim
    numbers for each position, where that of `MultiHeadAttention` has
    num_heads * (key_dim + value_dim). A call without a cache makes the keys
    and values of each head; one with a cache makes none, but moves W_UK to the
    query and W_UV behind the sum. Both give the same numbers. There are no
    biases.

    Args:
        num_heads: number of heads.
        key_dim: width of a head for query and key, the rotary part aside.
        latent_dim: width of the latent of keys and values.
        rotary_dim: even width of the part with positions; defaults to
            key_dim / 2, as in the paper.
        value_dim: width of a head for value; defaults to `key_dim`.
        query_latent_dim: width of the latent of queries, which saves weights
            and no cache. None: queries are projected at once.
        dropout: share of attention weights dropped in training.
        kernel_initializer: initialiser of the kernels.
        seed: integer seed of the dropout.
        position: what rotates the rotary part, such as `RotaryEmbedding`
            with a scaling, whose temperature is that of the whole score
            (3.1.4); defaults to `RotaryEmbedding(interleaved=True)`, as in
            the paper's model.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width).
        key: None, or the very tensor given as `value`: keys and values are
            made of one latent.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: boolean (query_length, key_length), (batch,
            query_length, key_length) or (batch, num_heads, query_length,
            key_length), True = may attend, or a `masks.Mask`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        use_causal_mask: whether a query sees only keys up to its position.
        cache: what `make_cache` or the last call returned; as in
            `MultiHeadAttention`.
        cache_index: how many positions came before, an integer, a scalar or
            one per row (batch,).

    Returns:
        (batch, query_length, query_width) of the compute dtype. Then, if
        asked for, the weights (batch, num_heads, query_length, key_length),
        taken before dropout. Then, if a cache was given, the new cache.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights and zero output. The output keeps the
        Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import LatentAttention
    >>> layer = LatentAttention(num_heads=4, key_dim=8, latent_dim=6)
    >>> inputs = np.ones((3, 5, 14))
    >>> whole = layer(inputs, inputs, use_causal_mask=True)
    >>> cache = layer.make_cache(batch_size=3, max_length=5)
    >>> cache["key"].shape
    TensorShape([5, 3, 1, 1, 10])
    >>> for position in range(5):  # the same, one position at a time
    ...     now = inputs[:, position : position + 1]
    ...     output, cache = layer(now, now, cache=cache, cache_index=position)
    >>> bool(np.allclose(output[:, 0], whole[:, -1], atol=1e-6))
    True
    """

    # What a projection may have, and these have not.
    use_bias, bias_initializer = False, keras.initializers.Zeros()
    kernel_regularizer = bias_regularizer = _activity_regularizer = None
    kernel_constraint = bias_constraint = None
    # What `cached_call` asks of an attention.
    overrides_attention = False

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        latent_dim: int,
        rotary_dim: int | None = None,
        value_dim: int | None = None,
        query_latent_dim: int | None = None,
        dropout: float = 0.0,
        kernel_initializer: Any = "glorot_uniform",
        seed: int | None = None,
        *,
        position: Rotation | None = None,
        **kwargs,
    ):
        super().__init__(dropout=dropout, seed=seed, **kwargs)
        check = validation.check_positive_integer
        self.num_heads = check("num_heads", num_heads)
        self.key_dim = check("key_dim", key_dim)
        self.latent_dim = check("latent_dim", latent_dim)
        rotary_dim = check("rotary_dim", rotary_dim, optional=True)
        self.rotary_dim = rotary_dim or self.key_dim // 2
        if self.rotary_dim % 2 or not self.rotary_dim:
            raise validation.invalid(
                "rotary_dim",
                "an even number above 0",
                self.rotary_dim,
                f"It defaults to half of key_dim={key_dim}.",
            )
        value_dim = check("value_dim", value_dim, optional=True)
        self.value_dim = value_dim or self.key_dim
        self.query_latent_dim = check(
            "query_latent_dim", query_latent_dim, optional=True
        )
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        if position is None:
            position = RotaryEmbedding(interleaved=True)
        if not isinstance(position, Rotation):
            raise validation.invalid(
                "position",
                "a rotation, such as RotaryEmbedding(), or None",
                repr(position),
            )
        self.position = position

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        validation.check_sequence_shape("query", query_shape)
        validation.check_sequence_shape("value", value_shape)
        project = head_projections.projection
        heads, latent_dim = self.num_heads, self.latent_dim
        query_width, value_width = query_shape[-1:], value_shape[-1:]
        self.query_down = self.query_norm = None
        if self.query_latent_dim:
            width = (self.query_latent_dim,)
            self.query_down = project(self, "query_down", query_width, width)
            self.query_norm = head_projections.normalization(
                self, "query_norm", "rms", *width
            )
            query_width = width
        self.query_dense = project(
            self, "query", query_width, (heads, self.key_dim + self.rotary_dim)
        )
        self.latent_dense = project(self, "latent", value_width, (latent_dim,))
        self.latent_norm = head_projections.normalization(
            self, "latent_norm", "rms", latent_dim
        )
        self.rotary_key_dense = project(
            self, "rotary_key", value_width, (1, self.rotary_dim)
        )
        # Weights and not layers, whose kernels `quantize` turns to integers:
        # the absorbed form multiplies them with other things than latents.
        self.key_kernel = self._kernel("key_kernel", self.key_dim)
        self.value_kernel = self._kernel("value_kernel", self.value_dim)
        self.output_dense = project(
            self, "attention_output", (heads, self.value_dim), query_shape[-1:]
        )
        if not self.position.built:
            self.position.build((query_shape[0], None, heads, self.rotary_dim))
        self.built = True

    def _kernel(self, name, width):
        return self.add_weight(
            name=name,
            shape=(self.latent_dim, self.num_heads, width),
            initializer=cloned(self.kernel_initializer),
        )

    def _check_inputs(self, query=None, value=None, key=None, *_, **__):
        super()._check_inputs(query, value)
        if key is not None and key is not value:
            raise ValueError(
                "`key` must be None or the very tensor given as `value`: keys "
                "and values are made of one latent. Received: key of shape "
                f"{validation.shape_of(key)}. Write `layer(query, value)`."
            )

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
        cache_index: Any = None,
    ) -> Any:
        given = {
            "query_mask": query_mask,
            "value_mask": value_mask,
            "key_mask": key_mask,
            "attention_mask": attention_mask,
        }
        options = {
            "use_causal_mask": use_causal_mask,
            "training": training,
            "return_attention_scores": return_attention_scores,
        }
        if cache is None and cache_index is None:
            output, scores = self._call_whole(query, value, given, **options)
        else:
            output, scores, cache = cached_call.call(
                self, query, value, value, given, cache, cache_index, **options
            )
        return one_or_all(output, scores, cache)

    def _call_whole(self, query, value, given, *, use_causal_mask, **options):
        """Attends to keys and values of each head, without a cache."""
        shape = (query.shape[0], self.num_heads, query.shape[1], value.shape[1])
        mask = mask_for(shape, **given)
        query, _, value = padding.zero_padding(mask, query, value, value)
        mask = masks.combine_masks(
            padding.zeroed(mask), *self.positional_masks(use_causal_mask)
        )
        heads = self._query_heads(query)
        latent, rotary_key = self._latent_and_rotary_key(value)
        heads, rotary_key = self.rotate(heads, rotary_key)
        key, value = latents.expand_latents(
            latent, rotary_key, self.key_kernel, self.value_kernel
        )
        heads, scores = self._compute_attention(
            heads, key, value, mask, **options
        )
        return self.output_dense(heads), scores

    def _query_heads(self, query):
        """Returns (B, T, N, H + R), not rotated (equations 12 to 14)."""
        if self.query_down is not None:
            query = self.query_norm(self.query_down(query))
        return self.query_dense(query)

    def _latent_and_rotary_key(self, value):
        """Returns (B, S, C) and (B, S, 1, R), not rotated (9 and 15)."""
        latent = self.latent_norm(self.latent_dense(value))
        return latent, self.rotary_key_dense(value)

    def rotate(
        self, query: Any, key: Any, query_offset: Any = 0, key_offset: Any = 0
    ) -> tuple:
        """Returns heads, (..., at least rotary_dim), that know their positions.

        Their last features, as many as `rotary_dim`, are rotated. What
        multiplies these in both is a factor of the whole score.
        """
        place = -self.rotary_dim
        rotated = self.position.rotate(
            query[..., place:], key[..., place:], query_offset, key_offset
        )
        magnitude = getattr(self.position, "magnitude", 1.0)
        rest = [query[..., :place], key[..., :place]]
        if magnitude != 1.0:
            rest[0] = rest[0] * magnitude**2
        return tuple(
            ops.concatenate(parts, axis=-1)
            for parts in zip(rest, rotated, strict=True)
        )

    def _compute_attention(
        self, query, key, value, mask, training, return_attention_scores
    ):
        output = attend(
            query=query,
            key=key,
            value=value,
            mask=mask,
            return_weights=return_attention_scores,
            **self.score_options(training),
        )
        return output if return_attention_scores else (output, None)

    # --- the absorbed form, as `cached_call` and steps ask for it -------------

    def joined_projections(self) -> tuple:
        """Returns no projections: steps make none in one product."""
        return ()

    def project_query(self, query: Any) -> Any:
        """Returns what asks latents, (batch, length, num_heads, C + R).

        C is `latent_dim` and R `rotary_dim`, of what is not rotated yet.
        """
        return latents.absorb_query(self._query_heads(query), self.key_kernel)

    def project_key_value(self, value: Any, key: Any = None) -> tuple:
        """Returns what is kept, (batch, length, 1, C + R), and None."""
        latent, rotary_key = self._latent_and_rotary_key(value)
        latent = latent[:, :, None]  # (B, S, 1, C)
        return ops.concatenate([latent, rotary_key], axis=-1), None

    def bias(
        self, query: Any, query_offset: Any = 0, key_offset: Any = 0
    ) -> dict[str, Any]:
        """Returns {}: a rotation adds nothing to scores."""
        return {}

    def positional_masks(
        self, use_causal_mask: bool, offset: Any = 0
    ) -> Iterator[masks.Mask]:
        """Yields the masks that compare positions, for a query at `offset`."""
        if use_causal_mask:
            yield masks.Causal(offset)

    def output_of(self, heads: Any, query: Any) -> Any:
        """Returns the output from sums of what is kept, (B, T, N, C + R)."""
        return self.output_dense(
            latents.values_of_latents(heads, self.value_kernel)
        )

    def score_options(self, training: bool | None = False) -> dict[str, Any]:
        """Returns what every implementation of `attend` is given."""
        scale = (self.key_dim + self.rotary_dim) ** -0.5
        return {
            "score": DotProductScore(scale),
            "dropout": self.dropout_for(training),
        }

    @property
    def cache_layout(self) -> KeyValueCache:
        """The `KeyValueCache` of this layer."""
        width = self.latent_dim + self.rotary_dim
        return KeyValueCache(1, width, None, self.compute_dtype)

    def make_cache(self, batch_size: Any, max_length: Any) -> dict[str, Any]:
        """Returns an empty cache for `max_length` positions.

        Returns:
            A dict with `key`, (max_length, batch_size, 1, 1, latent_dim +
            rotary_dim): the latent and the rotated key of each position.
        """
        return self.cache_layout.empty(batch_size, max_length)

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
        cache_index: Any = None,
    ) -> Any:
        scores_shape, length = None, query.shape[1]
        if return_attention_scores:
            keys = value.shape[1]
            if cache is not None:
                keys = self.cache_layout.seen(cache, length)
            scores_shape = (query.shape[0], self.num_heads, length, keys)
        return output_spec(self, query.shape, scores_shape, cache)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "latent_dim": self.latent_dim,
            "rotary_dim": self.rotary_dim,
            "value_dim": self.value_dim,
            "query_latent_dim": self.query_latent_dim,
            "kernel_initializer": serialize(self.kernel_initializer),
            "position": shared_config(self.position),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LatentAttention":
        return super().from_config(with_objects(config, "position"))
