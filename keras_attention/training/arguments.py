"""The arguments of `train`: checked before any work is done."""

import inspect
import pathlib

import numpy as np

from keras_attention import validation
from keras_attention.models import build_seq2seq
from keras_attention.models import folders

MONITORS = {"error_rate": "min", "exact_match": "max", "loss": "min"}
GIVEN_BY_TRAIN = {"kind", "source_vocabulary", "target_vocabulary", "seed"}
# What a saved model has decided already, and the defaults.
OF_THE_MODEL = {
    "kind": None,
    "source_unit": None,
    "target_unit": None,
    "vocabulary_size": None,
    "min_count": 1,
}
DEFAULT_KIND, DEFAULT_UNIT = "transformer", "characters"


def checked(args):
    """Checks the arguments and adds what follows from them.

    Args:
        args: namespace with the arguments of `train` as attributes.

    Returns:
        The namespace, with `folder` as a path, plus `workspace`, the folder
        of a training that is not finished, and `is_finished`.

    Raises:
        ValueError: if one is out of range, or a folder is in the way.
        TypeError: if there is an unknown one.
    """
    _check_numbers(args)
    _check_options(args)
    validation.check_choice("monitor", args.monitor, tuple(MONITORS))
    if args.jit_compile not in ("auto", True, False):
        raise validation.invalid(
            "jit_compile", "'auto', True or False", repr(args.jit_compile)
        )
    args.callbacks = list(args.callbacks)
    args.folder = pathlib.Path(args.folder).absolute()
    args.workspace = args.folder.with_name(f"{args.folder.name}-training")
    args.is_finished = (
        not args.workspace.exists() and (args.folder / folders.MODEL).is_file()
    )
    _check_folders(args)
    return args


def _check_numbers(args):
    for name in ("epochs", "batch_size", "checkpoint_every", "min_count"):
        value = validation.check_positive_integer(name, getattr(args, name))
        setattr(args, name, value)
    for name in (
        "max_source_length",
        "max_target_length",
        "max_measured",
        "patience",
        "vocabulary_size",
    ):
        value = getattr(args, name)
        value = validation.check_positive_integer(name, value, optional=True)
        setattr(args, name, value)
    for name in ("clip_norm", "max_minutes"):
        value = getattr(args, name)
        value = validation.check_positive_number(name, value, optional=True)
        setattr(args, name, value)
    args.learning_rate = validation.check_positive_number(
        "learning_rate", args.learning_rate
    )
    args.label_smoothing = validation.check_rate(
        "label_smoothing", args.label_smoothing
    )
    seed = args.seed
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise validation.invalid("seed", "an integer of at least 0", repr(seed))


def _check_options(args):
    known = set(inspect.signature(build_seq2seq).parameters) - GIVEN_BY_TRAIN
    unknown = sorted(set(args.options) - known)
    if unknown:
        raise TypeError(
            f"train() got unexpected arguments {unknown}. The options of the "
            f"model are {sorted(known)}."
        )
    # They go into JSON, which knows no NumPy numbers.
    args.options = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in args.options.items()
    }
    if args.initial_folder is None:
        args.kind = args.kind or DEFAULT_KIND
        args.source_unit = args.source_unit or DEFAULT_UNIT
        args.target_unit = args.target_unit or DEFAULT_UNIT
        return
    changed = [n for n, v in OF_THE_MODEL.items() if getattr(args, n) != v]
    for name in [*changed, *args.options]:
        value = args.options.get(name, getattr(args, name, None))
        raise ValueError(
            f"`{name}` must not be given with `initial_folder`, whose model "
            f"has it already. Received: {name}={value!r}."
        )


def _check_folders(args):
    unfinished = args.workspace / "checkpoints"
    if args.workspace.exists():
        if not unfinished.is_dir() and any(args.workspace.iterdir()):
            raise validation.invalid(
                "folder",
                "a path beside which FOLDER-training is free",
                repr(str(args.folder)),
            )
        if args.resume:
            return
        if not args.overwrite:
            raise ValueError(
                f"`folder` has an unfinished training beside it, "
                f"{str(args.workspace)!r}. Received: resume=False and "
                "overwrite=False. Set resume=True to go on with it or "
                "overwrite=True to begin anew."
            )
    if not (args.resume and args.is_finished):
        folders.check_free(args.folder, args.overwrite)
