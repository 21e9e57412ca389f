"""A learning rate that falls by the clock, for trainings of equal minutes."""

import time
from typing import Any

import keras

from keras_attention import validation


class TimedRate(keras.callbacks.Callback):
    """Lowers the learning rate to 0 in so many minutes, then ends the training.

    A schedule counts steps, so that a training cut short by the clock ends
    while its rate is still high. This one counts minutes: whatever a step of
    a model takes, the rate has fallen when the time is up. Step n, after a
    share x of the minutes, has the rate

        peak * min(n / warmup_steps, 1 - x)

    (linear, as Li et al. 2020, arXiv 1905.04753, recommend for a budget.) The
    minutes count from the first step, validation included; the epoch that they
    end in is measured as others are. What a training reaches depends on the
    machine, and one that is resumed begins its minutes anew.

    On a machine that does other work too, minutes of the clock are not equal.
    With `processor_time` they are those that the processors spend on this
    process, all threads added up: on two busy cores, two in each minute.

    Args:
        peak: the highest rate, of an optimizer without a schedule.
        minutes: number above 0.
        warmup_steps: steps of a linear rise; 0 leaves it out.
        processor_time: whether the minutes are of processor time.

    Raises:
        ValueError: if an argument is out of range; from `fit`: if the
            optimizer has a schedule.

    Example:

    >>> from keras_attention.training import TimedRate
    >>> rate = TimedRate(peak=0.5, minutes=30, warmup_steps=10)
    >>> rate.at(step=5, elapsed=0.0), rate.at(step=900, elapsed=15 * 60.0)
    (0.25, 0.25)
    """

    def __init__(
        self,
        peak: float,
        minutes: float,
        warmup_steps: int = 0,
        processor_time: bool = False,
    ):
        super().__init__()
        self.peak = validation.check_positive_number("peak", peak)
        self.minutes = validation.check_positive_number("minutes", minutes)
        if warmup_steps != 0:
            validation.check_positive_integer("warmup_steps", warmup_steps)
        self.warmup_steps = warmup_steps
        self.processor_time = processor_time
        self._start = None

    def at(self, step: int, elapsed: float) -> float:
        """Returns the rate of a step.

        Args:
            step: number of the step, from 1.
            elapsed: seconds since the first step.
        """
        risen = step / max(self.warmup_steps, 1)
        left = 1.0 - elapsed / (60.0 * self.minutes)
        return self.peak * min(risen, max(left, 0.0))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._start = None
        optimizer = self.model.optimizer
        if not hasattr(optimizer.learning_rate, "assign"):
            raise ValueError(
                "`TimedRate` needs an optimizer whose learning rate is a "
                f"number. Received: {type(optimizer).__name__} with a schedule "
                "of its own. Give `compile`, or `train`, an optimizer such as "
                f"keras.optimizers.Adam({self.peak})."
            )
        optimizer.learning_rate.assign(self.at(1, 0.0))

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        now = time.process_time() if self.processor_time else time.monotonic()
        if self._start is None:  # a first step that compiles takes none of it
            self._start = now
        done = int(self.model.optimizer.iterations)
        rate = self.at(done + 1, now - self._start)
        self.model.optimizer.learning_rate.assign(rate)
        if rate == 0.0:
            self.model.stop_training = True
