"""Multi-head attention as keras-multi-head has it."""

from typing import Any

import keras

from keras_attention.layers import MultiHeadAttention


@keras.saving.register_keras_serializable(package="keras_attention")
class ActivatedMultiHeadAttention(MultiHeadAttention):
    """`MultiHeadAttention` with an activation after each of its projections.

    keras-multi-head has one, "relu" unless told otherwise.

    Args:
        num_heads: number of heads.
        key_dim: width of a head for query and key.
        activation: a function or its name, after the projections of query,
            key, value and output.
        **kwargs: more arguments of `MultiHeadAttention`.

    Call arguments:
        query, value, key and the rest: as in `MultiHeadAttention`.

    Returns:
        As `MultiHeadAttention`.

    Masking:
        As `MultiHeadAttention`.

    Raises:
        ValueError: as `MultiHeadAttention`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import migration
    >>> layer = migration.ActivatedMultiHeadAttention(2, 3, activation="relu")
    >>> layer(np.ones((2, 5, 7)), np.ones((2, 11, 7))).shape
    TensorShape([2, 5, 7])
    """

    def __init__(
        self, num_heads: int, key_dim: int, activation: Any = None, **kwargs
    ):
        super().__init__(num_heads, key_dim, **kwargs)
        self.activation = keras.activations.get(activation)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        for dense in (
            self.query_dense,
            self.key_dense,
            self.value_dense,
            self.output_dense,
        ):
            dense.activation = self.activation

    def get_config(self) -> dict[str, Any]:
        activation = keras.activations.serialize(self.activation)
        return {**super().get_config(), "activation": activation}
