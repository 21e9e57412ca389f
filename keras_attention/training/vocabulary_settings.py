"""Which vocabularies a training is to have: checks of these arguments."""

import os
from typing import Any

from keras_attention import validation
from keras_attention.choices import VOCABULARY_UNITS
from keras_attention.models import vocabularies
from keras_attention.text import SPECIAL_TOKENS

SIDES = ("source", "target")
DEFAULT_UNIT = "characters"


def check(settings: Any) -> None:
    """Checks the arguments of a `TrainingSettings` for a new model.

    Raises:
        ValueError: if one is unknown, or two exclude each other.
    """
    validation.check_choice(
        "shared_vocabulary", settings.shared_vocabulary, (True, False)
    )
    for side in SIDES:
        name = f"{side}_unit"
        unit, given = getattr(settings, name), _given(settings, side)
        if unit is not None:
            validation.check_choice(name, unit, VOCABULARY_UNITS)
        if given is not None:
            _check_given(side, given, unit)
    units = {unit_of(settings, side) for side in SIDES}
    if settings.shared_vocabulary and (None in units or len(units) > 1):
        raise validation.invalid(
            "shared_vocabulary",
            "False unless both units are one, and no vocabulary is given",
            True,
            "Set source_unit='pieces' and target_unit='pieces'.",
        )
    if settings.options.get("share_embeddings") and not (
        settings.shared_vocabulary or units == {None}
    ):
        raise validation.invalid(
            "share_embeddings",
            "False where sources and targets have vocabularies of their own",
            True,
            "Set shared_vocabulary=True.",
        )
    _check_size(settings.vocabulary_size, units)
    if settings.min_count != 1 and units <= {"pieces", None}:
        raise validation.invalid(
            "min_count", "1 where no tokens are counted", settings.min_count
        )


def unit_of(settings: Any, side: str) -> str | None:
    """Returns the unit of a new vocabulary; None where one is given."""
    if _given(settings, side) is not None:
        return None
    return getattr(settings, f"{side}_unit") or DEFAULT_UNIT


def _given(settings, side):
    return getattr(settings, f"{side}_vocabulary")


def _check_size(size, units):
    if size is None:
        return
    if units == {None}:
        raise validation.invalid(
            "vocabulary_size", "None where both vocabularies are given", size
        )
    if size <= len(SPECIAL_TOKENS):
        expected = f"above {len(SPECIAL_TOKENS)}, the special tokens"
        raise validation.invalid("vocabulary_size", expected, size)


def _check_given(side, given, unit):
    if unit is not None:
        raise validation.invalid(
            f"{side}_unit",
            f"None where `{side}_vocabulary` is given, which has its own",
            repr(unit),
        )
    name = f"{side}_vocabulary"
    if isinstance(given, (str, os.PathLike)):
        if not os.path.isfile(given):
            raise validation.invalid(
                name, "the path of a file", repr(str(given))
            )
        return
    vocabularies.check_methods(name, given)
    # Else it would be found out when the first epoch is saved.
    vocabularies.check_can_be_saved(name, given)
