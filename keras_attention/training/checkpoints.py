"""Checkpoints that a killed training goes on from, at the very batch."""

import pathlib
from typing import NamedTuple

import keras
import numpy as np

from keras_attention import validation
from keras_attention.training import archives

KEPT = 2


class Position(NamedTuple):
    """Where a training stands: `step` batches of `epoch` are done."""

    epoch: int = 0
    step: int = 0
    stopped: bool = False  # ended before its last epoch, by a callback


class Checkpoints(keras.callbacks.Callback):
    """Saves everything every N steps, and goes on from there.

    A checkpoint holds the variables of the model (weights, state of the
    random seeds) and of its optimizer, what other callbacks remember, and the
    position in the data. It is written beside, synced and renamed; the last
    two are kept. Where the order of the data follows from the epoch, as with
    `make_dataset`, a training that is killed at any moment ends with the
    weights of one that was not:

        checkpoints = Checkpoints(folder, callbacks=[stopping])
        start = checkpoints.restore(model)
        dataset = make_dataset(
            ..., epoch=start.epoch, step=start.step, repeat=True
        )
        model.fit(
            dataset,
            epochs=10,
            initial_epoch=start.epoch,
            steps_per_epoch=steps,
            callbacks=[checkpoints, stopping],
        )

    It must be the first of the callbacks. After a restart the training
    metrics of the first epoch cover its remaining steps only.

    Args:
        folder: path of a folder for checkpoints, made if need be.
        every: number of steps between two checkpoints. Others come at the
            start and after each epoch.
        callbacks: callbacks whose public attributes are kept, those that are
            numbers, strings or lists of arrays and changed in the training:
            best value, patience and the like.
        facts: dict for JSON of what must not change between two runs, such
            as the sizes of the data.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import tempfile
    >>> import keras
    >>> from keras_attention.training import Checkpoints
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Checkpoints(folder).restore(model)
    Position(epoch=0, step=0, stopped=False)
    """

    def __init__(self, folder, every=1000, callbacks=(), facts=None):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.every = validation.check_positive_integer("every", every)
        self._callbacks = list(callbacks)
        self._facts = facts or {}
        self._position = Position()
        self._remembered = None  # of the callbacks, from a checkpoint
        self._ends_epoch = False
        self._is_whole = False  # the last epoch
        self._skipped = 0  # steps of the epoch, before this run
        self._initial = None
        self._resumed = self._position

    def restore(self, model):
        """Sets a compiled model to the last checkpoint, if there is one.

        Returns:
            The `Position` to go on from.

        Raises:
            ValueError: if the checkpoint is of another model, or its facts
                differ, or no checkpoint of those there can be read.
        """
        model.optimizer.build(model.trainable_variables)
        paths = self._paths()
        for path in reversed(paths):
            try:
                arrays, state = archives.read_archive(path)
            except ValueError:
                if path == paths[0]:
                    raise
                continue
            self._check_facts(state["facts"], path)
            variables = _variables(model)
            count = len(variables)
            archives.assign_arrays(variables, arrays[:count], path)
            self._remembered = state["callbacks"], arrays[count:]
            self._position = Position(*state["position"])
            break
        return self._position

    def on_train_begin(self, logs=None):
        # What the callbacks are before the first step need not be kept.
        self._resumed = self._position
        self._initial = None
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_epoch_begin(self, epoch, logs=None):
        if self._initial is None:  # the others have begun by now
            self._initial = [_memory(c) for c in self._callbacks]
            if self._remembered is not None:
                self._remind(*self._remembered)
        skipped = self._resumed.step if epoch == self._resumed.epoch else 0
        self._skipped = skipped
        self._position = Position(epoch, skipped)
        if not skipped:
            self._save()

    def on_train_batch_end(self, batch, logs=None):
        before = self._position
        step = self._skipped + batch + 1
        self._position = before._replace(step=step)
        steps = self.params.get("steps")
        if steps is not None and step >= steps:
            if self._skipped:  # fit knows nothing of the steps skipped
                self._ends_epoch = True
                self.model.stop_training = True
        elif step // self.every > before.step // self.every:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        steps = self.params.get("steps")
        self._is_whole = steps is None or self._position.step >= steps
        if self._ends_epoch:
            self._ends_epoch = False
            self.model.stop_training = False

    def on_train_end(self, logs=None):
        if self._initial is not None and self._is_whole:
            epoch = self._position.epoch + 1
            stopped = bool(self.model.stop_training)
            self._position = Position(epoch, 0, stopped)
            self._save()

    def _save(self):
        position = self._position
        arrays = archives.variable_arrays(_variables(self.model))
        changes = []
        for callback, initial in zip(
            self._callbacks, self._initial, strict=True
        ):
            memory = _memory(callback)
            numbers, lists = {}, {}
            for name, value in memory.items():
                if isinstance(value, list):
                    lists[name] = len(value)
                    arrays += value
                elif value != initial.get(name):
                    numbers[name] = value
            changes.append([numbers, lists])
        name = f"checkpoint-{position.epoch:06}-{position.step:09}.npz"
        facts = {
            "position": position,
            "callbacks": changes,
            "facts": self._facts,
        }
        archives.write_archive(self.folder / name, arrays, facts)
        for path in self._paths()[:-KEPT]:
            path.unlink()

    def _remind(self, changes, arrays):
        if len(changes) != len(self._callbacks):
            raise ValueError(
                f"`callbacks` must be the {len(changes)} of the checkpoint. "
                f"Received: {len(self._callbacks)} callbacks."
            )
        arrays = iter(arrays)
        for callback, (numbers, lists) in zip(
            self._callbacks, changes, strict=True
        ):
            for name, value in numbers.items():
                setattr(callback, name, value)
            for name, count in lists.items():
                setattr(callback, name, [next(arrays) for _ in range(count)])

    def _check_facts(self, facts, path):
        for name in {*facts, *self._facts}:
            was, now = facts.get(name), self._facts.get(name)
            if was != now:
                raise ValueError(
                    f"`{name}` must be what it was in {str(path)!r}, {was!r}, "
                    f"to go on from there. Received: {name}={now!r}. Begin "
                    "anew or restore the old value."
                )

    def _paths(self):
        return sorted(self.folder.glob("checkpoint-*.npz"))


def _variables(model):
    return [*model.variables, *model.optimizer.variables]


def _memory(callback):
    """Returns the public attributes that can be written down."""
    memory = {}
    for name, value in vars(callback).items():
        if name.startswith("_") or name in ("model", "params"):
            continue
        if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0:
            value = value.item()
        is_arrays = isinstance(value, list) and all(
            isinstance(item, np.ndarray) for item in value
        )
        if value is None or isinstance(value, (bool, int, float, str)):
            memory[name] = value
        elif is_arrays and value:
            memory[name] = value
    return memory
