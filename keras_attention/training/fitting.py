"""The training itself: what `train` compiles, and runs with `fit`."""

import dataclasses

import keras

from keras_attention import functional
from keras_attention.models import Seq2Seq
from keras_attention.models.builder import hides_padding_alone
from keras_attention.training import aids
from keras_attention.training import optimizers
from keras_attention.training import step_compilation
from keras_attention.training.averaging import KeepLast
from keras_attention.training.averaging import average_weights
from keras_attention.training.callbacks import KeepBest
from keras_attention.training.callbacks import StopWhenNonFinite
from keras_attention.training.callbacks import TimeBudget
from keras_attention.training.checkpoints import Checkpoints
from keras_attention.training.checkpoints import Position
from keras_attention.training.distribution import Distribution
from keras_attention.training.distribution import LogsOfChief
from keras_attention.training.generation_metrics import GenerationMetrics
from keras_attention.training.history import HistoryFile
from keras_attention.training.history import finite_or_none
from keras_attention.training.identity import DEFAULTS
from keras_attention.training.identity import MAY_GROW
from keras_attention.training.identity import facts_of
from keras_attention.training.losses import MaskedCrossentropy
from keras_attention.training.losses import TokenAccuracy
from keras_attention.training.pipeline import make_dataset
from keras_attention.training.preparation import Data
from keras_attention.training.settings import TrainingSettings
from keras_attention.training.text_metrics import USUAL_METRICS
from keras_attention.training.workspace import Workspace

