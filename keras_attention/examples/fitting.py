"""How the examples train a plain Keras model: `compile`, `fit`."""

import time
from typing import Any


def fit(
    model: Any,
    train: tuple,
    held_out: tuple,
    options: Any,
    *,
    loss: Any,
    monitor: str,
    metrics: Any = None,
) -> float:
    """Trains a model and leaves it at its best epoch.

    Every batch is full, so that XLA compiles one step: the last few rows,
    which fill none, are left out.

    Args:
        model: a `keras.Model`.
        train: (inputs, labels), arrays or dicts of arrays.
        held_out: the same, for choosing the epoch.
        options: has `epochs`, `batch_size`, `learning_rate`, `quick`,
            `verbose`.
        loss: as for `compile`.
        monitor: name of the result that chooses, such as "val_loss".
        metrics: as for `compile`.

    Returns:
        The minutes that it took.

    Raises:
        ValueError: if there are too few rows.
    """
    import keras

    from keras_attention.models.first_step import build_optimizer
    from keras_attention.training import KeepMemory

    started = time.monotonic()
    size = len(keras.tree.flatten(train)[0])
    size -= size % options.batch_size
    rest = len(keras.tree.flatten(held_out)[0])
    if not size or not rest:
        raise ValueError(
            f"The data must fill a batch of {options.batch_size}, and leave "
            f"rows to choose the epoch by. Received: {size} rows in whole "
            f"batches, {rest} to choose by. Give more data, or a smaller "
            "--batch-size"
        )
    inputs, labels = keras.tree.map_structure(lambda rows: rows[:size], train)
    steps = size // options.batch_size * options.epochs
    model.compile(
        adam(options.learning_rate, steps),
        loss,
        metrics=metrics,
        jit_compile=not options.quick,
    )
    build_optimizer(model)
    keep_best = keras.callbacks.EarlyStopping(
        monitor,
        mode="min" if monitor.endswith("loss") else "max",
        patience=options.epochs,
        restore_best_weights=True,
    )
    model.fit(
        inputs,
        labels,
        batch_size=options.batch_size,
        epochs=options.epochs,
        validation_data=held_out,
        callbacks=[KeepMemory(), keep_best],
        verbose=options.verbose,
    )
    return (time.monotonic() - started) / 60


def fit_all(
    model: Any, *data: Any, options: Any, loss: Any, steps: int, **settings: Any
) -> float:
    """Trains a model to the end, where its rate has fallen to zero.

    Shapes may differ from batch to batch: on a processor nothing is compiled.

    Args:
        model: a `keras.Model`.
        *data: inputs and labels, or a generator of batches drawn by chance.
        options: has `epochs`, `learning_rate`, `verbose`.
        loss: as for `compile`.
        steps: batches in an epoch.
        **settings: further arguments of `fit`.

    Returns:
        The minutes that it took.
    """
    from keras_attention.models.first_step import build_optimizer
    from keras_attention.training import KeepMemory

    started = time.monotonic()
    optimizer = adam(options.learning_rate, options.epochs * steps)
    model.compile(optimizer, loss, weighted_metrics=["accuracy"])
    build_optimizer(model)
    if len(data) == 1:
        settings = {**settings, "steps_per_epoch": steps, "shuffle": False}
    model.fit(
        *data,
        epochs=options.epochs,
        callbacks=[KeepMemory()],
        verbose=options.verbose,
        **settings,
    )
    return (time.monotonic() - started) / 60


def adam(learning_rate: float, steps: int) -> Any:
    """Returns Adam whose rate rises for a tenth of the steps, then falls.

    Args:
        learning_rate: the highest rate.
        steps: steps of the whole training.
    """
    import keras

    from keras_attention.training import WarmupSchedule

    schedule = WarmupSchedule(
        learning_rate, steps // 10, "cosine", total_steps=max(steps, 1)
    )
    return keras.optimizers.Adam(schedule, global_clipnorm=1.0)
