"""What rotary position embeddings share."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional import positions
from keras_attention.functional.precision import as_float
from keras_attention.layers.positions.position import AttentionPosition


class Rotation(AttentionPosition):
    """Base of positions that rotate pairs of features by angles.

    A subclass defines `angles`.

    Args:
        interleaved: whether neighbours (2i, 2i + 1) are pairs, or halves.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.
    """

    # What multiplies the rotated features.
    magnitude = 1.0

    def __init__(self, interleaved: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.interleaved = interleaved

    def angles(self, position: Any, width: int) -> Any:
        """Returns the angle of each pair, float32 (..., pairs).

        Args:
            position: integer tensor (...).
            width: width of a head.
        """
        raise TypeError(f"{type(self).__name__} does not define `angles`.")

    def call(self, inputs: Any, start_index: Any = 0) -> Any:
        validation.check_rank("inputs", inputs, 4, positions.HEAD_AXES)
        position = positions.positions_from(start_index, ops.shape(inputs)[1])
        angle = self.angles(position, inputs.shape[-1])
        inputs = as_float(inputs, self.compute_dtype)
        return positions.rotate(inputs, angle, self.interleaved, self.magnitude)

    def compute_output_shape(self, inputs_shape: tuple) -> tuple:
        return inputs_shape

    def compute_output_spec(
        self, inputs: Any, start_index: Any = 0
    ) -> keras.KerasTensor:
        validation.check_rank("inputs", inputs, 4, positions.HEAD_AXES)
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def rotate(
        self, query: Any, key: Any, query_offset: Any = 0, key_offset: Any = 0
    ) -> tuple:
        # Past `__call__`, which would cast an offset that is a tensor.
        return self.call(query, query_offset), self.call(key, key_offset)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "interleaved": self.interleaved}
