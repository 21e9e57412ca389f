"""From a file of pairs to a trained model in a folder."""

import os
from collections.abc import Sequence
from typing import Any

from keras_attention.decoding import Greedy
from keras_attention.training.distribution import distribution_of
from keras_attention.training.run import Trained
from keras_attention.training.run import run
from keras_attention.training.settings import TrainingSettings


def train(
    pairs: Any,
    folder: str | os.PathLike,
    *,
    kind: str | None = None,
    validation_pairs: Any = None,
    columns: Sequence | None = None,
    initial_folder: str | os.PathLike | None = None,
    source_unit: str | None = None,
    target_unit: str | None = None,
    source_vocabulary: Any = None,
    target_vocabulary: Any = None,
    shared_vocabulary: bool = False,
    vocabulary_size: int | None = None,
    min_count: int = 1,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    epochs: int = 10,
    batch_size: int = 64,
    batch_tokens: int | None = None,
    pad_to_multiple_of: int | None = None,
    optimizer: Any = "adam",
    learning_rate: float = 1e-3,
    warmup_steps: int | None = None,
    decay: str = "cosine",
    clip_norm: float | None = 1.0,
    label_smoothing: float = 0.0,
    alignment_loss: Any = None,
    scheduled_sampling: Any = None,
    monitor: str = "error_rate",
    bleu_tokenizer: str = "13a",
    patience: int | None = None,
    average: int | None = None,
    search: Any = Greedy(),  # noqa: B008 (frozen)
    max_measured: int | None = 1000,
    max_minutes: float | None = None,
    checkpoint_every: int = 1000,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    jit_compile: bool | str = "auto",
    strategy: Any = None,
    callbacks: Sequence = (),
    configuration: str | None = None,
    verbose: int = 1,
    **options: Any,
) -> Trained:
    """Trains a model on pairs of texts and saves it in a folder.

    Builds vocabularies and model, trains with `fit`, generates for held-out
    sources after each epoch, keeps the weights of the epoch whose texts were
    best, and saves these with vocabularies, a card and `history.jsonl`, which
    has a line for each epoch (see `HistoryFile`). Until then everything is in
    the folder `FOLDER-training`, which one process at a time may use;
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
        source_unit: "characters" (the default), "words", "symbols", or
            "pieces" of words, which are learned from the pairs (see
            `text.PieceVocabulary.build`; it takes `sentencepiece`, and a
            second reading of the pairs).
        target_unit: the same for targets.
        source_vocabulary: in place of `source_unit`: a vocabulary that is
            there already, or the path of its file, see
            `text.read_vocabulary`.
        target_vocabulary: the same for targets.
        shared_vocabulary: whether sources and targets have one vocabulary,
            made of both, as `share_embeddings` needs; both have one unit.
        vocabulary_size: the most entries of either vocabulary; by default
            8000 pieces, or all tokens.
        min_count: tokens seen fewer times become unknown; not for pieces.
        max_source_length: ids, EOS counted; longer pairs are left out.
        max_target_length: the same for targets.
        epochs: number of passes over the pairs.
        batch_size: pairs in a batch.
        batch_tokens: in place of `batch_size`: pairs in a batch times the
            longer of their two padded lengths is at most that, so that short
            pairs make large batches; see `make_dataset`.
        pad_to_multiple_of: lengths are padded to multiples of it: 8 or 64
            suits a GPU; see `survey_pairs`.
        optimizer: name of a Keras optimizer, which gets the following four
            arguments; or an optimizer, or its config, which has its own and
            is copied.
        learning_rate: peak of the `WarmupSchedule`.
        warmup_steps: defaults to a twentieth of all steps, at most 4000.
        decay: "cosine", "linear", "inverse_sqrt" or "constant".
        clip_norm: largest norm of all gradients together; None for no limit.
        label_smoothing: see `MaskedCrossentropy`.
        alignment_loss: what attention learns beside: "diagonal", a
            `DiagonalAlignmentLoss`, "coverage", a `CoverageLoss`, or a loss of
            your own that needs no alignments; see `Seq2Seq.compile`.
        scheduled_sampling: share of the target tokens, in [0, 1), in place
            of which the decoder reads tokens of its own in training; or a
            `ScheduledSampling`, whose share may change from step to step.
        monitor: what the best epoch is best at: "loss", or a metric of
            generated texts such as "error_rate" or "bleu", see
            `measure_texts`.
        bleu_tokenizer: how "bleu" cuts words; see `bleu`.
        patience: epochs without improvement before the training ends early.
        average: the mean of the weights of so many last epochs is measured at
            the end, and saved if `monitor` finds it better than the best.
        search: how texts are generated for the measurement.
        max_measured: generate for so many held-out sources; None for all.
        max_minutes: end at the first step after this time, then save.
        checkpoint_every: steps between two checkpoints.
        resume: whether to go on from an unfinished training, if there is one;
            a finished model is returned. The data and all settings that change
            the result must be those it began with; of an unfinished training
            `epochs` may be greater, with a warning.
        overwrite: whether to replace a model in `folder`, unless that holds
            anything else, and to forget an unfinished training.
        seed: integer for weights, dropout and order of the data.
        jit_compile: whether to compile the training step with XLA, one
            program for each shape of a batch, six at most. "auto" compiles
            where the training has 200 steps or more for each of them, and
            never on several replicas. On a GPU True also fuses attention,
            with dtype="mixed_bfloat16" and attention_dropout=0.0.
        strategy: where to train on several devices or machines, which
            together do what one does but for rounding and the bits of
            dropout: "mirrored", all GPUs of this machine; "multi_worker", a
            process on each machine that TF_CONFIG names, called with the same
            arguments, and a `folder` that all of them can read; or a
            `tf.distribute.Strategy`. A batch is that of all together. The
            chief alone writes. Where a worker was lost, start all of them
            again, with resume=True.
        callbacks: further `keras.callbacks`, one or several, called before
            those of `train` that choose the best epoch.
        configuration: text to keep in the folder as `training.toml`, such as
            what this training was called with.
        verbose: 1 prints a summary and progress bars, 2 a line per epoch, 0
            nothing.
        **options: further arguments of `build_seq2seq`: units, num_layers,
            dropout, num_heads, dtype="mixed_bfloat16", ...

    Returns:
        `Trained(model, card)`.

    Raises:
        ValueError: before any work: pairs are broken, the folder exists or
            another process trains it, an argument is out of range; when the
            pairs are counted: `warmup_steps` are all steps or more; on
            resuming: the data or the settings differ from those of the
            training; at the end: no epoch had finite weights.
        TypeError: if an option is unknown.
        ImportError: if `monitor` needs sacrebleu, which is not installed.

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
    # First, for workers must meet before TensorFlow runs anything.
    strategy = distribution_of(strategy).strategy
    settings = TrainingSettings(
        pairs=pairs,
        folder=folder,
        kind=kind,
        validation_pairs=validation_pairs,
        columns=columns,
        initial_folder=initial_folder,
        source_unit=source_unit,
        target_unit=target_unit,
        source_vocabulary=source_vocabulary,
        target_vocabulary=target_vocabulary,
        shared_vocabulary=shared_vocabulary,
        vocabulary_size=vocabulary_size,
        min_count=min_count,
        max_source_length=max_source_length,
        max_target_length=max_target_length,
        epochs=epochs,
        batch_size=batch_size,
        batch_tokens=batch_tokens,
        pad_to_multiple_of=pad_to_multiple_of,
        optimizer=optimizer,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        decay=decay,
        clip_norm=clip_norm,
        label_smoothing=label_smoothing,
        alignment_loss=alignment_loss,
        scheduled_sampling=scheduled_sampling,
        monitor=monitor,
        bleu_tokenizer=bleu_tokenizer,
        patience=patience,
        average=average,
        search=search,
        max_measured=max_measured,
        max_minutes=max_minutes,
        checkpoint_every=checkpoint_every,
        resume=resume,
        overwrite=overwrite,
        seed=seed,
        jit_compile=jit_compile,
        strategy=strategy,
        callbacks=callbacks,
        configuration=configuration,
        verbose=verbose,
        options=options,
    )
    return run(settings)
