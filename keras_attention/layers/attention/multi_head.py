"""Multi-head attention: Keras's layer, and more."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import attend
from keras_attention.functional import padding
from keras_attention.layers.attention import cached_call
from keras_attention.layers.attention import head_projections
from keras_attention.layers.attention.axes import AttentionAxes
from keras_attention.layers.attention.axes import checked_axes
from keras_attention.layers.attention.base import AttentionLayer
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.attention.head_projections import one_or_all
from keras_attention.layers.cache import KeyValueCache
from keras_attention.layers.positions.position import check_heads
from keras_attention.layers.positions.position import checked_position
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.positions.position import with_objects

IMPLEMENTATION = {None: "auto", True: "flash", False: "dense"}


# Composed, not inherited: Keras 3.12 to 3.15 differ in the constructor and in
# every private method that would have to be replaced, and all of them would.
@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadAttention(AttentionLayer):
    """Multi-head attention; drop-in for `keras.layers.MultiHeadAttention`.

        head_i = softmax(W_q,i q (W_k,i k)^T / sqrt(key_dim)) W_v,i v
        output = W_o [head_1, ..., head_num_heads]

    (Vaswani et al. 2017, arXiv 1706.03762, 3.2.2.) Constructor, call and
    weights are those of Keras 3.15, in the same order: `set_weights` and
    weight files move both ways. What comes after `seed` is new.

    Args:
        num_heads: number of heads.
        key_dim: width of a head for query and key.
        value_dim: width of a head for value; defaults to `key_dim`.
        dropout: share of attention weights dropped in training.
        use_bias: whether the projections have biases.
        output_shape: width of the output, or a tuple of them; defaults to
            the width of the query.
        attention_axes: axes of the input to attend over; defaults to all but
            batch and width.
        sliding_window: a query sees keys less than this far from it, on both
            sides.
        flash_attention: True never builds the score matrix, False always
            does; None picks by size, at each call where a graph is traced with
            lengths not known. On a GPU both True and None use cuDNN where it
            covers the call; see `functional.attend`.
        kernel_initializer: initialiser of the kernels.
        bias_initializer: initialiser of the biases.
        kernel_regularizer: regulariser of the kernels.
        bias_regularizer: regulariser of the biases.
        activity_regularizer: regulariser of what each projection returns.
        kernel_constraint: constraint on the kernels.
        bias_constraint: constraint on the biases.
        use_gate: whether sigmoid(W_g q) gates each head (arXiv 2505.06708).
        seed: integer seed of the dropout.
        num_key_value_heads: heads of key and value, each shared by
            num_heads / num_key_value_heads heads of the query and never
            repeated (arXiv 2305.13245; one for all, Shazeer 2019, arXiv
            1911.02150); defaults to `num_heads`.
        logit_soft_cap: scores are squashed into (-cap, cap), if set.
        use_sink: whether each head learns a score that takes weight away from
            every key; a weight of shape (num_heads,).
        position: how positions enter the heads or the scores, such as
            `RotaryEmbedding()`: an object with `rotate` and `bias`, as
            `layers.AttentionPosition` has them. None: not at all.
        query_key_norm: how each head of query and key is normalised after
            its projection, before positions and the cache, so that scores
            cannot grow with the weights: "rms", the root mean square (Qwen3,
            Gemma 3), or "layer", mean and variance (arXiv 2302.05442,
            equation 2). Both have a weight of shape (key_dim,) for query and
            key each. None: not at all.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width); more axes are allowed.
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
        cache: what `make_cache` or the last call returned. The new keys and
            values are written into it, and the query sees all that it holds.
            Masks of the keys mark all positions from the first, or the new
            ones only.
        cache_index: how many positions came before, an integer, a scalar or
            one per row (batch,).

    Returns:
        (batch, query_length, output width) of the compute dtype. Then, if
        asked for, the weights (batch, num_heads, query_length, key_length),
        taken before dropout. Then, if a cache was given, the new cache. Its
        weights are those of all positions that it has room for; with a
        window, of those it kept and the new ones, the last of which is the
        newest.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights, and its output is the output bias.
        The output keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import MultiHeadAttention
    >>> layer = MultiHeadAttention(num_heads=3, key_dim=5)
    >>> query, value = np.ones((2, 7, 11)), np.ones((2, 13, 17))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 7, 11]), TensorShape([2, 3, 7, 13]))
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | list | tuple | None = None,
        attention_axes: int | list | tuple | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        *,
        num_key_value_heads: int | None = None,
        logit_soft_cap: float | None = None,
        use_sink: bool = False,
        position: Any = None,
        query_key_norm: str | None = None,
        **kwargs,
    ):
        super().__init__(dropout=dropout, seed=seed, **kwargs)
        self.num_heads = head_projections.checked_size("num_heads", num_heads)
        self.key_dim = head_projections.checked_size("key_dim", key_dim)
        value_dim = head_projections.checked_size("value_dim", value_dim, True)
        self.value_dim = value_dim or self.key_dim
        self.num_key_value_heads = head_projections.checked_groups(
            self.num_heads, num_key_value_heads
        )
        self.use_bias = use_bias
        self.use_gate = use_gate
        self._output_shape = head_projections.checked_output_shape(output_shape)
        self.attention_axes = checked_axes(attention_axes)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        # Private: Keras would apply a public one to the output as well.
        self._activity_regularizer = keras.regularizers.get(
            activity_regularizer
        )
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        # Private where Keras and its tests look for them.
        self._sliding_window = validation.check_positive_integer(
            "sliding_window", sliding_window, optional=True
        )
        self._flash_attention = validation.check_choice(
            "flash_attention", flash_attention, tuple(IMPLEMENTATION)
        )
        self.logit_soft_cap = validation.check_positive_number(
            "logit_soft_cap", logit_soft_cap, optional=True
        )
        self.use_sink = use_sink
        self.position = checked_position(position)
        self.query_key_norm = validation.check_choice(
            "query_key_norm", query_key_norm, head_projections.NORMS
        )

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        head_projections.check_lengths(value_shape, key_shape)
        self._axes = AttentionAxes.resolve(
            self.attention_axes, len(query_shape), self.num_heads
        )
        self._axes.check(query_shape, value_shape)

        def projection(name, shape, heads, width, **kwargs):
            return head_projections.projection(
                self, name, shape[-1:], (heads, width), **kwargs
            )

        heads, shared = self.num_heads, self.num_key_value_heads
        self._query_dense = projection(
            "query", query_shape, heads, self.key_dim
        )
        self._key_dense = projection("key", key_shape, shared, self.key_dim)
        if self.use_gate:
            self._gate_dense = projection(
                "gate", query_shape, heads, self.value_dim, activation="sigmoid"
            )
        self._value_dense = projection(
            "value", value_shape, shared, self.value_dim
        )
        self._output_dense = head_projections.projection(
            self,
            "attention_output",
            (heads, self.value_dim),
            self._output_shape or tuple(query_shape[-1:]),
        )
        self.query_norm, self.key_norm = (
            head_projections.normalization(
                self, name, self.query_key_norm, self.key_dim
            )
            for name in ("query_norm", "key_norm")
        )
        position = self.position
        check_heads(position, heads)
        if isinstance(position, keras.layers.Layer) and not position.built:
            position.build((query_shape[0], None, heads, self.key_dim))
        self.sink = None
        if self.use_sink:
            self.sink = self.add_weight(
                name="sink", shape=(heads,), initializer="zeros"
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
        key = value if key is None else key
        axes = self._axes
        folded = axes.fold_inputs(query, value, key)
        given = {
            "query_mask": axes.fold(query_mask),
            "value_mask": axes.fold(value_mask),
            "key_mask": axes.fold(key_mask),
            "attention_mask": axes.fold_mask(attention_mask, query, key),
        }
        options = {
            "use_causal_mask": use_causal_mask,
            "training": training,
            "return_attention_scores": return_attention_scores,
        }
        if cache is None and cache_index is None:
            output, scores = self._call_whole(*folded, given, **options)
        else:
            axes.check_plain("cache")
            self.check_scores_may_be_returned(return_attention_scores)
            output, scores, cache = cached_call.call(
                self, *folded, given, cache, cache_index, **options
            )
        output = axes.unfold(output, query)
        return one_or_all(output, axes.unfold_scores(scores, query, key), cache)

    def _call_whole(
        self, query, value, key, given, *, use_causal_mask, **options
    ):
        """Attends without a cache; inputs are (B, T or S, width)."""
        shape = (query.shape[0], self.num_heads, query.shape[1], key.shape[1])
        mask = mask_for(shape, **given)
        query, key, value = padding.zero_padding(mask, query, key, value)
        mask = masks.combine_masks(
            padding.zeroed(mask), *self.positional_masks(use_causal_mask)
        )
        heads = self.project_key_value(value, key)
        return self.attend_projected(query, *heads, mask, **options)

    def positional_masks(
        self, use_causal_mask: bool, offset: Any = 0
    ) -> Iterator[masks.Mask]:
        """Yields the masks that compare positions, for a query at `offset`."""
        if use_causal_mask:
            yield masks.Causal(offset)
        if self._sliding_window is not None:
            reach = self._sliding_window - 1
            yield masks.SlidingWindow(reach, reach, offset)

    def project_query(self, query: Any) -> Any:
        """Returns the heads of the query, (batch, length, num_heads, key_dim).

        Normalised where the layer does so, and not yet rotated.
        """
        return head_projections.normalized(
            self.query_norm, self._query_dense(query)
        )

    def project_key_value(self, value: Any, key: Any = None) -> tuple:
        """Returns the heads of key and value, in this order.

        Made once, they serve every call of `attend_projected`. Shapes:
        (batch, key_length, num_key_value_heads, key_dim) and (...,
        value_dim).
        """
        key = value if key is None else key
        key = head_projections.normalized(self.key_norm, self._key_dense(key))
        return key, self._value_dense(value)

    def attend_projected(
        self,
        query: Any,
        key: Any,
        value: Any,
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> tuple:
        """Attends to heads that `project_key_value` has already projected.

        Args:
            query: (batch, query_length, query_width), not projected.
            key: (batch, key_length, num_key_value_heads, key_dim).
            value: (batch, key_length, num_key_value_heads, value_dim).
            mask: a `masks.Mask`, a tensor as `attention_mask`, or None.
            training: whether to drop attention weights.
            return_attention_scores: whether to return the weights too.

        Returns:
            The output of the layer, and the weights or None.
        """
        heads = self.project_query(query)  # (B, T, N, H)
        heads, key = self.rotate(heads, key)
        arguments = (heads, key, value, mask, training, return_attention_scores)
        bias = self.bias(heads)
        output, scores = self._compute_attention(*arguments, **bias)
        return self.output_of(output, query), scores

    def rotate(
        self, query: Any, key: Any, query_offset: Any = 0, key_offset: Any = 0
    ) -> tuple:
        """Returns heads with their positions in them."""
        if self.position is None:
            return query, key
        return self.position.rotate(query, key, query_offset, key_offset)

    def bias(
        self, query: Any, query_offset: Any = 0, key_offset: Any = 0
    ) -> dict[str, Any]:
        """Returns {"bias": the bias of positions}, or {} without one.

        Args:
            query: (batch, query_length, num_heads, key_dim), rotated.
            query_offset: position of the first query.
            key_offset: position of the first key.
        """
        if self.position is None:
            return {}
        asked = {}
        if getattr(self.position, "depends_on_query", False):
            asked["query"] = query
        bias = self.position.bias(query_offset, key_offset, **asked)
        return {} if bias is None else {"bias": bias}

    def output_of(self, heads: Any, query: Any) -> Any:
        """Returns the output from heads (B, T, N, V), gated by `query`."""
        if self.use_gate:
            heads = heads * self._gate_dense(query)
        return self._output_dense(heads)

    def _compute_attention(
        self,
        query,
        key,
        value,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
        use_causal_mask=False,
        bias=None,
    ):
        """From heads to heads: the method that Keras invites to override."""
        self.check_scores_may_be_returned(return_attention_scores)
        if use_causal_mask:
            attention_mask = masks.combine_masks(attention_mask, masks.Causal())
        output = attend(
            query=query,
            key=key,
            value=value,
            mask=attention_mask,
            bias=bias,
            return_weights=return_attention_scores,
            implementation=IMPLEMENTATION[self._flash_attention],
            **self.score_options(training),
        )
        return output if return_attention_scores else (output, None)

    def check_scores_may_be_returned(
        self, return_attention_scores: bool
    ) -> None:
        """Raises a ValueError where scores are asked for and never built."""
        if self._flash_attention and return_attention_scores:
            raise ValueError(
                "Returning attention scores is not supported when flash "
                "attention is enabled. Please disable flash attention to "
                "access attention scores. Received: flash_attention=True, "
                "return_attention_scores=True."
            )

    @property
    def overrides_attention(self) -> bool:
        """Whether a subclass attends in a way of its own."""
        method = type(self)._compute_attention
        return method is not MultiHeadAttention._compute_attention

    def score_options(self, training: bool | None = False) -> dict[str, Any]:
        """Returns what every implementation of `attend` is given."""
        return {
            "logit_soft_cap": self.logit_soft_cap,
            "sink": self.sink,
            "dropout": self.dropout_for(training),
        }

    def joined_projections(self) -> tuple:
        """Returns the projections that steps make in one product.

        No property: files would name weights by it.
        """
        return self._query_dense, self._key_dense, self._value_dense

    @property
    def cache_layout(self) -> KeyValueCache:
        """The `KeyValueCache` of this layer."""
        return KeyValueCache(
            self.num_key_value_heads,
            self.key_dim,
            self.value_dim,
            self.compute_dtype,
            window=self._sliding_window,
        )

    def make_cache(self, batch_size: Any, max_length: Any) -> dict[str, Any]:
        """Returns an empty cache for `max_length` positions.

        Returns:
            A dict with `key`, (length, batch_size, 1, num_key_value_heads,
            key_dim), and `value`, (..., value_dim). The length is
            `max_length`, or that of `sliding_window` where it is shorter.
        """
        return self.cache_layout.empty(batch_size, max_length)

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> tuple:
        if key_shape is not None:
            head_projections.check_lengths(value_shape, key_shape)
        widths = self._output_shape or tuple(query_shape[-1:])
        return (*query_shape[:-1], *widths)

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
        key_shape = None if key is None else key.shape
        shape = self.compute_output_shape(query.shape, value.shape, key_shape)
        scores_shape = None
        if return_attention_scores:
            keys = value.shape
            if cache is not None:
                seen = self.cache_layout.seen(cache, query.shape[1])
                keys = (value.shape[0], seen, value.shape[2])
            scores_shape = self._axes.scores_shape(query.shape, keys)
        return head_projections.output_spec(self, shape, scores_shape, cache)

    @property
    def query_dense(self) -> keras.layers.EinsumDense:
        return self._query_dense

    @property
    def key_dense(self) -> keras.layers.EinsumDense:
        return self._key_dense

    @property
    def value_dense(self) -> keras.layers.EinsumDense:
        return self._value_dense

    @property
    def output_dense(self) -> keras.layers.EinsumDense:
        return self._output_dense

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "use_bias": self.use_bias,
            "output_shape": self._output_shape,
            "attention_axes": self.attention_axes,
            "sliding_window": self._sliding_window,
            "flash_attention": self._flash_attention,
            "kernel_initializer": serialize(self.kernel_initializer),
            "bias_initializer": serialize(self.bias_initializer),
            "kernel_regularizer": serialize(self.kernel_regularizer),
            "bias_regularizer": serialize(self.bias_regularizer),
            "activity_regularizer": serialize(self._activity_regularizer),
            "kernel_constraint": serialize(self.kernel_constraint),
            "bias_constraint": serialize(self.bias_constraint),
            "use_gate": self.use_gate,
            "num_key_value_heads": self.num_key_value_heads,
            "logit_soft_cap": self.logit_soft_cap,
            "use_sink": self.use_sink,
            "position": shared_config(self.position),
            "query_key_norm": self.query_key_norm,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiHeadAttention":
        return super().from_config(with_objects(config, "position"))
