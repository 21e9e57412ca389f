"""Self-attention with one head."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.functional import DotProductScore
from keras_attention.functional.normalizers import Normalizer
from keras_attention.layers.attention.stateless import StatelessMechanism
from keras_attention.layers.initializers import cloned


@keras.saving.register_keras_serializable(package="keras_attention")
class SelfAttention(StatelessMechanism):
    """Scaled dot-product attention of one head, with its four projections.

        weights = softmax((x W_q) (x W_k)^T / sqrt(units))
        output  = weights (x W_v) W_o

    (Vaswani et al. 2017, arXiv 1706.03762, 3.2.1.) It takes the call of all
    attention layers: without a `value` a sequence attends to itself. The four
    kernels have no biases; `MultiHeadAttention` has more heads and options.

    Args:
        units: width of query, key, value and output.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        kernel_initializer: initialiser of the four kernels.
        kernel_regularizer: regulariser of the four kernels.
        kernel_constraint: constraint on the four kernels.
        normalizer: what makes weights of scores: "softmax", "hardmax",
            "sparsemax", "entmax15", "sigmoid", or a function, see
            `functional.attend`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width); defaults to `query`.
        key: (batch, key_length, key_width); defaults to `value`.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: boolean (batch, query_length, key_length) or
            (query_length, key_length), True = may attend, or a
            `keras_attention.masks.Mask`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        use_causal_mask: whether a query sees only keys up to its position.
        mask: another name of `query_mask`, under which Keras hands over the
            mask of a single input.

    Returns:
        (batch, query_length, units) of the layer's compute dtype and, if
        asked for, the weights (batch, query_length, key_length), taken
        before dropout.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights and a zero output. The output keeps
        the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import SelfAttention
    >>> SelfAttention(units=11)(np.ones((2, 3, 5))).shape
    TensorShape([2, 3, 11])
    """

    needs_value = False

    def __init__(
        self,
        units: int,
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
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple | None = None,
        key_shape: tuple | None = None,
    ) -> None:
        value_shape = query_shape if value_shape is None else value_shape
        key_shape = value_shape if key_shape is None else key_shape
        super().build(query_shape, value_shape, key_shape)
        self.query_dense = self._project("query", query_shape[-1])
        self.key_dense = self._project("key", key_shape[-1])
        self.value_dense = self._project("value", value_shape[-1])
        self.output_dense = self._project("attention_output", self.units)

    def _project(self, name, width):
        child = keras.layers.Dense(
            self.units,
            use_bias=False,
            kernel_initializer=cloned(self.kernel_initializer),
            kernel_regularizer=self.kernel_regularizer,
            kernel_constraint=self.kernel_constraint,
            dtype=self.dtype_policy,
            name=name,
        )
        child.build((None, None, width))
        return child

    def call(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        mask: Any = None,
    ) -> Any:
        query_mask = mask if query_mask is None else query_mask
        if value is None:
            value = query
            value_mask = query_mask if value_mask is None else value_mask
        return super().call(
            query,
            value,
            key,
            query_mask,
            value_mask,
            key_mask,
            attention_mask,
            return_attention_scores,
            training,
            use_causal_mask,
        )

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        key = self.key_dense(value if key is None else key)  # (B, S, U)
        return self.memory_of(key, value, mask)

    def attend_inputs(self, query: Any, key: Any) -> dict:
        query = self.query_dense(query)  # (B, T, U)
        return {"query": query, "key": key, "score": DotProductScore()}

    def project_context(self, context: Any) -> Any:
        # weights (x W_v) = (weights x) W_v: after the sum, so that a decoder
        # does not project its whole memory at every step.
        return self.output_dense(self.value_dense(context))  # (B, T, U)

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple | None = None,
        key_shape: tuple | None = None,
    ) -> tuple:
        return (*query_shape[:-1], self.units)

    def compute_output_spec(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
        *,
        mask: Any = None,
    ) -> Any:
        return super().compute_output_spec(
            query,
            query if value is None else value,
            return_attention_scores=return_attention_scores,
        )

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "units": self.units,
            "kernel_initializer": serialize(self.kernel_initializer),
            "kernel_regularizer": serialize(self.kernel_regularizer),
            "kernel_constraint": serialize(self.kernel_constraint),
        }
        return {**super().get_config(), **config}
