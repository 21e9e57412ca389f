"""YaRN scaling of rotary position embeddings."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_attention import validation
from keras_attention.functional.positions import rotary_rates
from keras_attention.layers.positions.scaling import RotaryScaling


@keras.saving.register_keras_serializable(package="keras_attention")
@dataclasses.dataclass(frozen=True)
class YaRNScaling(RotaryScaling):
    """Slows long waves alone, and sharpens the softmax (YaRN).

    A wave that turned more than `fast` times in the training stays as it is;
    one that turned less than `slow` times is slowed by `factor`; a ramp over
    the pairs joins the two ("NTK-by-parts"; Peng et al. 2023, arXiv
    2309.00071, 3.2). What is rotated of query and key is multiplied by

        sqrt(1 / t) = 0.1 mscale ln(factor) + 1

    (equation 22). Where all features of a head are rotated, the score is that
    of equation 21. With a smaller `rotary_dim` the other features are not
    multiplied, except in `LatentAttention`, which scales the whole score. As in
    the code of the authors, and so in the checkpoints, the ramp is linear in
    the number of a pair, between whole numbers; the text has one that is linear
    in the turns.

    Args:
        factor: how many times the length of the training a model is to read.
        original_length: how many positions a sequence of the training had.
        fast: turns above which a wave stays as it is; beta in the paper.
        slow: turns below which a wave is slowed in full; alpha in the paper.
        mscale: factor of the logarithm; 0.707 in DeepSeek-V2 (2405.04434,
            3.1.4).

    Raises:
        ValueError: if `factor` is below 1, `fast` not above `slow`, or
            `mscale` no positive number.

    Example:

    >>> from keras_attention import RotaryEmbedding, YaRNScaling
    >>> scaling = YaRNScaling(4.0, original_length=2048)
    >>> position = RotaryEmbedding(scaling=scaling)
    """

    original_length: int
    fast: float = 32.0
    slow: float = 1.0
    mscale: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        length = validation.check_positive_integer(
            "original_length", self.original_length
        )
        fast = validation.check_positive_number("fast", self.fast)
        slow = validation.check_positive_number("slow", self.slow)
        if fast <= slow:
            raise validation.invalid("fast", f"above slow={slow}", fast)
        object.__setattr__(self, "original_length", length)
        object.__setattr__(self, "fast", fast)
        object.__setattr__(self, "slow", slow)
        mscale = validation.check_positive_number("mscale", self.mscale)
        object.__setattr__(self, "mscale", mscale)

    @property
    def magnitude(self) -> float:
        """What multiplies the rotated features of query and key."""
        return 0.1 * self.mscale * math.log(self.factor) + 1.0

    def rates(self, rotary_dim: int, max_wavelength: float) -> Any:
        rates = rotary_rates(rotary_dim, max_wavelength)
        if max_wavelength <= 1:  # no pair turns more slowly than another
            raise validation.invalid(
                "max_wavelength", "above 1", max_wavelength
            )

        def pair_that_turns(count):
            wavelength = self.original_length / (2 * math.pi * count)
            return rotary_dim * math.log(wavelength, max_wavelength) / 2

        first = max(math.floor(pair_that_turns(self.fast)), 0)
        last = min(math.ceil(pair_that_turns(self.slow)), rotary_dim - 1)
        length = max(last - first, 0.001)  # a ramp of no length is a step
        slowed = np.clip((np.arange(len(rates)) - first) / length, 0.0, 1.0)
        return rates * (1.0 - slowed + slowed / self.factor)
