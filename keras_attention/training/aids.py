"""The training aids of `train`: told by a name or a number, or made by you."""

import json
from typing import Any

import keras

from keras_attention import validation
from keras_attention.choices import ALIGNMENT_LOSSES
from keras_attention.decoding import Sample
from keras_attention.models import TransformerDecoder
from keras_attention.models.parts import takes
from keras_attention.training.alignment_losses import CoverageLoss
from keras_attention.training.alignment_losses import DiagonalAlignmentLoss
from keras_attention.training.scheduled_sampling import ScheduledSampling

BY_NAME = dict(
    zip(ALIGNMENT_LOSSES, (CoverageLoss, DiagonalAlignmentLoss), strict=True)
)


def check(alignment_loss: Any, scheduled_sampling: Any) -> None:
    """Checks the arguments of `train`.

    Raises:
        ValueError: if one is not what `train` says.
    """
    if isinstance(alignment_loss, str):
        validation.check_choice(
            "alignment_loss", alignment_loss, ALIGNMENT_LOSSES
        )
    elif alignment_loss is not None and not callable(alignment_loss):
        raise validation.invalid(
            "alignment_loss", "a name, a callable or None", repr(alignment_loss)
        )
    elif alignment_loss and takes(alignment_loss, "alignment"):
        raise validation.invalid(
            "alignment_loss",
            "one that needs no alignments, for pairs of texts have none",
            type(alignment_loss).__name__,
            "Compile the model yourself, with data that have them.",
        )
    if validation.is_number(scheduled_sampling):
        validation.check_rate("scheduled_sampling", scheduled_sampling)
    for name, aid in (
        ("alignment_loss", alignment_loss),
        ("scheduled_sampling", scheduled_sampling),
    ):
        try:
            describe(aid)
        except (AttributeError, TypeError, ValueError) as error:
            raise validation.invalid(
                name,
                "an object with `get_config`, by which a training that goes "
                "on knows it",
                repr(aid)[:80],
                str(error)[:200],
            ) from error


def describe(aid: Any) -> Any:
    """Returns a name or number as it is, of an object its config, for JSON."""
    if aid is None or isinstance(aid, str) or validation.is_number(aid):
        return aid
    config = keras.saving.serialize_keras_object(aid)
    return json.loads(json.dumps(config, default=float))


def alignment_loss_of(settings: Any) -> Any:
    """Returns the alignment loss of a training, or None.

    Args:
        settings: a `TrainingSettings`.
    """
    found = settings.alignment_loss
    return BY_NAME[found]() if isinstance(found, str) else found


def scheduled_sampling_of(settings: Any, model: Any) -> Any:
    """Returns the `ScheduledSampling` of a training, or None.

    Args:
        settings: a `TrainingSettings`.
        model: the `Seq2Seq`.
    """
    found = settings.scheduled_sampling
    if not validation.is_number(found):
        return found
    if not found:
        return None
    return ScheduledSampling(
        1 - found,
        Sample(seed=settings.seed),
        # Step by step a Transformer would read its target again and again.
        in_parallel=isinstance(model.decoder, TransformerDecoder),
    )
