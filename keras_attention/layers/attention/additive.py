"""Additive attention (Bahdanau)."""

from typing import Any

import keras
from keras import backend
from keras import ops

from keras_attention import validation
from keras_attention.functional import AdditiveScore
from keras_attention.functional.normalizers import Normalizer
from keras_attention.layers.attention.stateless import StatelessMechanism
from keras_attention.layers.initializers import cloned


@keras.saving.register_keras_serializable(package="keras_attention")
class AdditiveAttention(StatelessMechanism):
    """Additive attention with its projections, as Bahdanau et al. wrote it.

    The score of a query q and a key k is a small network:

        score(q, k) = vector . tanh(W_q q + W_k k)
        output      = sum over keys of softmax(score) * value

    (Bahdanau et al. 2015, arXiv 1409.0473, appendix A.1.2.)
    `keras.layers.AdditiveAttention` has no projections, so it needs queries
    and keys of one width; this layer takes any two widths. With `normalize`,
    the vector is g * vector / |vector| and a bias joins inside the tanh
    (weight normalisation, Salimans & Kingma 2016, arXiv 1602.07868).

    Args:
        units: width of the score network.
        normalize: whether to use weight normalisation.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        kernel_initializer: initialiser of the two kernels and the vector.
        kernel_regularizer: regulariser of the two kernels and the vector.
        kernel_constraint: constraint on the two kernels and the vector.
        normalizer: what makes weights of scores: "softmax", "hardmax",
            "sparsemax", "entmax15", "sigmoid", or a function, see
            `functional.attend`.
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
        before dropout.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights and a zero output. The output keeps
        the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import AdditiveAttention
    >>> layer = AdditiveAttention(units=11)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 13))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 13]), TensorShape([2, 3, 7]))
    """

    def __init__(
        self,
        units: int,
        normalize: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        normalizer: Normalizer = "softmax",
        **kwargs,
    ):
        super().__init__(normalizer, dropout, seed, **kwargs)
        self.units = validation.check_positive_integer("units", units)
        self.normalize = normalize
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        super().build(query_shape, value_shape, key_shape)
        self.query_kernel = self._add_kernel(
            "query_kernel", (query_shape[-1], self.units)
        )
        self.key_kernel = self._add_kernel(
            "key_kernel", (key_shape[-1], self.units)
        )
        self.vector = self._add_kernel("vector", (self.units,))
        if self.normalize:
            start = keras.initializers.Constant(self.units**-0.5)
            self.scale = self.add_weight(
                name="scale", shape=(), initializer=start
            )
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), initializer="zeros"
            )

    def _add_kernel(self, name, shape):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=cloned(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        key = value if key is None else key
        key = ops.matmul(key, self.key_kernel)  # (B, S, U)
        return self.memory_of(key, value, mask)

    def attend_inputs(self, query: Any, key: Any) -> dict:
        # Not `matmul`: XLA cannot differentiate TensorFlow's in a loop.
        query = ops.einsum("btd,du->btu", query, self.query_kernel)
        dtype = backend.result_type(query.dtype, "float32")
        vector = ops.cast(self.vector, dtype)
        if self.normalize:
            length = ops.sqrt(ops.sum(ops.square(vector)))
            vector = vector * (ops.cast(self.scale, dtype) / length)
            query = query + ops.cast(self.bias, query.dtype)
        return {"query": query, "key": key, "score": AdditiveScore(vector)}

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "units": self.units,
            "normalize": self.normalize,
            "kernel_initializer": serialize(self.kernel_initializer),
            "kernel_regularizer": serialize(self.kernel_regularizer),
            "kernel_constraint": serialize(self.kernel_constraint),
        }
        return {**super().get_config(), **config}
