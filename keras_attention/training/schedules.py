"""Learning rates that warm up, then fall."""

import math

import keras
from keras import ops

from keras_attention import validation
from keras_attention.choices import DECAYS

TO_AN_END = ("linear", "cosine")  # decays that take a number of steps


@keras.saving.register_keras_serializable(package="keras_attention")
class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up to a peak, then one of four ways down.

    The n-th step, n = 1, 2, ..., of w = `warmup_steps` has the rate

        peak * n / w                     while n < w, then
        peak                             "constant"
        peak * sqrt(w / n)               "inverse_sqrt"
        end + (peak - end) * (1 - x)     "linear"
        end + (peak - end) * (1 + cos(pi x)) / 2      "cosine"

    with x = (n - w) / (total_steps - w), at most 1. Vaswani et al. 2017,
    equation 3, is "inverse_sqrt" with peak = (units * w)^-0.5; see `vaswani`.

    Args:
        peak: the highest rate.
        warmup_steps: steps of the warm-up; 0 leaves it out.
        decay: "constant", "inverse_sqrt", "linear" or "cosine".
        total_steps: step at which "linear" and "cosine" reach `end`.
        end: the rate at the end of "linear" and "cosine".
        name: name of the schedule.

    Call arguments:
        step: number of steps made before this one, as Keras counts.

    Returns:
        Scalar float32.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_attention.training import WarmupSchedule
    >>> schedule = WarmupSchedule(0.5, warmup_steps=10, decay="constant")
    >>> float(schedule(4)), float(schedule(400))
    (0.25, 0.5)
    """

    def __init__(
        self,
        peak: float,
        warmup_steps: int = 0,
        decay: str = "inverse_sqrt",
        total_steps: int | None = None,
        end: float = 0.0,
        name: str = "warmup_schedule",
    ):
        super().__init__()
        self.peak = validation.check_positive_number("peak", peak)
        self.warmup_steps = validation.check_count("warmup_steps", warmup_steps)
        self.decay = validation.check_choice("decay", decay, DECAYS)
        if decay in TO_AN_END and (
            not validation.is_integer(total_steps)
            or total_steps <= warmup_steps
        ):
            raise validation.invalid(
                "total_steps",
                f"an integer above warmup_steps={warmup_steps} for "
                f"decay={decay!r}",
                repr(total_steps),
            )
        self.total_steps = validation.check_positive_integer(
            "total_steps", total_steps, optional=True
        )
        if not validation.is_number(end) or not 0 <= end <= peak:
            raise validation.invalid(
                "end", f"a number in [0, peak={peak}]", repr(end)
            )
        self.end = float(end)
        self.name = name

    @classmethod
    def vaswani(cls, units: int, warmup_steps: int = 4000) -> "WarmupSchedule":
        """Returns equation 3 of Vaswani et al. 2017 for models of `units`."""
        validation.check_positive_integer("units", units)
        validation.check_positive_integer("warmup_steps", warmup_steps)
        return cls((units * warmup_steps) ** -0.5, warmup_steps)

    def __call__(self, step):
        number = ops.cast(step, "float32") + 1.0
        warmup = float(self.warmup_steps)
        rising = self.peak * number / max(warmup, 1.0)
        return ops.where(number < warmup, rising, self._falling(number))

    def _falling(self, number):
        if self.decay == "constant":
            return ops.full_like(number, self.peak)
        warmup = max(float(self.warmup_steps), 1.0)
        if self.decay == "inverse_sqrt":
            return self.peak * ops.sqrt(warmup / number)
        x = (number - self.warmup_steps) / (
            self.total_steps - self.warmup_steps
        )
        x = ops.clip(x, 0.0, 1.0)
        if self.decay == "linear":
            left = 1.0 - x
        else:
            left = 0.5 * (1.0 + ops.cos(math.pi * x))
        return self.end + (self.peak - self.end) * left

    def get_config(self) -> dict:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "decay": self.decay,
            "total_steps": self.total_steps,
            "end": self.end,
            "name": self.name,
        }
