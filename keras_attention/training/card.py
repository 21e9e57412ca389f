"""The card of a trained model: what it is, made from what, how good."""

import json

from keras_attention.models import Seq2Seq
from keras_attention.models import folders
from keras_attention.training import aids
from keras_attention.training import optimizers
from keras_attention.training.identity import DEFAULTS
from keras_attention.training.identity import facts_of
from keras_attention.training.pairs import as_paths
from keras_attention.training.preparation import Data
from keras_attention.training.preparation import described
from keras_attention.training.preparation import prepare
from keras_attention.training.settings import OF_THE_OPTIMIZER
from keras_attention.training.settings import TrainingSettings

ON_THE_CARD = (
    "epochs",
    "batch_size",
    "learning_rate",
    "decay",
    "label_smoothing",
    "monitor",
    "seed",
)
FACTS = "facts"


def card_of(
    settings: TrainingSettings,
    data: Data,
    model: Seq2Seq,
    metrics: dict,
    ended: dict,
) -> dict:
    """Returns the card: what the model is, made from what, how good.

    Args:
        settings: a `TrainingSettings`.
        data: its `Data`.
        model: the trained model.
        metrics: dict of the results of its best epoch.
        ended: dict of what else there is to say of the end: why it came
            early, what the mean of the last epochs was worth.
    """
    card = {
        "kind": settings.kind,
        "options": settings.options_for_json,
        "weights": model.count_params(),
        "source": described(data.source_vocabulary),
        "target": described(data.target_vocabulary),
        "data": {
            "files": _file_names(settings.pairs),
            "pairs": data.survey.num_pairs,
            "too_long": len(data.survey.left_out),
            "held_out": data.held_out_survey.num_pairs,
        },
        "training": {
            **_training_facts(settings),
            **ended,
        },
        "metrics": metrics,
        FACTS: facts_of(settings, data),
    }
    if settings.initial_folder is not None:
        before = folders.read_card(settings.initial_folder)
        card["initial"] = before
        card["kind"] = before.get("kind")
        card["options"] = before.get("options", {})
    return card


def check_same_settings(card: dict, settings: TrainingSettings) -> None:
    """Checks that a finished model was trained as is asked for now.

    Raises:
        ValueError: if its card has another kind, option or setting.
    """
    if "training" not in card:  # not written here
        return
    wanted, found = _training_facts(settings), card["training"]
    if settings.initial_folder is None:
        given = {"kind": settings.kind, **settings.options_for_json}
        had = {"kind": card.get("kind"), **card.get("options", {})}
        wanted = {**wanted, **dict.fromkeys(had), **given}
        found = {**found, **dict.fromkeys(given), **had}
        for side in ("source", "target"):
            unit = getattr(settings, f"{side}_unit")
            if unit is not None:  # the card has "26 characters"
                wanted[f"{side}_unit"] = unit
                found[f"{side}_unit"] = card[side].rpartition(" ")[2]
    for name, value in _as_in_json(wanted).items():
        _check_same(name, value, found.get(name, value))


def check_same_facts(card: dict, settings: TrainingSettings) -> None:
    """Checks that a finished model was trained on the same, in the same way.

    This takes what `check_same_settings` does not: the data must be read.
    Cards of older versions do not say enough for it.

    Raises:
        ValueError: if its card has other facts.
    """
    if FACTS not in card:
        return
    found, facts = card[FACTS], facts_of(settings, prepare(settings))
    for name, value in _as_in_json(facts).items():
        _check_same(name, value, found.get(name, DEFAULTS.get(name)))


def _as_in_json(facts):
    return json.loads(json.dumps(facts))


def _check_same(name, value, found):
    if value != found:
        raise ValueError(
            f"`{name}` must be what it was where the training in `folder` "
            f"is finished: {found!r}. Received: {name}={value!r}. Name "
            "another folder, or set overwrite=True to begin anew."
        )


def _training_facts(settings):
    left_out = set(OF_THE_OPTIMIZER) if settings.has_own_optimizer else set()
    facts = {
        name: getattr(settings, name)
        for name in ON_THE_CARD
        if name not in left_out
    }
    if settings.batch_tokens is not None:
        del facts["batch_size"]
        facts["batch_tokens"] = settings.batch_tokens
    for name in ("alignment_loss", "scheduled_sampling"):
        if getattr(settings, name):
            facts[name] = aids.describe(getattr(settings, name))
    for name in ("average", "pad_to_multiple_of"):
        if getattr(settings, name) is not None:
            facts[name] = getattr(settings, name)
    if settings.monitor == "bleu":
        facts["bleu_tokenizer"] = settings.bleu_tokenizer
    facts["optimizer"] = optimizers.describe(settings.optimizer)
    return facts


def _file_names(pairs):
    paths = as_paths(pairs)
    return None if paths is None else [path.name for path in paths]
