"""The data and the model of a training, before the first step."""

import dataclasses
import os
import warnings
from typing import Any

from keras_attention.models import Seq2Seq
from keras_attention.models import build_seq2seq
from keras_attention.models import folders
from keras_attention.models.parts import check_positions
from keras_attention.text import read_vocabulary
from keras_attention.training.first_pass import HeldOut
from keras_attention.training.first_pass import read_once
from keras_attention.training.pairs import Pairs
from keras_attention.training.pairs import as_paths
from keras_attention.training.settings import TrainingSettings
from keras_attention.training.survey import Survey
from keras_attention.training.survey import Tally
from keras_attention.training.survey import survey_pairs
from keras_attention.training.tokenization import KnownTokens
from keras_attention.training.tokenization import NewPieces
from keras_attention.training.tokenization import NewTokens

HELD_OUT_SHARE, HELD_OUT_AT_MOST = 0.05, 2000
NUM_BUCKETS = 6
# Room for texts longer than any seen in the training.
LENGTH_MARGIN = 1.5


@dataclasses.dataclass(frozen=True)
class Data:
    """What is trained on; every pair was read and checked."""

    pairs: Pairs
    held_out: Pairs  # in memory, where the measurement needs its texts
    digest: str
    held_out_digest: str
    source_vocabulary: Any
    target_vocabulary: Any
    survey: Survey
    held_out_survey: Survey
    model: Any = None  # the one to go on from

    def measured_pairs(self) -> list:
        """Returns the pairs held out, without those that are too long."""
        left_out = self.held_out_survey.left_out
        pairs = enumerate(self.held_out)
        return [pair for number, pair in pairs if number not in left_out]

    def summary(self, model: Seq2Seq) -> str:
        """Returns a few lines for the reader."""
        buckets = ", ".join(f"{s}/{t}" for s, t in self.survey.buckets)
        return (
            f"Pairs:  {self.survey.num_pairs:,} to train on, "
            f"{self.held_out_survey.num_pairs:,} held out, "
            f"{len(self.survey.left_out):,} too long\n"
            f"Ids:    {described(self.source_vocabulary)} -> "
            f"{described(self.target_vocabulary)}; padded to {buckets}\n"
            f"Model:  {model.encoder.__class__.__name__} -> "
            f"{model.decoder.__class__.__name__}, "
            f"{model.count_params():,} weights"
        )


def prepare(settings: TrainingSettings) -> Data:
    """Reads and checks all pairs, once; makes or loads the vocabularies."""
    given = _given_held_out(settings)
    model = None
    if settings.initial_folder is not None:
        model = _initial_model(settings.initial_folder)
    sides = _sides(settings, model)
    tally = Tally(sides, settings.limits)
    pairs = Pairs(settings.pairs, columns=settings.columns)
    if given is None:
        held_out = HeldOut(HELD_OUT_SHARE, HELD_OUT_AT_MOST)
        digest = read_once(pairs, tally, held_out)
        pairs, _ = pairs.split(held_out.share)
        given = held_out.pairs()
        _check_parts(digest.count, len(given))
    else:
        digest = read_once(pairs, tally)
    found = {side: side.vocabulary() for side in dict.fromkeys(sides)}
    vocabularies = [found[side] for side in sides]
    choice = (NUM_BUCKETS, settings.pad_to_multiple_of)
    if all(side.measures for side in sides):
        survey = tally.survey(*choice)
    else:
        survey = survey_pairs(pairs, *vocabularies, *settings.limits, *choice)
    _warn_of_long_pairs(settings, survey)
    tally = Tally([*map(KnownTokens, vocabularies)], settings.limits)
    digest_of_held_out = read_once(given, tally)
    return Data(
        pairs,
        Pairs(given),
        str(digest),
        str(digest_of_held_out),
        *vocabularies,
        survey,
        tally.survey(*choice).including(survey),
        model,
    )


def build_model(settings: TrainingSettings, data: Data) -> Seq2Seq:
    """Builds the model of the arguments, or takes the one to go on from.

    Raises:
        ValueError: if its encoder or decoder has not enough positions.
    """
    _, longest = data.survey.longest
    with_margin = int(LENGTH_MARGIN * longest) + 1
    model = data.model
    if model is None:
        options = {"max_length": with_margin, **settings.options}
        model = build_seq2seq(
            settings.kind,
            data.source_vocabulary,
            data.target_vocabulary,
            seed=settings.seed,
            **options,
        )
    elif model.max_length < longest:
        model.max_length = with_margin  # or the new targets would be cut
    most = getattr(model.decoder, "max_positions", None)
    if most is not None and "max_length" not in settings.options:
        model.max_length = min(model.max_length, most)
    _check_positions(data, model)
    return model


def _check_positions(data, model):
    """Checks, before an epoch is lost, that all texts fit into the model."""
    reason = f"max_length={model.max_length}"
    check_positions("decoder", model.decoder, model.max_length, reason)
    parts = {"source": "encoder", "target": "decoder"}
    for survey in (data.survey, data.held_out_survey):
        if survey.num_pairs:
            lengths = zip(parts.items(), survey.longest, strict=True)
            for (side, part), length in lengths:
                reason = (
                    f"the longest {side} (max_{side}_length leaves longer "
                    "ones out)"
                )
                check_positions(part, getattr(model, part), length, reason)


def _given_held_out(settings):
    """Returns the `validation_pairs` as a list, or None."""
    if settings.validation_pairs is None:
        return None
    # A list has two sides already, whatever columns the files have.
    is_list = as_paths(settings.validation_pairs) is None
    columns = None if is_list else settings.columns
    return list(Pairs(settings.validation_pairs, columns=columns))


def _initial_model(folder):
    model = folders.load(folder)
    if None in (model.source_vocabulary, model.target_vocabulary):
        raise ValueError(
            "`initial_folder` must hold a model with vocabularies. "
            f"Received: initial_folder={str(folder)!r}."
        )
    return model


def _sides(settings, model):
    if model is not None:
        known = (model.source_vocabulary, model.target_vocabulary)
        return [*map(KnownTokens, known)]
    given = (settings.source_vocabulary, settings.target_vocabulary)
    units = (settings.source_unit, settings.target_unit)
    if settings.shared_vocabulary:
        return [_side(settings, None, units[0])] * 2  # it counts both
    return [_side(settings, *side) for side in zip(given, units, strict=True)]


def _side(settings, given, unit):
    if given is not None:
        is_path = isinstance(given, (str, os.PathLike))
        return KnownTokens(read_vocabulary(given) if is_path else given)
    if unit == "pieces":
        return NewPieces(settings.vocabulary_size)
    return NewTokens(unit, settings.vocabulary_size, settings.min_count)


def _check_parts(count, held_out):
    if not 0 < held_out < count:
        raise ValueError(
            "`pairs` must be enough to hold some out for validation. "
            f"Received: {count} pairs. Give `validation_pairs`."
        )


def _warn_of_long_pairs(settings, survey):
    if survey.left_out:
        source, target = settings.limits
        warnings.warn(
            f"{len(survey.left_out)} pairs are longer than max_source_length="
            f"{source} or max_target_length={target} and left out.",
            stacklevel=5,
        )


def described(vocabulary: Any) -> str:
    """Returns the size and the kind of a vocabulary."""
    return f"{len(vocabulary)} {getattr(vocabulary, 'unit', 'tokens')}"
