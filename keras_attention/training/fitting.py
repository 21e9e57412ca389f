"""The training itself: what `train` compiles, and runs with `fit`."""

import dataclasses

import keras

from keras_attention import functional
from keras_attention.models import Seq2Seq
from keras_attention.models.builder import hides_padding_alone
from keras_attention.training import aids
from keras_attention.training import optimizers
from keras_attention.training.callbacks import GenerationMetrics
from keras_attention.training.callbacks import KeepBest
from keras_attention.training.callbacks import StopWhenNonFinite
from keras_attention.training.callbacks import TimeBudget
from keras_attention.training.checkpoints import Checkpoints
from keras_attention.training.checkpoints import Position
from keras_attention.training.history import HistoryFile
from keras_attention.training.identity import MAY_GROW
from keras_attention.training.identity import facts_of
from keras_attention.training.losses import MaskedCrossentropy
from keras_attention.training.losses import TokenAccuracy
from keras_attention.training.pipeline import make_dataset
from keras_attention.training.preparation import Data
from keras_attention.training.settings import TrainingSettings
from keras_attention.training.workspace import Workspace

MODES = {"error_rate": "min", "exact_match": "max", "loss": "min"}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The callbacks that know, after `fit`, how it went."""

    best: KeepBest
    finite: StopWhenNonFinite
    history: HistoryFile


def compile_model(
    settings: TrainingSettings, data: Data, model: Seq2Seq
) -> None:
    """Compiles the model with the optimizer, loss and aids of the settings."""
    steps = data.survey.num_batches(**settings.batching)
    model.compile(
        optimizers.make_optimizer(settings, settings.epochs * steps),
        MaskedCrossentropy(settings.label_smoothing),
        metrics=[TokenAccuracy()],
        jit_compile=settings.jit_compile is True,
        alignment_loss=aids.alignment_loss_of(settings),
        scheduled_sampling=aids.scheduled_sampling_of(settings, model),
    )


def fit(
    settings: TrainingSettings, workspace: Workspace, data: Data, model: Seq2Seq
) -> Outcome:
    """Trains to the end, from where the workspace says that it stands.

    `Checkpoints.restore` builds the optimizer: Keras would otherwise trace
    the first step twice, once to make its variables.
    """
    outcome = _new_outcome(settings, workspace)
    chosen = _callbacks(settings, data, outcome)
    checkpoints = Checkpoints(
        workspace.checkpoints,
        every=settings.checkpoint_every,
        callbacks=chosen,
        facts=facts_of(settings, data),
        may_grow=MAY_GROW,
    )
    start = checkpoints.restore(model)
    if start.stopped or start.epoch >= settings.epochs:
        checkpoints.restore_callbacks()
        return outcome
    if settings.verbose and start > Position():
        print(f"Going on at epoch {start.epoch + 1}, step {start.step + 1}.")
    dataset, held_out = _datasets(settings, data, start)
    with _declared_batches(settings, data, model):
        model.fit(
            dataset,
            epochs=settings.epochs,
            initial_epoch=start.epoch,
            steps_per_epoch=data.survey.num_batches(**settings.batching),
            validation_data=held_out,
            callbacks=[checkpoints, *chosen],
            shuffle=False,  # make_dataset has shuffled
            verbose=settings.verbose,
        )
    return outcome


def _declared_batches(settings, data, model):
    """Declares the shapes that `fit` will see, for fused attention."""
    shapes = {
        shape: None
        for survey in (data.survey, data.held_out_survey)
        for shape in survey.shapes(**settings.batching)
    }
    return functional.declared_batches(
        shapes, padding_is_last=hides_padding_alone(model)
    )


def _new_outcome(settings, workspace):
    monitor = settings.monitor
    return Outcome(
        KeepBest(workspace.best, f"val_{monitor}", MODES[monitor]),
        StopWhenNonFinite(),
        HistoryFile(workspace.history),
    )


def _callbacks(settings, data, outcome):
    """Returns the callbacks in their order: the later see what those before
    have put into the logs."""
    measurement = GenerationMetrics(
        data.held_out,
        search=settings.search,
        max_sources=settings.max_measured,
    )
    best = outcome.best
    chosen = [*settings.callbacks, outcome.finite, measurement, best]
    if settings.patience is not None:
        stopping = keras.callbacks.EarlyStopping(
            best.monitor, mode=best.mode, patience=settings.patience
        )
        chosen.append(stopping)
    if settings.max_minutes is not None:
        chosen.append(TimeBudget(settings.max_minutes))
    return [*chosen, outcome.history]


def _datasets(settings, data, start):
    """Returns the batches to train on from `start`, and those held out."""
    sides = data.source_vocabulary, data.target_vocabulary
    common = {**settings.batching, "seed": settings.seed}
    dataset = make_dataset(
        data.pairs,
        *sides,
        survey=data.survey,
        epoch=start.epoch,
        step=start.step,
        repeat=True,
        **common,
    )
    held_out = make_dataset(
        data.held_out,
        *sides,
        survey=data.held_out_survey,
        shuffle=False,
        **common,
    )
    return dataset, held_out
