"""Additive mechanisms whose score sees the weights of earlier queries."""

from typing import Any

import keras
from keras import backend
from keras import ops

from keras_attention import validation
from keras_attention.functional.history import additive_scores
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.scored import ScoredMechanism
from keras_attention.layers.initializers import cloned


class HistoryMechanism(ScoredMechanism):
    """Base of additive attention with features of its history.

        score(q, k_s) = vector . tanh(W_q q + W_k k_s + features_s + bias)

    A subclass makes the features of what is remembered, (batch, queries,
    key_length), in `features`, and in `remember` what is remembered next. It
    is under the name `remembered` in the state, and starts with zeros.

    Args:
        units: width of the score network.
        normalizer: see `ScoredMechanism`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        kernel_initializer: initialiser of all weights but the bias.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    remembered: str

    def __init__(
        self,
        units: int,
        normalizer: Normalizer = "softmax",
        dropout: float = 0.0,
        seed: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(normalizer, dropout, seed, **kwargs)
        self.units = validation.check_positive_integer("units", units)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        super().build(query_shape, value_shape, key_shape)
        self.query_kernel = self.add_kernel(
            "query_kernel", (query_shape[-1], self.units)
        )
        self.key_kernel = self.add_kernel(
            "key_kernel", (key_shape[-1], self.units)
        )
        self.vector = self.add_kernel("vector", (self.units,))
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )

    def add_kernel(self, name: str, shape: tuple) -> Any:
        """Adds a weight with the initialiser of the layer."""
        return self.add_weight(
            name=name, shape=shape, initializer=cloned(self.kernel_initializer)
        )

    def features(self, history: Any) -> Any:
        """Returns the features (batch, queries, key_length, units).

        Args:
            history: what is remembered, (batch, queries, key_length).
        """
        raise TypeError(f"{type(self).__name__} does not define `features`.")

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        key = value if key is None else key
        key = ops.matmul(key, self.key_kernel)  # (B, S, U)
        memory = {"key": key, "value": value}
        return memory if mask is None else {**memory, "mask": mask}

    def initial_state(self, memory: dict[str, Any], slots: int = 1) -> dict:
        batch, length = ops.shape(memory["key"])[:2]
        dtype = backend.result_type(memory["key"].dtype, "float32")
        return {self.remembered: ops.zeros((batch, slots, length), dtype)}

    def scores(self, query: Any, memory: dict[str, Any], state: Any) -> Any:
        # Not `matmul`: XLA cannot differentiate TensorFlow's in a loop.
        query = ops.einsum("bqd,du->bqu", query, self.query_kernel)
        query = query + ops.cast(self.bias, query.dtype)
        query, key, vector = (
            at_least_float32(ops.convert_to_tensor(tensor))
            for tensor in (query, memory["key"], self.vector)
        )
        features = self.features(state[self.remembered])
        return additive_scores(query, key, features, vector)

    def get_config(self) -> dict[str, Any]:
        config = {
            "units": self.units,
            "kernel_initializer": keras.saving.serialize_keras_object(
                self.kernel_initializer
            ),
        }
        return {**super().get_config(), **config}
