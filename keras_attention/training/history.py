"""The course of a training: one line of JSON for each epoch."""

import json
import math
import os
import pathlib
import time
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import files
from keras_attention.models import strict_json


class HistoryFile(keras.callbacks.Callback):
    """Writes the results of each epoch to a file of JSON lines.

    A line has the epoch, counted from 1, its seconds, the learning rate at
    its end, and all that is in the logs of `fit`: losses, metrics and what
    callbacks before this one have put there. What is NaN or infinite is null,
    and a metric of several values a list.
    The file is whole at any moment. A training that goes on after a crash
    (see `Checkpoints`) continues it: an epoch done again replaces its line.

    Args:
        path: path of the file.

    Example:

    >>> import tempfile
    >>> import keras
    >>> import numpy as np
    >>> from keras_attention.training import HistoryFile
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     history = HistoryFile(f"{folder}/history.jsonl")
    ...     data = np.ones((3, 2)), np.ones((3, 1))
    ...     _ = model.fit(*data, epochs=2, callbacks=[history], verbose=0)
    ...     [sorted(row) for row in history.rows()]
    [['epoch', 'learning_rate', 'loss', 'seconds'], ['epoch', ...]]
    """

    remembered = ("seconds",)  # by `Checkpoints`, in the middle of an epoch

    def __init__(self, path: str | os.PathLike):
        super().__init__()
        self.path = pathlib.Path(path)
        self.seconds = 0.0
        self._start = 0.0

    def rows(self) -> list[dict]:
        """Returns a dict for each epoch so far.

        Raises:
            ValueError: if the file was changed and holds no rows any more.
        """
        if not self.path.is_file():
            return []
        try:
            lines = self.path.read_bytes().splitlines()
            return [_row_of(line) for line in lines]
        except ValueError as error:
            raise ValueError(
                f"The file {str(self.path)!r} must hold a JSON object a line, "
                f"each with its epoch. Received: {error}. Remove it to go on "
                "without it."
            ) from error

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.seconds = 0.0

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # A restored epoch has taken some seconds already.
        self._start = time.monotonic() - self.seconds

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self.seconds = time.monotonic() - self._start

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        rate = ops.convert_to_numpy(self.model.optimizer.learning_rate)
        row = {
            "epoch": epoch + 1,
            "seconds": round(time.monotonic() - self._start, 3),
            "learning_rate": float(rate),
            **finite_or_none(logs or {}),
        }
        before = [r for r in self.rows() if r["epoch"] <= epoch]
        lines = [json.dumps(r, allow_nan=False) for r in [*before, row]]
        files.write_text(self.path, "".join(f"{line}\n" for line in lines))
        self.seconds = 0.0


def _row_of(line):
    row = strict_json.parse_object(line)
    if type(row.get("epoch")) is not int:
        raise ValueError(f"a line whose epoch is {row.get('epoch')!r:.40}")
    return row


def finite_or_none(logs: dict) -> dict:
    """Returns logs as floats, with None for what JSON has no number for.

    A metric that has several values, one for each class, is a list of them.
    """
    arrays = {n: ops.convert_to_numpy(value) for n, value in logs.items()}
    return {n: _finite(np.asarray(a).tolist()) for n, a in arrays.items()}


def _finite(value):
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return float(value) if math.isfinite(value) else None
