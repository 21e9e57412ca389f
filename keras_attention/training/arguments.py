"""The arguments of `train`: checked before any work is done."""

import inspect

import numpy as np

from keras_attention import files
from keras_attention import validation
from keras_attention.models import build_seq2seq
from keras_attention.models import folders
from keras_attention.training.workspace import Workspace

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
        The namespace, with `folder` as a path, plus its `workspace`.

    Raises:
        ValueError: if one is out of range, or a folder is in the way.
        TypeError: if there is an unknown one.
    """
    vars(args).update(_without_numpy(vars(args)))
    args.options = _without_numpy(args.options)
    _check_numbers(args)
    _check_options(args)
    validation.check_choice("monitor", args.monitor, tuple(MONITORS))
    if args.jit_compile not in ("auto", True, False):
        raise validation.invalid(
            "jit_compile", "'auto', True or False", repr(args.jit_compile)
        )
    args.callbacks = list(args.callbacks)
    args.folder = files.resolved(args.folder)
    args.workspace = Workspace(args.folder)
    _check_folders(args)
    return args


def is_finished(args):
    """Whether `resume` finds a model, and nothing to go on with."""
    is_there = (args.folder / folders.MODEL).is_file()
    return is_there and not args.workspace.has_begun()


def _without_numpy(values):
    """Turns NumPy numbers into those of Python, which JSON can write."""
    return {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in values.items()
    }


def _check_numbers(args):
    for name in ("epochs", "batch_size", "checkpoint_every", "min_count"):
        validation.check_positive_integer(name, getattr(args, name))
    for name in (
        "max_source_length",
        "max_target_length",
        "max_measured",
        "patience",
        "vocabulary_size",
    ):
        value = getattr(args, name)
        validation.check_positive_integer(name, value, optional=True)
    for name in ("clip_norm", "max_minutes"):
        value = getattr(args, name)
        validation.check_positive_number(name, value, optional=True)
    validation.check_positive_number("learning_rate", args.learning_rate)
    validation.check_rate("label_smoothing", args.label_smoothing)
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
    args.workspace.check()
    if args.workspace.has_begun():
        if args.resume:
            return
        if not args.overwrite:
            raise ValueError(
                f"`folder` has an unfinished training, "
                f"{str(args.workspace.path)!r}. Received: resume=False and "
                "overwrite=False. Set resume=True to go on with it or "
                "overwrite=True to begin anew."
            )
    if not (args.resume and is_finished(args)):
        files.check_free(args.folder, args.overwrite, folders.MARKER_FILES)
