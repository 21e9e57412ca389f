"""What is done while `fit` runs: generate, keep the best, watch the clock."""

import math
import os
import pathlib
import time
from typing import Any

import keras

from keras_attention import validation
from keras_attention.decoding import Greedy
from keras_attention.models.finite import non_finite_weight
from keras_attention.training import archives
from keras_attention.training.history import finite_or_none
from keras_attention.training.pairs import Pairs
from keras_attention.training.rates import counted_unit
from keras_attention.training.rates import error_rate
from keras_attention.training.rates import exact_match

SOURCES_AT_ONCE = 1024


class GenerationMetrics(keras.callbacks.Callback):
    """Generates for held-out sources and measures what comes out.

    Token accuracy knows the true target so far; this does not. The results
    enter the logs of `fit` as `val_exact_match` and `val_error_rate`, where
    early stopping and best checkpoints find them. Place it before those.

    Args:
        pairs: path, list of paths or list of (source, target); targets of one
            source are its references.
        every: epochs between two measurements; the logs repeat the last.
        search: search object, such as `Greedy()`.
        prefix: beginning of the names in the logs.
        unit: unit of the error rate. Defaults to the target vocabulary's, of
            another tokenizer to characters.
        max_sources: measure on so many sources, spread evenly; None on all.
        batch_size: how many sources run at once.

    Raises:
        ValueError: if an argument is out of range, or the pairs are broken.

    Example:

    >>> from keras_attention.training import GenerationMetrics
    >>> metrics = GenerationMetrics([("lead", "L IY D"), ("lead", "L EH D")])
    >>> metrics.references
    [['L IY D', 'L EH D']]
    """

    remembered = ("exact_match", "error_rate")  # by `Checkpoints`

    def __init__(
        self,
        pairs: Any,
        every: int = 1,
        search: Any = Greedy(),  # noqa: B008 (frozen)
        prefix: str = "val_",
        unit: str | None = None,
        max_sources: int | None = None,
        batch_size: int = 64,
    ):
        super().__init__()
        self.every = validation.check_positive_integer("every", every)
        validation.check_positive_integer(
            "max_sources", max_sources, optional=True
        )
        self.search = search
        self.prefix = prefix
        self.unit = unit
        self.batch_size = validation.check_positive_integer(
            "batch_size", batch_size
        )
        found = {}
        pairs = pairs if isinstance(pairs, Pairs) else Pairs(pairs)
        for source, target in pairs:
            found.setdefault(source, []).append(target)
        self.sources = _spread(list(found), max_sources)
        self.references = [found[source] for source in self.sources]
        self.exact_match = None
        self.error_rate = None

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        is_due = (epoch + 1) % self.every == 0
        if is_due or epoch + 1 == self.params.get("epochs"):
            self.measure()
        if logs is not None and self.exact_match is not None:
            logs[f"{self.prefix}exact_match"] = self.exact_match
            logs[f"{self.prefix}error_rate"] = self.error_rate

    def measure(self) -> tuple[float, float]:
        """Generates now; returns (exact_match, error_rate)."""
        texts = []
        for start in range(0, len(self.sources), SOURCES_AT_ONCE):
            generated = self.model.generate(
                self.sources[start : start + SOURCES_AT_ONCE],
                search=self.search,
                batch_size=self.batch_size,
                verbose=0,
            )
            texts += generated.texts[:, 0].tolist()
        unit = self.unit or counted_unit(self.model.target_vocabulary)
        self.exact_match = exact_match(self.references, texts, unit)
        self.error_rate = error_rate(self.references, texts, unit)
        return self.exact_match, self.error_rate


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
        ValueError: if `mode` is neither, or `monitor` is not in the logs.

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
        value = float(value)
        if math.isnan(value) or not self._is_better(value):
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

    def _is_better(self, value):
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
        if self.step is None and weight is not None:
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


def _spread(items, number):
    """Returns at most `number` of the items, evenly spread."""
    if number is None or len(items) <= number:
        return items
    return [items[place * len(items) // number] for place in range(number)]
