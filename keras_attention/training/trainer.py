"""From a file of pairs to a trained model in a folder."""

import types
import warnings
from typing import Any
from typing import NamedTuple

import keras

from keras_attention.decoding import Greedy
from keras_attention.models import folders
from keras_attention.training.arguments import MONITORS
from keras_attention.training.arguments import checked
from keras_attention.training.arguments import is_finished
from keras_attention.training.callbacks import GenerationMetrics
from keras_attention.training.callbacks import KeepBest
from keras_attention.training.callbacks import StopWhenNonFinite
from keras_attention.training.callbacks import TimeBudget
from keras_attention.training.checkpoints import Checkpoints
from keras_attention.training.checkpoints import Position
from keras_attention.training.identity import MAY_GROW
from keras_attention.training.identity import facts_of
from keras_attention.training.losses import MaskedCrossentropy
from keras_attention.training.losses import TokenAccuracy
from keras_attention.training.pipeline import make_dataset
from keras_attention.training.pipeline import steps_per_epoch
from keras_attention.training.preparation import build_model
from keras_attention.training.preparation import card_of
from keras_attention.training.preparation import prepare
from keras_attention.training.schedules import WarmupSchedule

WARMUP_SHARE, WARMUP_AT_MOST = 0.05, 4000


class Trained(NamedTuple):
    """What `train` returns.

    Example:

    >>> from keras_attention.training import Trained
    >>> Trained._fields
    ('model', 'card')
    """

    model: Any  # Seq2Seq with its best weights
    card: Any  # dict, as in card.json of the folder


def train(
    pairs,
    folder,
    *,
    kind=None,
    validation_pairs=None,
    columns=None,
    initial_folder=None,
    source_unit=None,
    target_unit=None,
    vocabulary_size=None,
    min_count=1,
    max_source_length=None,
    max_target_length=None,
    epochs=10,
    batch_size=64,
    learning_rate=1e-3,
    warmup_steps=None,
    decay="cosine",
    clip_norm=1.0,
    label_smoothing=0.0,
    monitor="error_rate",
    patience=None,
    search=Greedy(),  # noqa: B008 (frozen)
    max_measured=1000,
    max_minutes=None,
    checkpoint_every=1000,
    resume=False,
    overwrite=False,
    seed=0,
    jit_compile="auto",
    callbacks=(),
    verbose=1,
    **options,
):
    """Trains a model on pairs of texts and saves it in a folder.

    Builds vocabularies and model, trains with `fit`, generates for held-out
    sources after each epoch, keeps the weights of the epoch whose texts were
    best, and saves these with vocabularies and a card. Until then everything
    is in the folder `FOLDER-training`, which one process at a time may use;
    `resume=True` goes on from there at the very batch, and ends at the weights
    that a training without interruption ends at. The random seeds of Keras are
    set.

    A training whose weights turn NaN or infinite ends at the first step whose
    loss shows it; the best epoch before it is saved, with a warning.

    Args:
        pairs: path, list of paths or list of (source, target); see
            `read_pairs`.
        folder: path of the folder to make.
        kind: kind of model, see `build_seq2seq`; by default "transformer".
        validation_pairs: like `pairs`. By default every twentieth source, at
            most 2000 or so, is held out, the same ones each time.
        columns: which two columns of the files are source and target; see
            `read_pairs`.
        initial_folder: folder of a model to go on from (fine-tuning), with
            its vocabularies; kind, units and options are then its own.
        source_unit: "characters" (the default), "words" or "symbols".
        target_unit: the same for targets.
        vocabulary_size: the most entries of either vocabulary.
        min_count: tokens seen fewer times become unknown.
        max_source_length: ids, EOS counted; longer pairs are left out.
        max_target_length: the same for targets.
        epochs: number of passes over the pairs.
        batch_size: pairs in a batch.
        learning_rate: peak of the `WarmupSchedule`, for Adam.
        warmup_steps: defaults to a twentieth of all steps, at most 4000.
        decay: "cosine", "linear", "inverse_sqrt" or "constant".
        clip_norm: largest norm of all gradients together; None for no limit.
        label_smoothing: see `MaskedCrossentropy`.
        monitor: "error_rate" or "exact_match" of generated texts, or "loss",
            by which the best epoch is chosen.
        patience: epochs without improvement before the training ends early.
        search: how texts are generated for the measurement.
        max_measured: generate for so many held-out sources; None for all.
        max_minutes: end at the first step after this time, then save.
        checkpoint_every: steps between two checkpoints.
        resume: whether to go on from an unfinished training, if there is one.
            The data and all settings that change the result must be those it
            began with; only `epochs` may be greater, with a warning.
        overwrite: whether to replace a model in `folder`, and to forget an
            unfinished training.
        seed: integer for weights, dropout and order of the data.
        jit_compile: whether to compile the training step with XLA. "auto" is
            False: on a CPU one program for each pair of lengths takes longer
            to compile than a short training gains.
        callbacks: further `keras.callbacks`, called before those of `train`
            that choose the best epoch.
        verbose: 1 prints a summary and progress bars, 2 a line per epoch, 0
            nothing.
        **options: further arguments of `build_seq2seq`: units, num_layers,
            dropout, num_heads, ...

    Returns:
        `Trained(model, card)`.

    Raises:
        ValueError: before any work: pairs are broken, the folder exists or
            another process trains it, an argument is out of range; on
            resuming: the data or the settings differ from those of the
            unfinished training; at the end: no epoch had finite weights.
        TypeError: if an option is unknown.

    Example:

    >>> import tempfile
    >>> from keras_attention.training import train
    >>> pairs = [("ab", "A B"), ("ba", "B A"), ("aab", "A A B")]
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     model, card = train(
    ...         pairs,
    ...         f"{parent}/model",
    ...         kind="luong",
    ...         units=5,
    ...         target_unit="symbols",
    ...         validation_pairs=pairs,
    ...         epochs=1,
    ...         verbose=0,
    ...     )
    >>> card["data"]["pairs"]
    3
    """
    args = checked(types.SimpleNamespace(**locals()))
    if resume and not overwrite and is_finished(args):
        return _finished(args)
    with args.workspace.locked():
        data = prepare(args)
        keras.utils.set_random_seed(seed)
        model = build_model(args, data)
        _compile(args, data, model)
        if not resume:
            args.workspace.begin_anew()
        if verbose:
            print(data.summary(model))
        best, finite = _fit(args, data, model)
        return _save(args, data, model, best, finite)


