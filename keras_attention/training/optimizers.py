"""The optimizer of a training: by name, or one that the caller has made."""

import json
from typing import Any

import keras

from keras_attention import validation
from keras_attention.training.schedules import TO_AN_END
from keras_attention.training.schedules import WarmupSchedule

WARMUP_SHARE, WARMUP_AT_MOST = 0.05, 4000


def check(optimizer: Any) -> None:
    """Checks the argument `optimizer` of `train`.

    Raises:
        ValueError: if it is no optimizer of Keras, or has been used.
    """
    try:
        found = keras.optimizers.get(optimizer)
        is_fresh = not found.built
        describe(optimizer)
    except (AttributeError, TypeError, ValueError) as error:
        raise validation.invalid(
            "optimizer",
            "the name of a Keras optimizer, an optimizer, or its config",
            repr(optimizer)[:80],
            str(error)[:200],
        ) from error
    if not is_fresh:
        raise validation.invalid(
            "optimizer",
            "one that has trained nothing yet",
            f"{type(optimizer).__name__} of {found.iterations.numpy()} steps",
            "Make a new one for each training.",
        )


def describe(optimizer: Any) -> str | dict:
    """Returns the name as it is, of all else the config, for JSON."""
    if isinstance(optimizer, str):
        return optimizer
    config = keras.optimizers.serialize(keras.optimizers.get(optimizer))
    return json.loads(json.dumps(config, default=float))


def make_optimizer(
    settings: Any, total_steps: int
) -> keras.optimizers.Optimizer:
    """Returns a new optimizer for a training.

    One by name has a `WarmupSchedule` and clips the norm of all gradients
    together. Of the caller's a copy is made, so that it stays as it is.

    Args:
        settings: a `TrainingSettings`.
        total_steps: steps of the whole training.

    Raises:
        ValueError: if the warm-up would leave no step for the decay.
    """
    found = keras.optimizers.get(settings.optimizer)
    if settings.has_own_optimizer:
        return type(found).from_config(found.get_config())
    warmup = settings.warmup_steps
    if warmup is None:
        warmup = min(WARMUP_AT_MOST, int(WARMUP_SHARE * total_steps))
    if settings.decay in TO_AN_END and warmup >= total_steps:
        raise validation.invalid(
            "warmup_steps",
            f"below {total_steps}, the steps of the training, for "
            f"decay={settings.decay!r}",
            warmup,
            "Give fewer, or more `epochs`.",
        )
    schedule = WarmupSchedule(
        settings.learning_rate, warmup, settings.decay, total_steps=total_steps
    )
    return type(found)(schedule, global_clipnorm=settings.clip_norm)
