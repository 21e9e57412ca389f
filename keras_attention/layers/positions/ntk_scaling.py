"""NTK-aware scaling of rotary position embeddings."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_attention.functional.positions import rotary_rates
from keras_attention.layers.positions.scaling import RotaryScaling


@keras.saving.register_keras_serializable(package="keras_attention")
@dataclasses.dataclass(frozen=True)
class NTKScaling(RotaryScaling):
    """Slows the long waves by `factor`, and leaves the shortest as it is.

        max_wavelength' = max_wavelength * factor^(R / (R - 2)),

    where R is `rotary_dim` ("NTK-aware" interpolation; Peng et al. 2023, arXiv
    2309.00071, 3.1). It serves without fine-tuning.

    Args:
        factor: how many times the length of the training a model is to read.

    Raises:
        ValueError: if `factor` is below 1.

    Example:

    >>> from keras_attention import NTKScaling, RotaryEmbedding
    >>> position = RotaryEmbedding(scaling=NTKScaling(4.0))
    """

    def rates(self, rotary_dim: int, max_wavelength: float) -> Any:
        rates = rotary_rates(rotary_dim, max_wavelength)
        # The larger base in powers of the factor, which a single pair has too.
        exponent = np.arange(len(rates)) / max(len(rates) - 1, 1)
        return rates * self.factor**-exponent