def _finished(args):
    if args.verbose:
        print(f"{str(args.folder)!r} is finished: nothing to go on with.")
    return Trained(folders.load(args.folder), folders.read_card(args.folder))


def _compile(args, data, model):
    total = args.epochs * steps_per_epoch(data.survey, args.batch_size)
    warmup = args.warmup_steps
    if warmup is None:
        warmup = min(WARMUP_AT_MOST, int(WARMUP_SHARE * total))
    schedule = WarmupSchedule(
        args.learning_rate, warmup, args.decay, total_steps=total
    )
    model.compile(
        keras.optimizers.Adam(schedule, global_clipnorm=args.clip_norm),
        MaskedCrossentropy(args.label_smoothing),
        metrics=[TokenAccuracy()],
        jit_compile=args.jit_compile is True,
    )


def _fit(args, data, model):
    """Trains to the end; returns the callbacks that know how it went."""
    best = KeepBest(
        args.workspace.best, f"val_{args.monitor}", MONITORS[args.monitor]
    )
    finite = StopWhenNonFinite()
    chosen = [*args.callbacks, finite, *_choosing_callbacks(args, data, best)]
    checkpoints = Checkpoints(
        args.workspace.checkpoints,
        every=args.checkpoint_every,
        callbacks=chosen,
        facts=facts_of(args, data),
        may_grow=MAY_GROW,
    )
    start = checkpoints.restore(model)
    if start.stopped or start.epoch >= args.epochs:
        checkpoints.restore_callbacks()
        return best, finite
    if args.verbose and start > Position():
        print(f"Going on at epoch {start.epoch + 1}, step {start.step + 1}.")
    sides = data.source_vocabulary, data.target_vocabulary
    common = {"batch_size": args.batch_size, "seed": args.seed}
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
    model.fit(
        dataset,
        epochs=args.epochs,
        initial_epoch=start.epoch,
        steps_per_epoch=steps_per_epoch(data.survey, args.batch_size),
        validation_data=held_out,
        callbacks=[checkpoints, *chosen],
        shuffle=False,  # make_dataset has shuffled
        verbose=args.verbose,
    )
    return best, finite


def _choosing_callbacks(args, data, best):
    chosen = [
        GenerationMetrics(
            data.held_out, search=args.search, max_sources=args.max_measured
        ),
        best,
    ]
    if args.patience is not None:
        stopping = keras.callbacks.EarlyStopping(
            best.monitor, mode=best.mode, patience=args.patience
        )
        chosen.append(stopping)
    if args.max_minutes is not None:
        chosen.append(TimeBudget(args.max_minutes))
    return chosen


def _save(args, data, model, best, finite):
    metrics, ended = {}, {}
    if finite.step is not None:
        _check_epoch_before(args, best, finite)
        ended = {"non_finite_at_step": finite.step}
    if best.best is not None:
        metrics = _load_best(args, model, best)
    else:
        warnings.warn(
            f"No epoch had a finite {best.monitor}: the last weights are kept.",
            stacklevel=3,
        )
    card = card_of(args, data, model, metrics, ended)
    overwrite = args.overwrite or args.resume
    model.save_folder(args.folder, card=card, overwrite=overwrite)
    args.workspace.remove()
    if args.verbose:
        print(f"The best epoch is saved in {str(args.folder)!r}.")
    return Trained(model, card)


def _check_epoch_before(args, best, finite):
    """Warns that the training turned non-finite, or fails if all of it did."""
    what = (
        f"The training ended at step {finite.step:,}, in epoch {finite.epoch}: "
        f"the weight {finite.weight!r} became NaN or infinite."
    )
    fix = "A lower learning rate or a smaller clip_norm may help."
    if best.best is None:
        raise ValueError(
            f"{what} No epoch before was whole, so no model is saved. {fix} "
            f"Received: learning_rate={args.learning_rate}, "
            f"clip_norm={args.clip_norm}. Set overwrite=True to begin anew."
        )
    warnings.warn(
        f"{what} Epoch {best.best_epoch + 1}, the best before, is kept. {fix}",
        stacklevel=4,
    )


def _load_best(args, model, best):
    """Sets the weights of the best epoch; returns its results."""
    if not best.path.is_file():
        raise ValueError(
            f"The weights of epoch {best.best_epoch + 1}, the best, must be in "
            f"{str(best.path)!r}. Received: no such file. Nothing is saved. "
            "Put the file back, or begin anew with overwrite=True."
        )
    return best.load_into(model)
