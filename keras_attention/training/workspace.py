"""The folder of a training that is not finished, FOLDER-training.

lock            held while a process trains
checkpoints/    where the training stands
best.npz        the weights of the best epoch so far
epochs/         those of the last epochs, where their mean is asked for
history.jsonl   the results of the epochs so far
"""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from keras_attention import files
from keras_attention import validation
from keras_attention.models.folders import HISTORY

LOCK = "lock"


class Workspace:
    """What a training keeps on disk until its model is saved.

    Args:
        folder: path of the model folder to make, a `pathlib.Path`.
    """

    def __init__(self, folder: pathlib.Path):
        self.model_folder = folder
        self.path = folder.with_name(f"{folder.name}-training")
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best.npz"
        self.epochs = self.path / "epochs"
        self.history = self.path / HISTORY

    def has_begun(self) -> bool:
        """Whether there is something to go on with."""
        return self.checkpoints.is_dir()

    def check(self) -> None:
        """Removes what killed processes left; checks what is at the path.

        Raises:
            ValueError: if something else is there.
        """
        for path in (
            self.path,
            self.model_folder,
            self.checkpoints,
            self.epochs,
            self.best,
            self.history,
        ):
            files.recover(path)
        if not self.path.exists() or self.has_begun():
            return
        ours = {LOCK, self.best.name, self.epochs.name, HISTORY}
        if not self.path.is_dir() or not ours.issuperset(
            path.name for path in self.path.iterdir()
        ):
            raise validation.invalid(
                "folder",
                "a path with nothing at FOLDER-training, where the training "
                "keeps its checkpoints",
                repr(str(self.model_folder)),
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training the same folder.

        The folder is removed again if no training has begun in it.

        Raises:
            ValueError: if another process trains it, or nothing can be
                written there.
        """
        try:
            files.make_folder(self.path)
            held = files.Lock(self.path / LOCK)
        except BlockingIOError:
            raise validation.invalid(
                "folder",
                "a path that no other process is training",
                repr(str(self.model_folder)),
                "Wait until that one ends, or choose another path.",
            ) from None
        except OSError as error:
            raise validation.invalid(
                "folder",
                "a path that can be written",
                repr(str(self.model_folder)),
                f"{error.strerror}: {error.filename!r}.",
            ) from error
        with held:
            try:
                yield
            finally:
                if self.path.is_dir() and not self.has_begun():
                    self._forget_results()
                    (self.path / LOCK).unlink(missing_ok=True)
                    with contextlib.suppress(OSError):  # not empty
                        self.path.rmdir()

    def copy_of(self, other: "Workspace") -> None:
        """Takes over where the training of another workspace stands."""
        files.make_folder(self.path)
        for name in ("checkpoints", "best", "epochs", "history"):
            source, target = getattr(other, name), getattr(self, name)
            if source.is_dir():
                shutil.copytree(source, target)
            elif source.is_file():
                shutil.copyfile(source, target)

    def begin_anew(self) -> None:
        """Forgets an unfinished training."""
        if self.has_begun():
            files.remove_folder(self.checkpoints)
        self._forget_results()

    def remove(self) -> None:
        """Deletes all of it; a crash leaves the whole or nothing."""
        files.remove_folder(self.path)

    def _forget_results(self):
        self.best.unlink(missing_ok=True)
        self.history.unlink(missing_ok=True)
        if self.epochs.is_dir():
            files.remove_folder(self.epochs)
