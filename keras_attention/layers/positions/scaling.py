"""What the scalings of rotary position embeddings share."""

import dataclasses
from typing import Any

from keras_attention import validation


@dataclasses.dataclass(frozen=True)
class RotaryScaling:
    """Base of scalings: `rates`, and the fields as a config.

    Args:
        factor: how many times the length of the training a model is to read.

    Raises:
        ValueError: if `factor` is below 1.
    """

    factor: float

    # What multiplies the rotated features of query and key.
    magnitude = 1.0

    def __post_init__(self):
        factor = validation.check_positive_number("factor", self.factor)
        if factor < 1:
            raise validation.invalid("factor", "at least 1", self.factor)
        object.__setattr__(self, "factor", factor)

    def rates(self, rotary_dim: int, max_wavelength: float) -> Any:
        """Returns by which angle each pair turns from a position to the next.

        Args:
            rotary_dim: number of features that are rotated.
            max_wavelength: the base of the wavelengths.

        Returns:
            float64 array (rotary_dim / 2,).
        """
        raise TypeError(f"{type(self).__name__} does not define `rates`.")

    def get_config(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RotaryScaling":
        """Returns the scaling of these fields."""
        return cls(**config)
