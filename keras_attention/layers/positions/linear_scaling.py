"""Position interpolation."""

import dataclasses
from typing import Any

import keras

from keras_attention.functional.positions import rotary_rates
from keras_attention.layers.positions.scaling import RotaryScaling


@keras.saving.register_keras_serializable(package="keras_attention")
@dataclasses.dataclass(frozen=True)
class LinearScaling(RotaryScaling):
    """Counts positions in steps of 1 / factor (position interpolation).

        theta_i' = theta_i / factor

    (Chen et al. 2023, arXiv 2306.15595, equation 4.) Positions never leave
    the range of the training, but neighbours come closer; the paper fine-tunes
    for it.

    Args:
        factor: how many times the length of the training a model is to read.

    Raises:
        ValueError: if `factor` is below 1.

    Example:

    >>> from keras_attention import LinearScaling, RotaryEmbedding
    >>> position = RotaryEmbedding(scaling=LinearScaling(4.0))
    """

    def rates(self, rotary_dim: int, max_wavelength: float) -> Any:
        return rotary_rates(rotary_dim, max_wavelength) / self.factor
