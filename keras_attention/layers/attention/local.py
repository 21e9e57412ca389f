"""Attention to a window of the source (Luong et al.)."""

from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional.local import gather_pairs
from keras_attention.functional.local import gather_windows
from keras_attention.functional.local import gaussian
from keras_attention.functional.local import spread_windows
from keras_attention.functional.local import window_positions
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.composed import ComposedMechanism
from keras_attention.layers.attention.stateless import StatelessMechanism


@keras.saving.register_keras_serializable(package="keras_attention")
class LocalAttention(ComposedMechanism):
    """Attention to the keys around one position of the source.

    Query t sees the keys s with |s - p_t| <= D, and the cost grows with the
    length of the target times D, whatever the length of the source. The
    centre is

        p_t = t                                     monotonic (local-m)
        p_t = S sigmoid(vector . tanh(W q_t))       predictive (local-p)

    with S the number of real keys of the row. A predictive layer multiplies
    the weights, after the softmax over the window, by
    exp(-(s - p_t)^2 / (2 sigma^2)) with sigma = D / 2: they may sum to less
    than one. (Luong et al. 2015, arXiv 1508.04025, 3.2, equations 9 and 10.)

    Args:
        window: D, how many keys are seen on either side of the centre.
        units: width of the network of an additive score, as
            `score=AdditiveAttention(units)` has it.
        score: a layer without a state that scores keys, in place of `units`,
            such as `DotProductAttention("general")`.
        predictive: whether the centre is predicted from the query.
        normalizer: what makes weights of scores: "softmax", "hardmax",
            "sparsemax", "entmax15", "sigmoid", or a function, see
            `functional.attend`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
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
        before dropout. Only they, and a mask of queries and keys, make
        anything of the size of all pairs.

    Masking:
        All masks AND together. A query with nothing to attend to in its
        window, and a padded query, gets zero weights and a zero output.
        Positions count the padded keys too, so padding should come last. The
        output keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import LocalAttention
    >>> layer = LocalAttention(2, units=11, predictive=True)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 13))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 13]), TensorShape([2, 3, 7]))
    """

    def __init__(
        self,
        window: int,
        units: int | None = None,
        score: StatelessMechanism | None = None,
        predictive: bool = False,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(
            units,
            score,
            normalizer=normalizer,
            dropout=dropout,
            seed=seed,
            **kwargs,
        )
        self.window = validation.check_positive_integer("window", window)
        if not isinstance(self.score, StatelessMechanism):
            raise validation.invalid(
                "score",
                "a layer without a state, such as AdditiveAttention(units) or "
                "DotProductAttention('general')",
                repr(score),
            )
        self.predictive = predictive

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        if self.predictive:
            width = query_shape[-1]
            self.position_kernel = self.add_weight(
                name="position_kernel", shape=(width, width)
            )
            self.position_vector = self.add_weight(
                name="position_vector", shape=(width,)
            )

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        """Returns the memory; see `AttentionMechanism`.

        One more row of zeros, which nothing sees, ends keys and values: there
        is something to gather where the source is empty.
        """
        memory = super().prepare(value, key, mask)
        one_more = ((0, 0), (0, 1), (0, 0))
        padded = {x: ops.pad(memory[x], one_more) for x in ("key", "value")}
        return {**memory, **padded}  # (B, S + 1, .)

    def attend(
        self,
        query: Any,
        memory: dict[str, Any],
        state: Any,
        *,
        positions: Any = None,
        mask: masks.Mask | None = None,
        seed: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        length = ops.shape(memory["value"])[1] - 1
        queries = ops.shape(query)[1]
        if positions is None:
            positions = ops.arange(queries, dtype="int32")[None]  # (1, Q)
        centre = self._centre(query, memory, positions, length)  # (B, Q)
        first, inside = window_positions(centre, self.window, length)
        visible = self._visible(memory, mask, first, inside, length)
        scores = self._scores(query, memory, first)
        weights = self.weights_of(scores, visible)  # (B, Q, W)
        if self.predictive:
            weights = weights * gaussian(centre, first, self.window)
        kept = self._drop(weights, positions, first, seed, training)
        context = self._context(kept, memory, first)
        if not return_attention_scores:
            return context, None, state
        weights = ops.cast(weights, self.compute_dtype)
        return context, spread_windows(weights, first, length), state

    @property
    def _size(self):
        """How many keys a window has."""
        return 2 * self.window + 1

    def _scores(self, query, memory, first):
        """Returns the scores of the keys in each window, (B, Q, W)."""
        batch, queries, width = ops.shape(query)
        rows = ops.reshape(query, (batch * queries, 1, width))
        keys = self._rows(memory["key"], first)
        scores = self.score.scores(rows, {"key": keys}, {})  # (B * Q, 1, W)
        return ops.reshape(scores, (batch, queries, self._size))

    def _context(self, weights, memory, first):
        """Returns what the weights of the windows find, (B, Q, V)."""
        batch, queries, size = ops.shape(weights)
        rows = ops.reshape(weights, (batch * queries, 1, size))
        values = self._rows(memory["value"], first)
        context = self.context_of(rows, {"value": values})  # (B * Q, 1, V)
        return ops.reshape(context, (batch, queries, context.shape[-1]))

    def _rows(self, tensor, first):
        """Returns each window as a row of its own, (B * Q, W, .)."""
        windows = gather_windows(tensor, first, self._size)
        batch, queries, size, width = ops.shape(windows)
        return ops.reshape(windows, (batch * queries, size, width))

    def _centre(self, query, memory, positions, length):
        """Returns p, (B, Q), of at least float32."""
        if not self.predictive:
            shape = ops.shape(query)[:2]
            return ops.broadcast_to(ops.cast(positions, "float32"), shape)
        hidden = ops.einsum("bqd,de->bqe", query, self.position_kernel)
        hidden = ops.tanh(at_least_float32(hidden))
        vector = ops.cast(self.position_vector, hidden.dtype)
        share = ops.sigmoid(ops.einsum("bqe,e->bq", hidden, vector))
        if "mask" not in memory:
            return share * ops.cast(length, share.dtype)
        real = ops.cast(memory["mask"], share.dtype)
        return share * ops.sum(real, axis=1, keepdims=True)

    def _visible(self, memory, mask, first, inside, length):
        """Returns which places of the windows are seen, (B, Q, W)."""
        pairs = []
        if "mask" in memory:
            pairs.append(memory["mask"][:, None])  # (B, 1, S)
        parts = mask.masks if isinstance(mask, masks.And) else (mask,)
        for part in parts:
            if part is not None:
                # Part by part: padding of queries alone has no axis of keys.
                block = part.block(0, ops.shape(first)[1], 0, length)
                is_whole = len(block.shape) == 4
                pairs.append(block[:, 0] if is_whole else block[None])
        visible = inside
        for one in pairs:
            seen = gather_pairs(one, first, self._size, length)
            visible = ops.logical_and(visible, seen)
        return visible

    def _drop(self, weights, positions, first, seed, training):
        """Drops what a layer that sees all keys drops at these places."""
        dropout = self.dropout_at(None, seed, training)
        if dropout is None:
            return weights
        places = ops.arange(self._size, dtype="int32")
        keys = first[..., None] + places  # (B, Q, W)
        rows = ops.arange(ops.shape(weights)[0], dtype="int32")
        head = ops.zeros((1, 1, 1, 1), "int32")
        factors = dropout.apply_at(
            ops.ones_like(weights)[:, None],
            rows[:, None, None, None],
            head,
            positions[:, None, :, None],
            keys[:, None],
        )  # (B, 1, Q, W)
        return weights * factors[:, 0]

    def get_config(self) -> dict[str, Any]:
        config = {"window": self.window, "predictive": self.predictive}
        return {**super().get_config(), **config}
