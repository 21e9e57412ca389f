"""The course of a training: from its settings to the folder of the model."""

from typing import Any
from typing import NamedTuple

import keras

from keras_attention import files
from keras_attention.models import folders
from keras_attention.training import fitting
from keras_attention.training import saving
from keras_attention.training.card import check_same_settings
from keras_attention.training.preparation import build_model
from keras_attention.training.preparation import prepare
from keras_attention.training.settings import TrainingSettings
from keras_attention.training.workspace import Workspace


class Trained(NamedTuple):
    """What `train` returns.

    Example:

    >>> from keras_attention.training import Trained
    >>> Trained._fields
    ('model', 'card')
    """

    model: Any  # Seq2Seq with its best weights
    card: Any  # dict, as in card.json of the folder


def run(settings: TrainingSettings) -> Trained:
    """Does what `train` says with its arguments."""
    workspace = Workspace(settings.folder)
    _check_folders(settings, workspace)
    if settings.resume and not settings.overwrite:
        if _is_finished(settings, workspace):
            return _finished(settings)
    with workspace.locked():
        data = prepare(settings)
        keras.utils.set_random_seed(settings.seed)
        model = build_model(settings, data)
        fitting.compile_model(settings, data, model)
        if not settings.resume:
            workspace.begin_anew()
        if settings.verbose:
            print(data.summary(model))
        outcome = fitting.fit(settings, workspace, data, model)
        mean = fitting.measure_mean(settings, data, model, outcome)
        fitting.forget_graphs(model)
        card = saving.save_best(settings, data, model, outcome, mean)
        workspace.remove()
    if settings.verbose:
        what = "mean" if mean and mean.is_better else "best epoch"
        print(f"The {what} is saved in {str(settings.folder)!r}.")
    return Trained(model, card)


def _check_folders(settings, workspace):
    """Checks, before any work, that nothing is lost or mixed up.

    Raises:
        ValueError: if something is in the way.
    """
    workspace.check()
    if workspace.has_begun():
        if settings.resume:
            return
        if not settings.overwrite:
            raise ValueError(
                f"`folder` has an unfinished training, "
                f"{str(workspace.path)!r}. Received: resume=False and "
                "overwrite=False. Set resume=True to go on with it or "
                "overwrite=True to begin anew."
            )
    if not (settings.resume and _is_finished(settings, workspace)):
        overwrite = settings.overwrite
        files.check_free(settings.folder, overwrite, folders.MARKER_FILES)


def _is_finished(settings, workspace):
    """Whether `resume` finds a model, and nothing to go on with."""
    is_there = (settings.folder / folders.MODEL).is_file()
    return is_there and not workspace.has_begun()


def _finished(settings):
    card = folders.read_card(settings.folder)
    check_same_settings(card, settings)
    if settings.verbose:
        print(f"{str(settings.folder)!r} is finished: nothing to go on with.")
    return Trained(folders.load(settings.folder), card)
