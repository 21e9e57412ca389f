"""The protocol of attention that may remember what it attended to."""

from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional.padding import keep
from keras_attention.functional.padding import zeroed
from keras_attention.layers.attention.base import AttentionLayer
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.attention.query_scan import attend_in_turn


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionMechanism(AttentionLayer):
    """Base of single-head attention, with or without a state.

    A mechanism is three methods. `prepare` makes a *memory* of the source,
    once; `initial_state` says what there is to remember before the first
    query; `attend` answers queries and returns the state after them. With
    them it is a layer with the call of all attention layers, and goes into
    `AttentionCell` and `RNNDecoder`, where it trains, is searched by beam and
    is exported.

    Memory and state are nests (dicts, lists) of tensors. Those of the memory
    begin with (batch, ...): slots of a search share it. Those of the state
    begin with (batch, slots, ...), and keep their shapes and dtypes. Nothing
    is kept on `self`. A layer without a state, like `AdditiveAttention`,
    answers a whole target at once; with one, a call is a loop over the
    queries, and equals the steps.

    A subclass builds its weights in `build(query_shape, value_shape,
    key_shape=None)`, which calls this one. Where the width of its contexts is
    not that of the values, `compute_output_shape` says so. Losses do not
    belong inside: they are made of returned weights.

    Args:
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
        The contexts (batch, query_length, width) and, if asked for, the
        weights (batch, query_length, key_length).

    Masking:
        All masks AND together. Before anything is prepared, padded queries,
        keys and values become zeros. The output keeps the Keras mask of the
        query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example: attention that leaves alone what it has attended to, as the
    coverage vector of See et al. 2017 (arXiv 1704.04368, equation 10) does.

    >>> import keras
    >>> import numpy as np
    >>> import keras_attention as ka
    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable(package="docs")
    ... class Coverage(ka.AttentionMechanism):
    ...     def build(self, query_shape, value_shape, key_shape=None):
    ...         super().build(query_shape, value_shape, key_shape)
    ...         shape = (query_shape[-1], value_shape[-1])
    ...         self.kernel = self.add_weight(shape=shape, name="kernel")
    ...         self.rate = self.add_weight(name="rate", initializer="ones")
    ...     def prepare(self, value, key=None, mask=None):
    ...         memory = {"value": value}
    ...         return memory if mask is None else {**memory, "mask": mask}
    ...     def initial_state(self, memory, slots=1):
    ...         batch, length = ops.shape(memory["value"])[:2]
    ...         return {"coverage": ops.zeros((batch, slots, length))}
    ...     def attend(self, query, memory, state, *, mask=None, **options):
    ...         query = ops.einsum("bqd,dk->bqk", query, self.kernel)
    ...         context, weights = ka.functional.attend(
    ...             query=query[:, :, None],
    ...             key=memory["value"][:, :, None],
    ...             value=memory["value"][:, :, None],
    ...             bias=-self.rate * state["coverage"][:, None],
    ...             mask=self.joined_mask(memory, mask),
    ...             return_weights=True,
    ...         )
    ...         weights = weights[:, 0]  # (B, Q, S)
    ...         state = {"coverage": state["coverage"] + weights}
    ...         return context[:, :, 0], weights, state
    >>> decoder = ka.RNNDecoder(11, units=6, attention=Coverage())
    >>> decoder(np.array([[1, 5, 4]]), np.ones((1, 7, 13))).shape
    TensorShape([1, 3, 11])
    """

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        # A subclass may still refuse the widths: Keras says when it is built.
        check_sequence_shapes(query_shape, value_shape, key_shape)

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> Any:
        """Returns the memory: what `attend` needs of the source.

        Args:
            value: (batch, key_length, value_width); zeros where `mask` hides.
            key: (batch, key_length, key_width), likewise; None means `value`.
            mask: boolean (batch, key_length), True = real, or None.

        Returns:
            A nest of tensors (batch, ...). `joined_mask` finds the mask in a
            dict under "mask".
        """
        raise TypeError(f"{type(self).__name__} does not define `prepare`.")

    def initial_state(self, memory: Any, slots: int = 1) -> Any:
        """Returns the state before the first query; empty where there is none.

        Args:
            memory: what `prepare` returned.
            slots: how many sequences share one source.

        Returns:
            A nest of tensors (batch, slots, ...).
        """
        return {}

    def attend(
        self,
        query: Any,
        memory: Any,
        state: Any,
        *,
        positions: Any = None,
        mask: masks.Mask | None = None,
        seed: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        """Attends to what `prepare` returned.

        Args:
            query: (batch, queries, width). With a state, each query is that
                of a slot; without one they may also be a whole target.
            memory: what `prepare` returned.
            state: what `initial_state` or the call before returned.
            positions: integer (batch or 1, queries), where in the target each
                query stands. None means 0, 1, 2, ...
            mask: what the query side adds to the mask of the memory, or None.
            seed: what `draw_seed` returned; drawn once for a whole target.
            return_attention_scores: whether weights must be returned.
            training: whether dropout is on.

        Returns:
            The contexts (batch, queries, width); the weights (batch, queries,
            key_length), which may be None unless asked for; the new state.
        """
        raise TypeError(f"{type(self).__name__} does not define `attend`.")

    def joined_mask(
        self, memory: dict, mask: masks.Mask | None = None
    ) -> masks.Mask | None:
        """Returns the mask of the memory AND `mask`; None where all is seen.

        It goes into `functional.attend`; or its `dense(queries, key_length)`
        is a boolean tensor, (queries, key_length) or (batch, 1, queries,
        key_length).
        """
        real = memory.get("mask")
        padding = None if real is None else masks.Padding(real)
        return zeroed(masks.combine_masks(padding, mask))

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
        # `build` has seen the shapes of the first call alone.
        check_sequence_shapes(query.shape, value.shape, key_shape_of(key))
        keys = value if key is None else key
        shape = (query.shape[0], 1, query.shape[1], keys.shape[1])
        mask = mask_for(
            shape,
            query_mask=query_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask,
        )
        real = real_keys(
            keys,
            mask,
            mask_for(shape, value_mask=value_mask, key_mask=key_mask),
        )
        if mask is not None:
            query = keep(query, mask.query_padding(ops.shape(query)[1]))
        value = keep(value, real)
        key = None if key is None else keep(key, real)
        memory = self.prepare(value, key, real)
        context, weights = self._attend_to_all(
            query, value, memory, mask, return_attention_scores, training
        )
        return (context, weights) if return_attention_scores else context

    def _attend_to_all(
        self, query, value, memory, mask, return_attention_scores, training
    ):
        """Answers a whole target: at once without a state, else in turn."""
        state = self.initial_state(memory)
        options = {
            "mask": mask,
            "seed": self.draw_seed(training),
            "return_attention_scores": return_attention_scores,
            "training": training,
        }
        if not keras.tree.flatten(state):
            return self.attend(query, memory, state, **options)[:2]
        width = self.compute_output_shape(query.shape, value.shape)[-1]
        return attend_in_turn(
            self, query, memory, state, width, value.shape[1], **options
        )

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> tuple:
        return (*query_shape[:-1], value_shape[-1])

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
        check_sequence_shapes(query.shape, value.shape, key_shape_of(key))
        shape = self.compute_output_shape(query.shape, value.shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        shape = (query.shape[0], query.shape[1], value.shape[1])
        return output, keras.KerasTensor(shape, dtype=self.compute_dtype)


def key_shape_of(key: Any) -> Any:
    """Returns the shape of a key, None without one."""
    return None if key is None else key.shape


def real_keys(key: Any, *key_masks: masks.Mask | None) -> Any:
    """Returns which keys are padding in none of the masks, (B, S), or None."""
    joined = masks.combine_masks(*key_masks)
    real = None if joined is None else joined.key_padding(ops.shape(key)[1])
    return None if real is None else ops.broadcast_to(real, ops.shape(key)[:2])


def check_sequence_shapes(
    query_shape: tuple, value_shape: tuple, key_shape: tuple | None = None
) -> None:
    """Checks the three input shapes of a single-head layer.

    Raises:
        ValueError: if one is not (batch, length, width), or if keys and
            values differ in length.
    """
    shapes = {"query": query_shape, "value": value_shape, "key": key_shape}
    for name, shape in shapes.items():
        if shape is not None:
            validation.check_sequence_shape(name, shape)
    lengths = {value_shape[1], (key_shape or value_shape)[1]} - {None}
    if len(lengths) > 1:
        raise ValueError(
            "`key` and `value` must have the same length. Received: "
            f"key.shape={tuple(key_shape)}, value.shape={tuple(value_shape)}."
        )
