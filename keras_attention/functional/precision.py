"""The precision that scores and sums are computed in."""

from typing import Any

from keras import ops


def at_least_float32(tensor: Any) -> Any:
    """Casts half precision to float32, and leaves everything else."""
    if ops.dtype(tensor) in ("float16", "bfloat16"):
        return ops.cast(tensor, "float32")
    return tensor
