"""The course of a training: from its settings to the folder of the model."""

import contextlib
import dataclasses
import tempfile
from typing import Any
from typing import NamedTuple

import keras

from keras_attention.models import folders
from keras_attention.training import saving
from keras_attention.training.card import check_same_facts
from keras_attention.training.card import check_same_settings
from keras_attention.training.distribution import distribution_of
from keras_attention.training.distribution import telling_the_others
from keras_attention.training.distribution import told_by_the_chief
from keras_attention.training.fitting import Fitting
from keras_attention.training.fitting import compile_model
from keras_attention.training.identity import facts_of
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

    model: Any  #: Seq2Seq with its best weights
    card: Any  #: dict, as in card.json of the folder


def run(settings: TrainingSettings) -> Trained:
    """Does what `train` says with its arguments."""
    distribution = distribution_of(settings.strategy)
    distribution.check(settings)
    if not distribution.is_chief:
        return _run_beside_the_chief(settings, distribution)
    workspace = Workspace(settings.folder)
    with contextlib.ExitStack() as stack:
        with telling_the_others(distribution) as course:
            _check_folders(settings, workspace)
            course.is_finished = _has_nothing_to_do(settings, workspace)
            if not course.is_finished:
                stack.enter_context(workspace.locked())
        if course.is_finished:
            return _finished(settings)
        trained = _train(settings, workspace, distribution)
        distribution.wait_for_all()
        return trained


def _run_beside_the_chief(settings, distribution):
    """Trains as the chief does, in a temporary folder."""
    of_chief = Workspace(settings.folder)
    if told_by_the_chief(distribution).is_finished:
        return _finished(dataclasses.replace(settings, verbose=0))
    with tempfile.TemporaryDirectory() as folder:
        settings = dataclasses.replace(
            settings, folder=f"{folder}/{settings.folder.name}", verbose=0
        )
        workspace = Workspace(settings.folder)
        trained = _train(settings, workspace, distribution, of_chief)
    distribution.wait_for_all()
    return trained


def _train(settings, workspace, distribution, of_chief=None):
    """Trains and saves; from where the workspace of the chief stands."""
    with distribution.scope():
        data = prepare(settings)
        keras.utils.set_random_seed(settings.seed)
        model = build_model(settings, data)
        compile_model(settings, data, model)
    distribution.check_alike(facts_of(settings, data))
    if not settings.resume:
        workspace.begin_anew()
    distribution.wait_for_all()
    if of_chief is not None:
        workspace.copy_of(of_chief)
    distribution.wait_for_all()
    if settings.verbose:
        print(data.summary(model))
    fitting = Fitting(settings, workspace, data, model, distribution)
    outcome = fitting.fit()
    mean = fitting.measure_mean(outcome)
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
        folders.check_free(settings.folder, settings.overwrite)


def _has_nothing_to_do(settings, workspace):
    is_asked = settings.resume and not settings.overwrite
    return is_asked and _is_finished(settings, workspace)


def _is_finished(settings, workspace):
    """Whether `resume` finds a model, and nothing to go on with."""
    is_there = (settings.folder / folders.MODEL).is_file()
    return is_there and not workspace.has_begun()


def _finished(settings):
    card = folders.read_card(settings.folder)
    check_same_settings(card, settings)
    check_same_facts(card, settings)
    if settings.verbose:
        print(f"{str(settings.folder)!r} is finished: nothing to go on with.")
    return Trained(folders.load(settings.folder), card)
