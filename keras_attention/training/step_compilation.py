"""Whether a training is long enough to repay the compilation of its step."""

from typing import Any

import tensorflow as tf

# XLA compiles one program for each shape of a batch, in about 8 s of one core.
# From so many steps of each on it costs a small share of the training, and a
# recurrent model takes half the time (benchmarks/RESULTS.md).
LEAST_STEPS_OF_A_SHAPE = 200


def compiles(settings: Any, survey: Any) -> bool:
    """Returns whether `fit` compiles the training step with XLA.

    The answer follows from the pairs and the settings and not from the clock,
    so that a training comes out the same each time.

    Args:
        settings: a `TrainingSettings`.
        survey: the `Survey` of the pairs to train on.
    """
    if settings.jit_compile != "auto":
        return settings.jit_compile
    if tf.distribute.has_strategy():  # does not train under XLA
        return False
    steps = settings.epochs * survey.num_batches(**settings.batching)
    shapes = survey.shapes(**settings.batching)
    return steps >= LEAST_STEPS_OF_A_SHAPE * len(shapes)
