"""The precision that scores and sums are computed in."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

from keras import backend
from keras import ops

from keras_attention import validation

HALF = ("float16", "bfloat16")
EXACT, BACKEND = "exact", "backend"
PRECISIONS = (EXACT, BACKEND)

_float32_products = contextvars.ContextVar("float32_products", default=EXACT)


@contextlib.contextmanager
def float32_products(name: str) -> Iterator[None]:
    """Within it, long float32 attention multiplies so on a GPU.

    Blockwise attention that XLA compiles for a GPU multiplies float32 as
    float32. GPUs have the shorter TF32, of ten bits, that is several times as
    fast and that both backends use for all other products by default.

    Args:
        name: "exact" is float32, whatever the backend's setting; "backend" is
            that setting: `tf.config.experimental.
            enable_tensor_float_32_execution`, which is on unless it is turned
            off, or `jax_default_matmul_precision`. Half precision, processors
            and what XLA does not compile are the same in both.

    Raises:
        ValueError: if `name` is none of these.

    Example:

    >>> from keras_attention import functional
    >>> with functional.float32_products("backend"):
    ...     pass  # attend, or trace
    """
    name = validation.check_choice("name", name, PRECISIONS)
    token = _float32_products.set(name)
    try:
        yield
    finally:
        _float32_products.reset(token)


def multiplies_exactly() -> bool:
    """Whether float32 is to be multiplied as float32."""
    return _float32_products.get() == EXACT


def as_float(tensor: Any, dtype: str) -> Any:
    """Casts integers to a float dtype, and leaves floats."""
    is_float = backend.is_float_dtype(ops.dtype(tensor))
    return tensor if is_float else ops.cast(tensor, dtype)


def at_least_float32(tensor: Any) -> Any:
    """Casts half precision to float32, and leaves everything else."""
    dtype = dtype_of_sums(tensor)
    return tensor if dtype == ops.dtype(tensor) else ops.cast(tensor, dtype)


def dtype_of_sums(tensor: Any) -> str:
    """Returns the dtype to sum in what has the dtype of the tensor."""
    dtype = ops.dtype(tensor)
    return "float32" if dtype in HALF else dtype
