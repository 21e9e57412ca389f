"""The data and the model of a training, before the first step."""

import dataclasses
import warnings

from keras_attention.models import build_seq2seq
from keras_attention.models import folders
from keras_attention.text import Vocabulary
from keras_attention.training.buckets import Survey
from keras_attention.training.buckets import survey_pairs
from keras_attention.training.pairs import Pairs
from keras_attention.training.pairs import as_paths

HELD_OUT_SHARE, HELD_OUT_AT_MOST = 0.05, 2000
ON_THE_CARD = (
    "epochs",
    "batch_size",
    "learning_rate",
    "decay",
    "label_smoothing",
    "monitor",
    "seed",
)
# Room for texts longer than any seen in the training.
LENGTH_MARGIN = 1.5


@dataclasses.dataclass(frozen=True)
class Data:
    """What is trained on; every pair was read and checked."""

    pairs: Pairs
    held_out: Pairs
    source_vocabulary: Vocabulary
    target_vocabulary: Vocabulary
    survey: Survey
    held_out_survey: Survey
    model: object = None  # the one to go on from

    def summary(self, model):
        """Returns a few lines for the reader."""
        buckets = ", ".join(f"{s}/{t}" for s, t in self.survey.buckets)
        return (
            f"Pairs:  {self.survey.num_pairs:,} to train on, "
            f"{self.held_out_survey.num_pairs:,} held out, "
            f"{len(self.survey.left_out):,} too long\n"
            f"Ids:    {_described(self.source_vocabulary)} -> "
            f"{_described(self.target_vocabulary)}; padded to {buckets}\n"
            f"Model:  {model.encoder.__class__.__name__} -> "
            f"{model.decoder.__class__.__name__}, "
            f"{model.count_params():,} weights"
        )


def prepare(args):
    """Reads and checks all pairs; makes or loads the vocabularies.

    Args:
        args: the arguments of `train`, checked.

    Returns:
        A `Data`.
    """
    pairs, held_out = _divided(args)
    model = None
    if args.initial_folder is None:
        sides = [
            Vocabulary.build(
                (pair[side] for pair in pairs),
                unit=unit,
                max_size=args.vocabulary_size,
                min_count=args.min_count,
            )
            for side, unit in enumerate((args.source_unit, args.target_unit))
        ]
    else:
        model = folders.load(args.initial_folder)
        sides = [model.source_vocabulary, model.target_vocabulary]
        if None in sides:
            raise ValueError(
                "`initial_folder` must hold a model with vocabularies. "
                f"Received: initial_folder={str(args.initial_folder)!r}."
            )
    limits = (args.max_source_length, args.max_target_length)
    survey = survey_pairs(pairs, *sides, *limits)
    of_held_out = survey_pairs(held_out, *sides, *limits)
    if survey.left_out:
        warnings.warn(
            f"{len(survey.left_out)} pairs are longer than max_source_length="
            f"{limits[0]} or max_target_length={limits[1]} and left out.",
            stacklevel=4,
        )
    return Data(
        pairs, held_out, *sides, survey, of_held_out.including(survey), model
    )


def build_model(args, data):
    """Builds the model of the arguments, or takes the one to go on from."""
    if data.model is not None:
        return data.model
    longest = data.survey.buckets[-1][1]
    options = {"max_length": int(LENGTH_MARGIN * longest) + 1, **args.options}
    return build_seq2seq(
        args.kind,
        data.source_vocabulary,
        data.target_vocabulary,
        seed=args.seed,
        **options,
    )


def card_of(args, data, model, metrics, ended):
    """Returns the card: what the model is, made from what, how good.

    Args:
        args: the arguments of `train`, checked.
        data: its `Data`.
        model: the trained model.
        metrics: dict of the results of its best epoch.
        ended: dict that says why the training ended early; empty if it did
            not.
    """
    card = {
        "kind": args.kind,
        "options": args.options,
        "weights": model.count_params(),
        "source": _described(data.source_vocabulary),
        "target": _described(data.target_vocabulary),
        "data": {
            "files": _file_names(args.pairs),
            "pairs": data.survey.num_pairs,
            "too_long": len(data.survey.left_out),
            "held_out": data.held_out_survey.num_pairs,
        },
        "training": {
            **{name: getattr(args, name) for name in ON_THE_CARD},
            **ended,
        },
        "metrics": metrics,
    }
    if args.initial_folder is not None:
        before = folders.read_card(args.initial_folder)
        card["initial"] = before
        card["kind"] = before.get("kind")
        card["options"] = before.get("options", {})
    return card


def _divided(args):
    pairs = Pairs(args.pairs, columns=args.columns)
    if args.validation_pairs is not None:
        # A list has two sides already, whatever columns the files have.
        is_list = as_paths(args.validation_pairs) is None
        columns = None if is_list else args.columns
        held_out = Pairs(args.validation_pairs, columns=columns)
        for _ in held_out:  # all are checked before any work
            pass
        return pairs, held_out
    count = sum(1 for _ in pairs)
    share = min(HELD_OUT_SHARE, HELD_OUT_AT_MOST / count)
    parts = pairs.split(share)
    if not all(any(True for _ in part) for part in parts):
        raise ValueError(
            "`pairs` must be enough to hold some out for validation. "
            f"Received: {count} pairs. Give `validation_pairs`."
        )
    return parts


def _described(vocabulary):
    return f"{len(vocabulary)} {vocabulary.unit}"


def _file_names(pairs):
    paths = as_paths(pairs)
    return None if paths is None else [path.name for path in paths]
