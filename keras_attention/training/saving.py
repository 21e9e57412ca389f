"""What `train` does at its end: the best weights and a card in a folder."""

import warnings

from keras_attention.models import Seq2Seq
from keras_attention.models import folders
from keras_attention.training.callbacks import KeepBest
from keras_attention.training.card import card_of
from keras_attention.training.fitting import Mean
from keras_attention.training.fitting import Outcome
from keras_attention.training.preparation import Data
from keras_attention.training.settings import TrainingSettings


def save_best(
    settings: TrainingSettings,
    data: Data,
    model: Seq2Seq,
    outcome: Outcome,
    mean: Mean | None,
) -> dict:
    """Saves the weights of the best epoch; returns the card.

    Those of the mean, where it is better: the model has them.

    Raises:
        ValueError: if no epoch had finite weights, or those of the best one
            are not there any more.
    """
    best, finite = outcome.best, outcome.finite
    metrics, ended = {}, {}
    if finite.step is not None:
        _check_epoch_before(settings, outcome)
        ended = {"non_finite_at_step": finite.step}
    if mean is not None:
        ended["mean"] = {
            "epochs": mean.epochs,
            "is_saved": mean.is_better,
            **mean.results,
        }
    if mean is not None and mean.is_better:
        metrics = {"epochs": mean.epochs, **mean.results}
    elif best.best is not None:
        metrics = _load_best(model, best)
    else:
        warnings.warn(
            f"No epoch had a finite {best.monitor}: the last weights are kept.",
            stacklevel=4,
        )
    history = outcome.history.path
    texts = {}
    if history.is_file():
        texts[folders.HISTORY] = history.read_text(encoding="utf-8")
        ended["history"] = folders.HISTORY
    if settings.configuration is not None:
        texts[folders.CONFIGURATION] = settings.configuration
        ended["configuration"] = folders.CONFIGURATION
    card = card_of(settings, data, model, metrics, ended)
    overwrite = settings.overwrite or settings.resume
    folders.save_folder(model, settings.folder, card, overwrite, texts)
    return card


def _check_epoch_before(settings, outcome):
    """Warns that the training turned non-finite, or fails if all of it did."""
    best, finite = outcome.best, outcome.finite
    what = (
        f"The training ended at step {finite.step:,}, in epoch {finite.epoch}: "
        f"the weight {finite.weight!r} became NaN or infinite."
    )
    fix = "A lower learning rate or a smaller clip_norm may help."
    if best.best is None:
        received = f"learning_rate={settings.learning_rate}"
        received += f", clip_norm={settings.clip_norm}"
        if settings.has_own_optimizer:
            received = f"optimizer={settings.optimizer!r:.80}"
        raise ValueError(
            f"{what} No epoch before was whole, so no model is saved. {fix} "
            f"Received: {received}. Set overwrite=True to begin anew."
        )
    warnings.warn(
        f"{what} Epoch {best.best_epoch + 1}, the best before, is kept. {fix}",
        stacklevel=5,
    )


def _load_best(model, best: KeepBest):
    """Sets the weights of the best epoch; returns its results."""
    if not best.path.is_file():
        raise ValueError(
            f"The weights of epoch {best.best_epoch + 1}, the best, must be in "
            f"{str(best.path)!r}. Received: no such file. Nothing is saved. "
            "Put the file back, or begin anew with overwrite=True."
        )
    return best.load_into(model)