# Which of two values of a monitor is better.
MODES = {
    "exact_match": "max",
    "error_rate": "min",
    "word_error_rate": "min",
    "character_error_rate": "min",
    "bleu": "max",
    "chrf": "max",
    "rouge_1": "max",
    "rouge_l": "max",
    "loss": "min",
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The callbacks that know, after `fit`, how it went."""

    best: KeepBest
    last: KeepLast | None  # where their mean is asked for
    measurement: GenerationMetrics
    finite: StopWhenNonFinite
    history: HistoryFile


@dataclasses.dataclass(frozen=True)
class Mean:
    """What the mean of the weights of the last epochs is worth."""

    epochs: list[int]
    results: dict  # as those of an epoch
    is_better: bool  # than the best epoch


def compile_model(
    settings: TrainingSettings, data: Data, model: Seq2Seq
) -> None:
    """Compiles the model with the optimizer, loss and aids of the settings."""
    steps = data.survey.num_batches(**settings.batching)
    model.compile(
        optimizers.make_optimizer(settings, settings.epochs * steps),
        MaskedCrossentropy(settings.label_smoothing),
        metrics=[TokenAccuracy()],
        jit_compile=step_compilation.compiles(settings, data.survey),
        alignment_loss=aids.alignment_loss_of(settings),
        scheduled_sampling=aids.scheduled_sampling_of(settings, model),
    )


@dataclasses.dataclass(frozen=True)
class Fitting:
    """A training whose model is compiled.

    Args:
        settings: its settings.
        workspace: where it keeps what it has reached.
        data: what is trained on.
        model: the compiled model.
        distribution: where it runs.
    """

    settings: TrainingSettings
    workspace: Workspace
    data: Data
    model: Seq2Seq
    distribution: Distribution

    def fit(self) -> Outcome:
        """Trains to the end, from where the workspace says that it stands.

        `Checkpoints.restore` builds the optimizer: Keras would otherwise
        trace the first step twice, once to make its variables.
        """
        settings = self.settings
        outcome = _new_outcome(settings, self.workspace, self.data)
        chosen = _callbacks(settings, outcome, self.distribution)
        checkpoints = Checkpoints(
            self.workspace.checkpoints,
            every=settings.checkpoint_every,
            callbacks=chosen,
            facts=facts_of(settings, self.data),
            may_grow=MAY_GROW,
            defaults=DEFAULTS,
        )
        with self.distribution.scope():
            start = checkpoints.restore(self.model)
        if start.stopped or start.epoch >= settings.epochs:
            checkpoints.restore_callbacks()
            return outcome
        if settings.verbose and start > Position():
            print(
                f"Going on at epoch {start.epoch + 1}, step {start.step + 1}."
            )
        with self._declared_batches():
            self.model.fit(
                self._batches(start),
                epochs=settings.epochs,
                initial_epoch=start.epoch,
                steps_per_epoch=self._num_batches(self.data.survey),
                callbacks=[checkpoints, *chosen],
                shuffle=False,  # make_dataset has shuffled
                verbose=settings.verbose,
                validation_data=self._held_out_batches(),
                validation_steps=self._num_batches(self.data.held_out_survey),
            )
        return outcome

    def measure_mean(self, outcome: Outcome) -> Mean | None:
        """Sets the model to the mean of its last epochs, and measures it.

        Returns:
            What it is worth; None where it is not asked for, or there is no
            best epoch to compare with.
        """
        best, last = outcome.best, outcome.last
        if last is None or best.best is None:
            return None
        average_weights(last.paths(), self.model)
        results = self._measured(outcome.measurement)
        value = results[best.monitor]
        mean = Mean(
            last.epochs(), finite_or_none(results), best.is_better(value)
        )
        if self.settings.verbose:
            print(
                f"The mean of the last {len(mean.epochs)} epochs: "
                f"{best.monitor} {value:.4f}; the best epoch: {best.best:.4f}."
            )
        return mean

    def _measured(self, measurement):
        """Returns what the logs of an epoch with these weights would be."""
        with self._declared_batches():
            found = self.model.evaluate(
                self._held_out_batches(),
                steps=self._num_batches(self.data.held_out_survey),
                return_dict=True,
                verbose=0,
            )
        results = {f"val_{name}": value for name, value in found.items()}
        measurement.set_model(self.model)  # `fit` may have had nothing to do
        measurement.measure()
        results |= measurement.results()
        if self.distribution.num_workers > 1:
            LogsOfChief(self.distribution).on_epoch_end(0, results)
        return results

    def _declared_batches(self):
        """Declares the shapes that `fit` will see, for fused attention."""
        data, batching = self.data, self.settings.batching
        shapes = {
            shape: None
            for survey in (data.survey, data.held_out_survey)
            for shape in self.distribution.shapes(survey.shapes(**batching))
        }
        return functional.declared_batches(
            shapes, padding_is_last=hides_padding_alone(self.model)
        )

    def _batches(self, start):
        """Returns the batches to train on, from `start` without end."""
        data = self.data
        options = {"epoch": start.epoch, "step": start.step, "repeat": True}
        return self._dataset(data.pairs, data.survey, **options)

    def _held_out_batches(self):
        """Returns the batches to measure the loss on, again and again.

        Without end, since Keras warns at the end of what several replicas
        share, as if batches were missing.
        """
        pairs, survey = self.data.held_out, self.data.held_out_survey
        return self._dataset(pairs, survey, shuffle=False, repeat=True)

    def _num_batches(self, survey):
        return survey.num_batches(**self.settings.batching)

    def _dataset(self, pairs, survey, **options):
        def make(**parts):
            return make_dataset(
                pairs,
                self.data.source_vocabulary,
                self.data.target_vocabulary,
                survey=survey,
                seed=self.settings.seed,
                **self.settings.batching,
                **options,
                **parts,
            )

        return self.distribution.dataset(make)


def _new_outcome(settings, workspace, data):
    monitor, average = settings.monitor, settings.average
    metrics = [*USUAL_METRICS]
    if monitor not in (*metrics, "loss"):
        metrics.append(monitor)
    measurement = GenerationMetrics(
        data.measured_pairs(),
        search=settings.search,
        max_sources=settings.max_measured,
        metrics=metrics,
        bleu_tokenizer=settings.bleu_tokenizer,
    )
    return Outcome(
        KeepBest(workspace.best, f"val_{monitor}", MODES[monitor]),
        None if average is None else KeepLast(workspace.epochs, average),
        measurement,
        StopWhenNonFinite(),
        HistoryFile(workspace.history),
    )


def _callbacks(settings, outcome, distribution):
    """Returns the callbacks in their order: the later see what those before
    have put into the logs."""
    best = outcome.best
    chosen = [*settings.callbacks, outcome.finite, outcome.measurement]
    if distribution.num_workers > 1:
        chosen.append(LogsOfChief(distribution))
    chosen.append(best)
    if outcome.last is not None:
        chosen.append(outcome.last)
    if settings.patience is not None:
        stopping = keras.callbacks.EarlyStopping(
            best.monitor, mode=best.mode, patience=settings.patience
        )
        chosen.append(stopping)
    if settings.max_minutes is not None:
        chosen.append(TimeBudget(settings.max_minutes))
    return [*chosen, outcome.history]
