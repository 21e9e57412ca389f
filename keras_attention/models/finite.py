"""Weights that are NaN or infinite: found before anything is saved."""

from typing import Any

import numpy as np
from keras import ops

from keras_attention import validation


def non_finite_weight(model: Any) -> str | None:
    """Returns the path of the first weight with a NaN or an infinity.

    Args:
        model: a built Keras model.

    Returns:
        The path of the weight, such as "decoder/logits/kernel", or None if
        all are finite.
    """
    for variable in model.weights:
        if "float" not in variable.dtype:
            continue
        # NumPy has no `isfinite` for bfloat16 and the float8 types.
        values = ops.convert_to_numpy(ops.cast(variable.value, "float32"))
        if not np.isfinite(values).all():
            return variable.path
    return None


def check_finite(model: Any, action: str) -> None:
    """Checks that all weights are finite.

    Args:
        model: a built Keras model.
        action: what is about to be done with it, such as "saved".

    Raises:
        ValueError: if a weight holds a NaN or an infinity.
    """
    path = non_finite_weight(model)
    if path is not None:
        raise validation.invalid(
            "model",
            f"a model of finite weights to be {action}",
            f"one whose weight {path!r} holds NaN or infinity",
            "Go back to weights from before the training turned non-finite, "
            "and train with a lower learning rate or with clipped gradients.",
        )
