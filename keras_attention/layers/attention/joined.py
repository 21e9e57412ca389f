"""Several mechanisms that answer one query together."""

from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention.layers.attention.mechanism import AttentionMechanism


class JoinedMechanisms(AttentionMechanism):
    """Mechanisms side by side; `AttentionCell` makes it of a list.

    Memories, states, seeds and weights are lists, one for each mechanism. The
    contexts are joined on the last axis. With `layer_sizes`, what a mechanism
    finds goes through a layer first, which sees the query too:

        a_i = W_i [query; context_i]

    Args:
        mechanisms: list of `AttentionMechanism`.
        layer_sizes: list of the widths of a_i, or None for no layers.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        mechanisms: list[AttentionMechanism],
        layer_sizes: list[int] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mechanisms = list(mechanisms)
        self.attention_layers = [
            keras.layers.Dense(
                size,
                use_bias=False,
                dtype=self.dtype_policy,
                name=f"attention_layer_{number}",
            )
            for number, size in enumerate(layer_sizes or ())
        ]

    def build(self, query_shape: tuple, value_shape: Any) -> None:
        width = query_shape[-1]
        for index, shape in enumerate(self._each(value_shape)):
            mechanism = self.mechanisms[index]
            if not mechanism.built:
                mechanism.build(query_shape, shape)
            if self.attention_layers:
                found = mechanism.compute_output_shape(query_shape, shape)
                self.attention_layers[index].build((None, width + found[-1]))
        self.built = True

    def _each(self, shapes):
        """Returns one shape for each mechanism; a tuple is that of all."""
        if isinstance(shapes, list):
            return shapes
        return [shapes] * len(self.mechanisms)

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> list:
        """Returns the memories of values, one for all or a list of them."""
        number = len(self.mechanisms)
        values, real = (
            list(given)
            if isinstance(given, (list, tuple))
            else [given] * number
            for given in (value, mask)
        )
        return [
            mechanism.prepare(one, mask=seen)
            for mechanism, one, seen in zip(
                self.mechanisms, values, real, strict=True
            )
        ]

    def initial_state(self, memory: list, slots: int = 1) -> list:
        return [
            mechanism.initial_state(one, slots)
            for mechanism, one in zip(self.mechanisms, memory, strict=True)
        ]

    def draw_seed(self, training: bool | None) -> list:
        return [one.draw_seed(training) for one in self.mechanisms]

    def attend(
        self,
        query: Any,
        memory: list,
        state: list,
        *,
        positions: Any = None,
        mask: masks.Mask | None = None,
        seed: list | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        found = [
            mechanism.attend(
                query,
                memory[index],
                state[index],
                positions=positions,
                mask=mask,
                seed=None if seed is None else seed[index],
                return_attention_scores=return_attention_scores,
                training=training,
            )
            for index, mechanism in enumerate(self.mechanisms)
        ]
        contexts, weights, state = map(list, zip(*found, strict=True))
        if self.attention_layers:
            contexts = [
                _through(layer, query, context)
                for layer, context in zip(
                    self.attention_layers, contexts, strict=True
                )
            ]
        return ops.concatenate(contexts, axis=-1), weights, state

    def compute_output_shape(
        self, query_shape: tuple, value_shape: Any, key_shape: Any = None
    ) -> tuple:
        widths = [layer.units for layer in self.attention_layers] or [
            mechanism.compute_output_shape(query_shape, shape)[-1]
            for mechanism, shape in zip(
                self.mechanisms, self._each(value_shape), strict=True
            )
        ]
        return (*query_shape[:-1], sum(widths))


def _through(layer, query, context):
    """Returns W [query; context], (B, Q, size)."""
    joined = ops.concatenate([query, ops.cast(context, query.dtype)], axis=-1)
    # In two axes: XLA cannot differentiate TensorFlow's matrix product of
    # three axes and two in a loop.
    output = layer(ops.reshape(joined, (-1, joined.shape[-1])))
    return ops.reshape(output, (*ops.shape(joined)[:2], layer.units))
