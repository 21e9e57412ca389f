"""What the examples share that call `fit` themselves."""

import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from keras_attention.cli import values
from keras_attention.cli.parser import Parser


def fit_by_cosine(
    model: Any, *data: Any, loss: Any, options: Any, steps: int, **settings: Any
) -> float:
    """Trains a model with a rate that rises, then falls to zero as a cosine.

    Args:
        model: a Keras model.
        *data: arrays and labels, or a generator of batches drawn by chance.
        loss: a Keras loss.
        options: has `learning_rate`, the highest, `epochs` and `verbose`.
        steps: batches in an epoch.
        **settings: further arguments of `fit`.

    Returns:
        The minutes that it took.
    """
    import keras

    from keras_attention.training import WarmupSchedule

    start = time.perf_counter()
    total = options.epochs * steps
    rate = WarmupSchedule(options.learning_rate, total // 20, "cosine", total)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=1.0),
        loss,
        weighted_metrics=["accuracy"],
    )
    if len(data) == 1:  # a generator
        settings = {**settings, "steps_per_epoch": steps, "shuffle": False}
    model.fit(*data, epochs=options.epochs, verbose=options.verbose, **settings)
    return (time.perf_counter() - start) / 60


def models_option(names: Sequence[str]) -> Callable[[Parser], None]:
    """Returns a function that adds `--models`, which says what to train."""

    def add(parser):
        parser.add_option(
            "--models",
            type=values.choice(names),
            nargs="+",
            metavar="NAME",
            default=" ".join(names),
            help="which to train",
        )

    return add
