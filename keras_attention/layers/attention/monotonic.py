"""Monotonic attention, and monotonic chunkwise attention (MoChA)."""

from typing import Any

import keras
from keras import backend
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional.dropout import random_normal
from keras_attention.functional.monotonic import chunk_alignment
from keras_attention.functional.monotonic import monotonic_alignment
from keras_attention.functional.normalizers import Normalizer
from keras_attention.layers.attention.composed import ComposedMechanism
from keras_attention.layers.attention.scored import ScoredMechanism
from keras_attention.layers.attention.weighted import unless_blind


@keras.saving.register_keras_serializable(package="keras_attention")
class MonotonicAttention(ComposedMechanism):
    """Attention that reads the source once, from its first key to its last.

    For keys that come in the order of the output, as in speech or spelling.
    From the key where the last query stopped, a query walks on and stops at
    each key with a probability that its score decides:

        p[j]     = sigmoid(score(q, k[j]) + r + noise)
        alpha[j] = p[j] * ((1 - p[j - 1]) * alpha[j - 1] / p[j - 1]
                           + previous alpha[j])

    (Raffel et al. 2017, arXiv 1704.00784, equations 8 to 10; computed without
    the division.) Soft, with every key where it may stop, where
    `training=True`; hard otherwise, in calls and in steps: it stops at the
    first key whose score + r is above 0, and the context is the value there.
    The noise, in training, drives scores away from 0, so that the two agree.

    The scalar r is learned. Where scores are 0, a query walks on by exp(-r)
    keys, so start it below 0 for long sources. The paper's score is weight-
    normalised: `score=AdditiveAttention(units, normalize=True)`. Those of the
    two layers in tfa are that one, or `units` without its normalisation, and
    `DotProductAttention("general")`.

    With `chunk_size` (MoChA, Chiu & Raffel 2018, arXiv 1712.05382, equations
    14 to 17) it attends to so many keys, which end where it stops. Their
    weights are made of a second score, `chunk_score`, like the first but with
    weights of its own.

    Args:
        units: width of the network of an additive score, as
            `score=AdditiveAttention(units)` has it.
        score: a mechanism that scores keys, such as
            `DotProductAttention("general")`; in place of `units`.
        chunk_size: number of keys that end where it stops, or None for that
            key alone.
        score_bias: what r is at first.
        noise: standard deviation of the noise in training.
        normalizer: of the scores in a chunk, as in `AdditiveAttention`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of noise and dropout.
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
        training: whether it is soft, with noise and dropout.
        use_causal_mask: whether a query sees only keys up to its position.

    Returns:
        (batch, query_length, value_width) of the layer's compute dtype and,
        if asked for, the weights (batch, query_length, key_length), taken
        before dropout. A query that walks past the last key stops nowhere:
        weights sum to one or, by as much as that is likely, to less. All
        queries after a hard one that did so have zero weights.

    Masking:
        All masks AND together. It does not stop at a hidden key. A query with
        nothing to attend to, and a padded query, gets zero weights and a zero
        output, and the next walks on from where the one before it stopped.
        The output keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit, or unless exactly
            one of `units` and `score` is given.

    Example:

    >>> import numpy as np
    >>> from keras_attention import MonotonicAttention
    >>> layer = MonotonicAttention(units=11, chunk_size=2)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 13))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 13]), TensorShape([2, 3, 7]))
    """

    def __init__(
        self,
        units: int | None = None,
        score: ScoredMechanism | None = None,
        chunk_size: int | None = None,
        score_bias: float = 0.0,
        noise: float = 1.0,
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
        self.chunk_size = validation.check_positive_integer(
            "chunk_size", chunk_size, optional=True
        )
        self.score_bias = validation.check_number("score_bias", score_bias)
        self.noise = validation.check_number("noise", noise)
        if self.noise < 0:
            raise validation.invalid("noise", "a number of at least 0", noise)
        if chunk_size is None and self.normalizer != "softmax":
            raise validation.invalid(
                "normalizer",
                "'softmax' where `chunk_size` is None",
                repr(self.normalizer),
                "It makes the weights of the keys in a chunk. Set chunk_size.",
            )
        if self.noise and self.seed_generator is None:
            self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.chunk_score = None
        if self.chunk_size is not None:
            config = {**self.score.get_config(), "name": "chunk_score"}
            self.chunk_score = type(self.score).from_config(config)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        if self.chunk_score is not None:
            self.chunk_score.build(query_shape, value_shape, key_shape)
        # Read in full precision, as the scores are that it is added to.
        self.score_bias_weight = self.add_weight(
            name="score_bias",
            shape=(),
            initializer=keras.initializers.Constant(self.score_bias),
            autocast=False,
        )

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        memory = super().prepare(value, key, mask)
        if self.chunk_score is None:
            return memory
        return {**memory, "chunk": self.chunk_score.prepare(value, key, mask)}

    def initial_state(self, memory: Any, slots: int = 1) -> dict[str, Any]:
        batch, length = ops.shape(memory["value"])[:2]
        is_first = ops.equal(ops.arange(length), 0)
        alignment = ops.broadcast_to(
            ops.cast(is_first, self._state_dtype), (batch, slots, length)
        )
        return {
            **super().initial_state(memory, slots),
            "alignment": alignment,
        }

    @property
    def _state_dtype(self):
        return backend.result_type(self.compute_dtype, "float32")

    def attend(
        self,
        query: Any,
        memory: dict[str, Any],
        state: dict[str, Any],
        *,
        positions: Any = None,
        mask: masks.Mask | None = None,
        seed: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        seed = self.draw_seed(training) if seed is None else seed
        scores = self.scores(query, memory, state)  # (B, Q, S)
        visible = self.visible(memory, mask, ops.shape(scores))
        if training:
            scores = scores + self._noise_at(positions, seed, scores)
            probabilities = ops.sigmoid(scores)
        else:
            probabilities = ops.cast(scores > 0, scores.dtype)
        if visible is not None:
            zeros = ops.zeros_like(probabilities)
            probabilities = ops.where(visible, probabilities, zeros)
        previous = state["alignment"]
        alignment = monotonic_alignment(
            ops.cast(probabilities, previous.dtype), previous
        )
        weights = alignment
        if self.chunk_score is not None:
            weights = chunk_alignment(
                alignment,
                self._chunk_scores(query, memory, state),
                self.chunk_size,
                visible,
                self.normalizer,
            )
        dropout = self.dropout_at(positions, seed, training)
        context = self.context_of(weights, memory, dropout)
        state = {
            **self.remember(state, weights),
            "alignment": unless_blind(alignment, previous, visible),
        }
        return context, ops.cast(weights, self.compute_dtype), state

    def scores(self, query: Any, memory: dict[str, Any], state: Any) -> Any:
        scores = super().scores(query, memory, state)
        return scores + ops.cast(self.score_bias_weight, scores.dtype)

    def _chunk_scores(self, query, memory, state):
        # What the first score remembers is what its copy would.
        state = state.get("score", {})
        scores = self.chunk_score.scores(query, memory["chunk"], state)
        return ops.cast(scores, self._state_dtype)

    def _noise_at(self, positions, seed, scores):
        """Returns noise that a step draws as the whole target would there."""
        if not self.noise:
            return ops.zeros_like(scores)
        batch, queries, length = ops.shape(scores)
        slot = ops.arange(queries, dtype="int32")
        positions = slot[None] if positions is None else positions
        # The last is a coordinate that dropout does not have.
        noise = random_normal(
            seed,
            ops.arange(batch, dtype="int32")[:, None, None],
            slot[:, None],
            ops.cast(positions, "int32")[..., None],  # (B or 1, Q, 1)
            ops.arange(length, dtype="int32"),
            1,
        )  # (B, Q, S)
        return self.noise * ops.cast(noise, scores.dtype)

    def get_config(self) -> dict[str, Any]:
        config = {
            "chunk_size": self.chunk_size,
            "score_bias": self.score_bias,
            "noise": self.noise,
        }
        return {**super().get_config(), **config}
