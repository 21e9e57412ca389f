"""Multi-head attention: Keras's layer, and more."""

import keras

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional.padding import zeroed
from keras_attention.layers import key_value_cache
from keras_attention.layers.attention.head_projections import HeadProjections
from keras_attention.layers.attention.head_projections import one_or_all

IMPLEMENTATION = {None: "auto", True: "blockwise", False: "dense"}


# Composed, not inherited: Keras 3.12 to 3.15 differ in the constructor and in
# every private method that would have to be replaced, and all of them would.
@keras.saving.register_keras_serializable(package="keras_attention")
class MultiHeadAttention(HeadProjections):
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
            does; None picks by size, and takes False where a graph is traced
            with lengths not known: say True for long sequences whose batches
            differ in length.
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
            repeated (arXiv 2305.13245); defaults to `num_heads`.
        logit_soft_cap: scores are squashed into (-cap, cap), if set.
        use_sink: whether each head learns a score that takes weight away from
            every key; a weight of shape (num_heads,).
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
            values are written into it, and the query sees all that it holds;
            masks of the keys have max_length, or mark the new ones only.
        cache_index: how many positions the cache holds, an integer, a scalar
            or one per row (batch,).

    Returns:
        (batch, query_length, output width) of the compute dtype. Then, if
        asked for, the weights (batch, num_heads, query_length, key_length),
        taken before dropout. Then, if a cache was given, the new cache.

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
        num_heads,
        key_dim,
        value_dim=None,
        dropout=0.0,
        use_bias=True,
        output_shape=None,
        attention_axes=None,
        sliding_window=None,
        flash_attention=None,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        bias_regularizer=None,
        activity_regularizer=None,
        kernel_constraint=None,
        bias_constraint=None,
        use_gate=False,
        seed=None,
        *,
        num_key_value_heads=None,
        logit_soft_cap=None,
        use_sink=False,
        **kwargs,
    ):
        super().__init__(
            num_heads=num_heads,
            key_dim=key_dim,
            value_dim=value_dim,
            num_key_value_heads=num_key_value_heads,
            use_bias=use_bias,
            use_gate=use_gate,
            output_shape=output_shape,
            attention_axes=attention_axes,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            seed=seed,
            **kwargs,
        )
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

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        self.sink = None
        if self.use_sink:
            self.sink = self.add_weight(
                name="sink", shape=(self.num_heads,), initializer="zeros"
            )

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
        *,
        cache=None,
        cache_index=None,
    ):
        key = value if key is None else key
        given, filled = (attention_mask, query_mask), None
        padding = value_mask, key_mask
        if cache is None and cache_index is None:
            mask = self._axes.masks(query, key, *given, *padding)
            query, key, value = self._axes.zero_padding(mask, query, key, value)
            mask = zeroed(mask)
            key, value = self.project_key_value(value, key)
        else:
            key, value = self.project_key_value(value, key)
            cache, filled, padding = key_value_cache.step(
                cache, cache_index, key, value, *padding
            )
            key, value = cache["key"], cache["value"]
            mask = self._axes.masks(query, key, *given, *padding)
        positional = self._positional_masks(use_causal_mask, cache_index)
        mask = masks.combine_masks(mask, filled, *positional)
        output, scores = self.attend_projected(
            query, key, value, mask, training, return_attention_scores
        )
        return one_or_all(output, scores, cache)

    def attend_projected(
        self,
        query,
        key,
        value,
        mask=None,
        training=None,
        return_attention_scores=False,
    ):
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
        output, scores = self._compute_attention(
            self._query_dense(query),
            key,
            value,
            mask,
            training,
            return_attention_scores,
        )
        if self.use_gate:
            output = output * self._gate_dense(query)
        return self._output_dense(output), scores

    def _compute_attention(
        self,
        query,
        key,
        value,
        attention_mask=None,
        training=None,
        return_attention_scores=False,
        use_causal_mask=False,
    ):
        """From heads to heads: the method that Keras invites to override."""
        if self._flash_attention and return_attention_scores:
            raise ValueError(
                "Returning attention scores is not supported when flash "
                "attention is enabled. Please disable flash attention to "
                "access attention scores. Received: flash_attention=True, "
                "return_attention_scores=True."
            )
        if use_causal_mask:
            attention_mask = masks.combine_masks(
                self._axes.as_mask(attention_mask, query, key), masks.Causal()
            )
        return self._axes.attend(
            query,
            key,
            value,
            attention_mask,
            logit_soft_cap=self.logit_soft_cap,
            sink=self.sink,
            dropout=self.dropout_for(training),
            return_weights=return_attention_scores,
            implementation=IMPLEMENTATION[self._flash_attention],
        )

    def _positional_masks(self, use_causal_mask, cache_index):
        offset = 0 if cache_index is None else cache_index
        if use_causal_mask:
            yield masks.Causal(offset)
        if self._sliding_window is not None:
            reach = self._sliding_window - 1
            yield masks.SlidingWindow(reach, reach, offset)

    def make_cache(self, batch_size, max_length):
        """Returns an empty cache for `max_length` positions."""
        return key_value_cache.empty(
            batch_size,
            max_length,
            self.num_key_value_heads,
            self.key_dim,
            self.value_dim,
            self.compute_dtype,
        )

    def get_config(self):
        config = {
            "sliding_window": self._sliding_window,
            "flash_attention": self._flash_attention,
            "logit_soft_cap": self.logit_soft_cap,
            "use_sink": self.use_sink,
        }
        return {**super().get_config(), **config}
