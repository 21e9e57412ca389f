"""What one source looks like: its shape and dtype, the batch left out."""

import dataclasses
from typing import Any

import keras

from keras_attention import validation

EXPECTED = (
    "a keras.KerasTensor with the axis of the batch, such as "
    "keras.Input((None, 80)), or a pair of a shape without it and a dtype, "
    "such as ((None, 80), 'float32')"
)


@dataclasses.dataclass(frozen=True)
class SourceSignature:
    """Shape and dtype of one source.

    Args:
        shape: tuple of the sizes without the batch; None is any size.
        dtype: name of the dtype.
    """

    shape: tuple
    dtype: str

    @property
    def is_ids(self) -> bool:
        """True for a sequence of token ids; else for an array of numbers."""
        return len(self.shape) == 1 and "int" in self.dtype

    @property
    def symbol(self) -> keras.KerasTensor:
        """A symbolic batch of sources."""
        return keras.KerasTensor((None, *self.shape), dtype=self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Returns what `as_signature` reads, ready for JSON."""
        return {"shape": list(self.shape), "dtype": self.dtype}


IDS = SourceSignature((None,), "int32")


def signature_of(encoder: keras.layers.Layer, given: Any) -> SourceSignature:
    """Returns the signature of a model's sources.

    Args:
        encoder: a Keras layer or model.
        given: what the caller says. None asks the encoder: its attribute
            `source_signature`, else the input it was made with (`keras.Input`
            of a functional or sequential model), else ids.
    """
    if given is None:
        given = getattr(encoder, "source_signature", None)
    if given is not None:
        return as_signature(given)
    try:
        inputs = keras.tree.flatten(encoder.inputs or [])
    except AttributeError:  # not a model, or one without inputs of its own
        return IDS
    if len(inputs) > 1:
        raise validation.invalid(
            "encoder", "a model of one input", f"one of {len(inputs)} inputs"
        )
    return as_signature(inputs[0]) if inputs else IDS


def as_signature(given: Any) -> SourceSignature:
    """Returns a signature in any of its forms as a `SourceSignature`."""
    if isinstance(given, SourceSignature):
        return given
    if isinstance(given, dict) and set(given) == {"shape", "dtype"}:
        shape, dtype = given["shape"], given["dtype"]
    elif hasattr(given, "shape") and hasattr(given, "dtype"):
        shape, dtype = (given.shape or ())[1:], given.dtype
    elif isinstance(given, (list, tuple)) and len(given) == 2:
        shape, dtype = given
    else:
        raise validation.invalid("source_signature", EXPECTED, repr(given))
    is_shape = isinstance(shape, (list, tuple)) and all(
        size is None or validation.is_integer(size) and size > 0
        for size in shape
    )
    if not is_shape or not shape or dtype is None:
        raise validation.invalid("source_signature", EXPECTED, repr(given))
    dtype = keras.backend.standardize_dtype(dtype)
    return SourceSignature(tuple(shape), dtype)
