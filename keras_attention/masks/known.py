"""Values of tensors, where they can be read."""

from typing import Any

import keras
import numpy as np
from keras import ops


def known_values(tensor: Any) -> np.ndarray | None:
    """Returns the values of a tensor; None where it is symbolic or traced."""
    if isinstance(tensor, keras.Variable):
        tensor = ops.convert_to_tensor(tensor)
    if isinstance(tensor, keras.KerasTensor):
        return None
    is_tensorflow = keras.backend.backend() == "tensorflow"
    if is_tensorflow and ops.is_tensor(tensor) and not hasattr(tensor, "numpy"):
        return None
    try:
        return np.asarray(tensor)
    except TypeError:  # of JAX
        return None
