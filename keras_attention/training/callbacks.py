"""What is done while `fit` runs: keep the best, watch weights and clock."""

import math
import os
import pathlib
import time
from typing import Any

import keras
import numpy as np

from keras_attention import validation
from keras_attention.models.finite import non_finite_weight
from keras_attention.training import archives
from keras_attention.training.history import finite_or_none


class KeepBest(keras.callbacks.Callback):
    """Keeps the weights of the best epoch in a file.

    Unlike `keras.callbacks.ModelCheckpoint`, the file is whole at any moment,
    and what was best is known after a restart (see `Checkpoints`). Weights
    that are NaN or infinite are never the best.

    Args:
        path: path of the file.
        monitor: name in the logs.
        mode: "min" or "max", which of two values is better.

    Raises:
        ValueError: if `mode` is neither, or `monitor` is not in the logs or
            several numbers there.

    Example:

    >>> from keras_attention.training import KeepBest
    >>> KeepBest("best.npz", "val_exact_match", mode="max").best is None
    True
    """

    remembered = ("best", "best_epoch")  # by `Checkpoints`

    def __init__(
        self,
        path: str | os.PathLike,
        monitor: str = "val_error_rate",
        mode: str = "min",
    ):
        super().__init__()
        validation.check_choice("mode", mode, ("min", "max"))
        self.path = pathlib.Path(path)
        self.monitor = monitor
        self.mode = mode
        self.best = None
        self.best_epoch = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.best = None
        self.best_epoch = None

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        value = (logs or {}).get(self.monitor)
        if value is None:
            raise validation.invalid(
                "monitor",
                f"one of the logs {sorted(logs or {})}",
                repr(self.monitor),
                "GenerationMetrics must come before.",
            )
        if np.size(value) != 1:
            raise validation.invalid(
                "monitor",
                "a log of one number",
                f"{self.monitor!r} with {np.size(value)}",
                "A metric of Keras has one by `average`.",
            )
        value = float(value)
        if math.isnan(value) or not self.is_better(value):
            return
        if non_finite_weight(self.model) is not None:
            return
        self.best = value
        self.best_epoch = epoch
        arrays = archives.variable_arrays(self.model.weights)
        logs = finite_or_none(logs)
        facts = {"epoch": epoch + 1, **logs}
        archives.write_archive(self.path, arrays, facts)

    def load_into(self, model: keras.Model) -> dict:
        """Sets the weights of `model` to the best ones; returns the logs."""
        arrays, facts = archives.read_archive(self.path)
        archives.assign_arrays(model.weights, arrays, self.path)
        return facts

    def is_better(self, value: float) -> bool:
        """Whether a value of the monitor is better than the best so far."""
        if self.best is None:
            return True
        return value < self.best if self.mode == "min" else value > self.best


class StopWhenNonFinite(keras.callbacks.Callback):
    """Ends a training whose weights have become NaN or infinite.

    It ends at the first step whose loss shows it, which is the step after the
    one that spoiled the weights where only the gradient was not finite.
    Unlike `keras.callbacks.TerminateOnNaN` it looks at the weights, so a loss
    of NaN that a loss scale (float16) has kept from them does not end the
    training. Where weights and loss are finite, a step costs nothing.

    Attributes:
        step: number of the step at which it ended, counted since the
            training began; None where all is well.
        epoch: number of its epoch, from 1.
        weight: path of the first weight that is not finite.

    Example:

    >>> from keras_attention.training import StopWhenNonFinite
    >>> StopWhenNonFinite().step is None
    True
    """

    def __init__(self):
        super().__init__()
        self._forget()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._forget()

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            self._check()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # The very last step may spoil the weights after a finite loss.
        self._check()

    def _forget(self):
        self.step = None
        self.epoch = None
        self.weight = None

    def _check(self):
        weight = non_finite_weight(self.model)
        if weight is None:
            return
        if self.step is None:
            self.step = int(self.model.optimizer.iterations)
            self.epoch = self._epoch
            self.weight = weight
        self.model.stop_training = True


class TimeBudget(keras.callbacks.Callback):
    """Ends the training at the first step after so many minutes.

    The epoch ends as others do, with validation and the callbacks.

    Args:
        minutes: number above 0, counted from the making of the object.

    Raises:
        ValueError: if `minutes` is not above 0.

    Example:

    >>> from keras_attention.training import TimeBudget
    >>> TimeBudget(minutes=5).is_over()
    False
    """

    def __init__(self, minutes: float):
        super().__init__()
        validation.check_positive_number("minutes", minutes)
        self._end = time.monotonic() + 60.0 * minutes

    def is_over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self._end

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.is_over():
            self.model.stop_training = True

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self.is_over():
            self.model.stop_training = True
