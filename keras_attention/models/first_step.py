"""What makes the first step of `fit` quicker."""

from typing import Any


def build_optimizer(model: Any) -> None:
    """Makes the variables of the optimizer, if they are not there yet.

    Keras would make them while it traces the first training step, and then
    trace that step again.

    Args:
        model: a compiled `keras.Model` that is built.
    """
    optimizer = model.optimizer
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
