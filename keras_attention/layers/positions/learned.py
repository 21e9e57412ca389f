"""Learned positional encoding."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.positions import positions_from
from keras_attention.functional.precision import as_float


@keras.saving.register_keras_serializable(package="keras_attention")
class LearnedPositionalEncoding(keras.layers.Layer):
    """Adds to its input a learned vector for each position.

    The "learned positional embeddings" of Gehring et al. 2017 (arXiv
    1705.03122, 3.1) and Vaswani et al. 2017, 3.5; those of BERT and GPT-2.

    Args:
        max_length: how many positions have a vector.
        initializer: initialiser of the vectors.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, width).
        start_index: position of the first entry, an integer, a scalar tensor
            or one integer per row (batch,); for decoding step by step.

    Returns:
        inputs + the vectors of their positions, of the shape of `inputs` and
        the compute dtype.

    Masking:
        The Keras mask of the input is passed on; padded positions are
        encoded like any other.

    Raises:
        ValueError: if the input does not have three axes, or reaches past
            `max_length` where that can be seen: in the length of a traced
            graph and in integers. Elsewhere the last vector is used.

    Example:

    >>> import numpy as np
    >>> from keras_attention import LearnedPositionalEncoding
    >>> LearnedPositionalEncoding(max_length=7)(np.zeros((2, 3, 5))).shape
    TensorShape([2, 3, 5])
    """

    def __init__(
        self, max_length: int, initializer: Any = "random_normal", **kwargs
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.max_length = validation.check_positive_integer(
            "max_length", max_length
        )
        self.initializer = keras.initializers.get(initializer)

    @property
    def max_positions(self) -> int:
        """How many positions it tells apart; what generates asks for it."""
        return self.max_length

    def build(self, inputs_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.max_length, inputs_shape[-1]),
            initializer=self.initializer,
        )
        self.built = True

    def call(self, inputs: Any, start_index: Any = 0) -> Any:
        length = ops.shape(inputs)[1]
        self._check_length(length, start_index)
        position = positions_from(start_index, length)
        position = ops.clip(position, 0, self.max_length - 1)
        encoding = ops.take(self.embeddings, position, axis=0)
        inputs = as_float(inputs, self.compute_dtype)
        return inputs + ops.cast(encoding, inputs.dtype)

    def _check_length(self, length, start_index):
        known = map(validation.is_integer, (length, start_index))
        if all(known) and start_index + length > self.max_length:
            raise ValueError(
                f"`inputs` must not reach past max_length={self.max_length}. "
                f"Received: {length} positions from start_index="
                f"{start_index}. Choose a larger `max_length`."
            )

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return inputs_shape

    def compute_output_spec(
        self, inputs: Any, start_index: Any = 0
    ) -> keras.KerasTensor:
        if inputs.shape[1] is not None:
            self._check_length(inputs.shape[1], start_index)
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config = {
            "max_length": self.max_length,
            "initializer": keras.initializers.serialize(self.initializer),
        }
        return {**super().get_config(), **config}
