"""Mechanisms as a user writes them, for tests of whoever takes one."""

import keras
from keras import ops

import keras_attention as ka


@keras.saving.register_keras_serializable(package="tests")
class Coverage(ka.AttentionMechanism):
    """Leaves alone what it has attended to; the further on, the more so."""

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        shape = (query_shape[-1], value_shape[-1])
        self.kernel = self.add_weight(shape=shape, name="kernel")
        self.rate = self.add_weight(name="rate", initializer="ones")

    def prepare(self, value, key=None, mask=None):
        memory = {"value": value}
        return memory if mask is None else {**memory, "mask": mask}

    def initial_state(self, memory, slots=1):
        batch, length = ops.shape(memory["value"])[:2]
        return {"coverage": ops.zeros((batch, slots, length))}

    def attend(self, query, memory, state, *, positions, mask=None, **options):
        rate = ops.cast(self.rate, "float32") * ops.cast(positions, "float32")
        context, weights = ka.functional.attend(
            query=ops.einsum("bqd,dk->bqk", query, self.kernel)[:, :, None],
            key=memory["value"][:, :, None],
            value=memory["value"][:, :, None],
            bias=-(rate[..., None] * state["coverage"])[:, None],
            mask=self.joined_mask(memory, mask),
            return_weights=True,
        )
        weights = ops.cast(weights[:, 0], "float32")  # (B, Q, S)
        state = {"coverage": state["coverage"] + weights}
        return context[:, :, 0], weights, state


@keras.saving.register_keras_serializable(package="tests")
class InTurn(ka.AttentionMechanism):
    """A mechanism with a state that changes nothing but makes a loop."""

    def __init__(self, mechanism, **kwargs):
        super().__init__(**kwargs)
        self.mechanism = mechanism

    def build(self, query_shape, value_shape, key_shape=None):
        super().build(query_shape, value_shape, key_shape)
        if not self.mechanism.built:
            self.mechanism.build(query_shape, value_shape, key_shape)

    def draw_seed(self, training):
        return self.mechanism.draw_seed(training)

    def prepare(self, value, key=None, mask=None):
        return self.mechanism.prepare(value, key, mask)

    def initial_state(self, memory, slots=1):
        batch = ops.shape(keras.tree.flatten(memory)[0])[0]
        return [ops.zeros((batch, slots), "int32")]

    def attend(self, query, memory, state, **options):
        context, weights, _ = self.mechanism.attend(
            query, memory, {}, **options
        )
        return context, weights, [state[0] + 1]

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        return self.mechanism.compute_output_shape(query_shape, value_shape)
