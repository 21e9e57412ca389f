"""SCAN: commands in a small language, to be turned into actions.

    python -m keras_attention.examples.scan --split simple length --seeds 5

trains models on splits of SCAN (Lake & Baroni 2018, arXiv 1711.00350) and
reports the share of commands whose actions are all right: the mean of several
trainings, and each of them. Several models side by side, here a plain
recurrent network with and without attention:

    python -m keras_attention.examples.scan --model rnn-bahdanau rnn-rnn \\
        --cell simple

The paper shows 100,000 commands, one at a time; this does so in small batches.
Fewer and larger updates, by `--batch-size 32 --learning-rate 0.003`, are enough
for the simple split. Where they are not given, the simple split has `--cell
lstm`, and that by length has `--units 50 --dropout 0.5`, as in the paper.
"""

import math
import pathlib
import sys
import time
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from keras_attention.choices import CELLS
from keras_attention.choices import KINDS
from keras_attention.examples import task
from keras_attention.examples.scan_grammar import LONGEST
from keras_attention.examples.scan_grammar import PUBLISHED
from keras_attention.examples.scan_grammar import SPLITS
from keras_attention.examples.scan_grammar import all_pairs as all_pairs
from keras_attention.examples.scan_grammar import split_pairs

RECIPE = {
    "split": ["simple"],
    "model": ["bahdanau"],
    "seeds": 1,
    "cell": "gru",
    "units": 128,
    "num_layers": 1,
    "dropout": 0.1,
    "presentations": 100_000,
    "epochs": 0,  # as many as the presentations need
    "batch_size": 8,
    "learning_rate": 1e-3,
    "clip_norm": 5.0,
}
# Near the model that was best on this split in the paper.
OF_SPLIT = {"simple": {"cell": "lstm"}, "length": {"units": 50, "dropout": 0.5}}
QUICK = {"units": 8, "epochs": 1, "batch_size": 8}
# Settings that are passed to `training.train` unchanged.
OF_TRAINING = ("cell", "units", "num_layers", "dropout", "batch_size")
OF_TRAINING += ("learning_rate", "clip_norm", "verbose")


def train_and_measure(
    train: list[tuple[str, str]],
    test: list[tuple[str, str]],
    folder: str | pathlib.Path,
    **options: Any,
) -> tuple[Any, float]:
    """Trains a model; returns it and its share of exact matches.

    Args:
        train, test: pairs to train on, and to measure on.
        folder: where the model goes.
        **options: of `training.train`, those of the model included.
    """
    from keras_attention import training

    # The epoch is chosen by pairs that were trained on, never by the test.
    model, _ = training.train(
        train,
        folder,
        validation_pairs=train[:256],
        monitor="loss",
        source_unit="words",
        target_unit="symbols",
        callbacks=[training.KeepMemory()],
        **options,
    )
    sources, targets = map(list, zip(*test, strict=True))
    found = model.generate(sources, max_length=LONGEST + 1, batch_size=512)
    return model, training.exact_match(targets, list(found.texts[:, 0]))


def run(options: Any) -> Iterator[task.Result]:
    """Trains each kind of model on each split, with several seeds."""
    for split in options.split:
        for kind in options.model:
            yield _result(split, kind, options)


def _result(split, kind, options):
    rates, minutes = [], []
    for seed in range(options.seed, options.seed + options.seeds):
        train, test = split_pairs(split, seed)
        few = 48 if options.quick else None
        train, test = train[:few], test[:few]
        epochs = options.epochs or math.ceil(options.presentations / len(train))
        started = time.monotonic()
        model, rate = train_and_measure(
            train,
            test,
            options.output / f"{split}-{kind}-{seed}",
            kind=kind,
            seed=seed,
            epochs=epochs,
            overwrite=True,
            **_of_training(split, kind, options),
        )
        minutes.append((time.monotonic() - started) / 60)
        rates.append(rate)
        print(f"{split}, {kind}, seed {seed}: {rate:.1%} of {len(test):,}")
    each = ", ".join(f"{100 * rate:.1f}" for rate in rates)
    return task.Result(
        task=f"SCAN {split}, {kind}",
        data=f"{len(train):,} commands, {epochs} epochs, "
        f"batches of {options.batch_size}; test {len(test):,}",
        parameters=model.count_params(),
        minutes=sum(minutes) / len(minutes),
        figure=f"{100 * sum(rates) / len(rates):.1f}% exact match ({each})",
        published=PUBLISHED[split],
    )


def _of_training(split, kind, options):
    chosen = {name: getattr(options, name) for name in OF_TRAINING}
    if not options.quick:
        of_split = OF_SPLIT.get(split, {}).items()
        chosen |= {n: v for n, v in of_split if n not in options.given}
    if kind.endswith("transformer") and "rnn" not in kind:
        del chosen["cell"]  # no part is recurrent
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="scan",
        description=__doc__,
        recipe=RECIPE,
        quick=QUICK,
        choices={"split": SPLITS, "model": KINDS, "cell": CELLS},
    )


if __name__ == "__main__":
    sys.exit(main())
