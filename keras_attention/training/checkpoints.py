"""Checkpoints that a killed training goes on from, at the very batch."""

import os
import pathlib
import warnings
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

import keras

from keras_attention import files
from keras_attention import validation
from keras_attention.models.finite import non_finite_weight
from keras_attention.models.first_step import build_optimizer
from keras_attention.training import archives
from keras_attention.training import callback_state

KEPT = 2
# True to `fit`, and not what another callback sets to end the training.
END_OF_EPOCH = object()


class Position(NamedTuple):
    """Where a training stands: `step` batches of `epoch` are done."""

    epoch: int = 0  #: number of epochs that are done
    step: int = 0  #: batches that are done of the epoch under way
    stopped: bool = False  #: ended before its last epoch, by a callback


class Checkpoints(keras.callbacks.Callback):
    """Saves everything every N steps, and goes on from there.

    A checkpoint holds the variables of the model (weights, state of the
    random seeds) and of its optimizer, what other callbacks remember, what the
    training metrics have summed up, and the position in the data. Its file is
    whole or absent, and the last two are kept. Weights that are NaN or
    infinite are not saved. Where the order of the data follows from the epoch,
    as with `make_dataset`, a training that is killed at any moment ends with
    the weights of one that was not:

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

    It must be the first of the callbacks.

    Args:
        folder: path of a folder for checkpoints, made if need be.
        every: number of steps between two checkpoints. Others come at the
            start and after each epoch.
        callbacks: callbacks whose state is kept: the attributes that the
            class names in `remembered`, a tuple of str, and for callbacks of
            Keras what they count (`EarlyStopping`, `ReduceLROnPlateau`,
            `ModelCheckpoint`). Numbers, None and lists of arrays can be kept.
            A checkpoint sets no other attribute.
        facts: dict for JSON of what must not change between two runs, such
            as a digest of the data.
        may_grow: names of the numbers in `facts` that may be greater when the
            training goes on, with a warning.
        defaults: dict of what facts were before they had a name, for
            checkpoints of older versions that do not hold them.

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

    def __init__(
        self,
        folder: str | os.PathLike,
        every: int = 1000,
        callbacks: Sequence = (),
        facts: dict | None = None,
        may_grow: Sequence[str] = (),
        defaults: dict | None = None,
    ):
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.every = validation.check_positive_integer("every", every)
        self._callbacks = list(callbacks)
        self._facts = facts or {}
        self._may_grow = tuple(may_grow)
        self._defaults = defaults or {}
        self._position = Position()
        self._remembered = None  # of the callbacks, from a checkpoint
        self._metrics = []  # what they were there
        self._is_whole = False  # whether the last epoch ran all its steps
        self._skipped = 0  # steps of the epoch, before this run
        self._has_begun = False  # the first epoch of this run
        self._resumed = self._position

    def restore(self, model: keras.Model) -> Position:
        """Sets a compiled model to the last checkpoint, if there is one.

        Returns:
            The `Position` to go on from.

        Raises:
            ValueError: if the checkpoint is of another model, or its facts
                differ, or no checkpoint of those there can be read.
        """
        build_optimizer(model)
        found = self._last_whole()
        if found is None:
            return self._position
        path, arrays, state = found
        self._check_facts(state["facts"], path)
        variables = _variables(model)
        count = len(variables)
        end = count + state.get("metrics", 0)  # those of before had none
        archives.assign_arrays(variables, arrays[:count], path)
        self._metrics = arrays[count:end]
        self._remembered = state["callbacks"], arrays[end:], path
        self._position = Position(*state["position"])
        return self._position

    def restore_callbacks(self) -> None:
        """Sets the callbacks to what the restored checkpoint remembers.

        `fit` does this; call it where no epoch is left to train.

        Raises:
            ValueError: if the checkpoint is of other callbacks, or names an
                attribute that its callback does not remember.
        """
        if self._remembered is None:
            return
        states = callback_state.match(self._callbacks, *self._remembered)
        for callback, state in states:
            for name, value in state.items():
                setattr(callback, name, value)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._resumed = self._position
        self._has_begun = False
        files.make_folder(self.folder)

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if not self._has_begun:
            # The others have begun by now, and forgotten what they knew.
            self._has_begun = True
            self.restore_callbacks()
            self._remembered = None
            self._check_newest(epoch)
        skipped = self._resumed.step if epoch == self._resumed.epoch else 0
        self._skipped = skipped
        self._position = Position(epoch, skipped)
        if not skipped:
            self._save()

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        # Keras makes most metrics in the first step, and not before.
        if self._metrics:
            archives.add_arrays(self.model.metrics_variables, self._metrics)
            self._metrics = []
        before = self._position
        step = self._skipped + batch + 1
        self._position = before._replace(step=step)
        steps = self.params.get("steps")
        if steps is not None and step >= steps:
            if self._skipped:  # fit knows nothing of the steps skipped
                self.model.stop_training = END_OF_EPOCH
        elif step // self.every > before.step // self.every:
            self._save()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        steps = self.params.get("steps")
        self._is_whole = steps is None or self._position.step >= steps
        if self.model.stop_training is END_OF_EPOCH:
            self.model.stop_training = False

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._has_begun and self._is_whole:
            epoch = self._position.epoch + 1
            stopped = bool(self.model.stop_training)
            self._position = Position(epoch, 0, stopped)
            self._save()

    def _check_newest(self, epoch):
        """Refuses to train below the checkpoints of another training.

        The newest are kept, and the next training would go on from those.
        """
        newest = max((path.name for path in self._paths()), default="")
        goes_on = epoch == self._resumed.epoch
        begin = self._resumed if goes_on else Position(epoch)
        if newest > _file_name(begin):
            raise ValueError(
                f"`folder` must have no checkpoint of a later step than that "
                f"which the training begins at. Received: "
                f"{str(self.folder)!r} with {newest}. Call `restore` before "
                "`fit`, and begin where it says, or take another folder."
            )

    def _save(self):
        if non_finite_weight(self.model) is not None:
            return  # what was saved before is better to go on from
        position = self._position
        arrays = archives.variable_arrays(_variables(self.model))
        metrics = self.model.metrics_variables if position.step else []
        states, arrays_of_callbacks = callback_state.capture(self._callbacks)
        state = {
            "position": position,
            "metrics": len(metrics),
            "callbacks": states,
            "facts": self._facts,
        }
        arrays += archives.variable_arrays(metrics) + arrays_of_callbacks
        path = self.folder / _file_name(position)
        archives.write_archive(path, arrays, state)
        for path in self._paths()[:-KEPT]:
            path.unlink()

    def _last_whole(self):
        """Returns path, arrays and state of the last checkpoint, or None.

        Damaged ones after it are renamed, so that they count no more.
        """
        damaged = {}
        for path in reversed(self._paths()):
            try:
                arrays, state = archives.read_archive(path)
                _check_state(state, path)
            except ValueError as error:
                damaged[path] = error
                continue
            for other, error in damaged.items():
                warnings.warn(
                    f"{error} Going on from {path.name}.", stacklevel=4
                )
                other.rename(other.with_name(f"{other.name}.damaged"))
            return path, arrays, state
        if damaged:
            raise ValueError(
                " ".join(map(str, damaged.values()))
                + " No checkpoint is left to go on from: begin anew."
            )
        return None

    def _check_facts(self, facts, path):
        for name in {**self._facts, **facts}:  # in this order
            was = facts.get(name, self._defaults.get(name))
            now = self._facts.get(name)
            is_number = isinstance(was, int) and isinstance(now, int)
            if name in self._may_grow and is_number and now > was:
                warnings.warn(
                    f"`{name}` was {was} and is {now} now. What follows from "
                    "it, such as the schedule of the learning rate, changes "
                    "from here on, so the weights will differ from those of a "
                    f"training with {name}={now} from the start.",
                    stacklevel=4,
                )
            elif was != now:
                raise ValueError(
                    f"`{name}` must be what it was in {str(path)!r}, {was!r}, "
                    f"to go on from there. Received: {name}={now!r}. Begin "
                    "anew or restore the old value."
                )

    def _paths(self):
        return sorted(self.folder.glob("checkpoint-*.npz"))


def _file_name(position):
    return f"checkpoint-{position.epoch:06}-{position.step:09}.npz"


def _variables(model):
    return [*model.variables, *model.optimizer.variables]


def _check_state(state, path):
    """Checks what a checkpoint says of position, callbacks and facts."""
    position = state.get("position")
    is_whole = (
        isinstance(state.get("facts"), dict)
        and isinstance(position, list)
        and list(map(type, position)) == [int, int, bool]
        and min(position) >= 0
        and type(state.get("metrics", 0)) is int
        and state.get("metrics", 0) >= 0
        and callback_state.is_valid(state.get("callbacks"))
    )
    if not is_whole:
        raise ValueError(
            f"The file {str(path)!r} cannot be read: it is no checkpoint."
        )
