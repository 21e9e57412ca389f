"""What makes the first step of `fit` quicker."""

import contextlib
from typing import Any


def build_optimizer(model: Any) -> None:
    """Makes the variables of the optimizer, if they are not there yet.

    Keras would make them while it traces the first training step, and then
    trace that step again.

    Args:
        model: a compiled `keras.Model` that is built.
    """
    optimizer = model.optimizer
    if optimizer is None or optimizer.built:
        return
    # On TensorFlow a model belongs to the strategy it was made under.
    strategy = getattr(model, "distribute_strategy", None)
    is_shared = strategy is not None and strategy.num_replicas_in_sync > 1
    with strategy.scope() if is_shared else contextlib.nullcontext():
        optimizer.build(model.trainable_variables)
