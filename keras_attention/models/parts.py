"""What the models need their encoders and decoders to have."""

import inspect
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import keras

from keras_attention import validation

STEPS = ("start", "step", "reorder")


def check_encoder(encoder: Any) -> None:
    """Raises a ValueError unless `encoder` is a Keras layer or model."""
    if not isinstance(encoder, keras.layers.Layer):
        raise validation.invalid(
            "encoder",
            "a Keras layer or model that maps sources to (batch, "
            "source_length, width)",
            repr(encoder),
        )


def check_decoder(decoder: Any) -> None:
    """Raises a ValueError that names what `decoder` lacks."""
    expected = (
        "a Keras layer with `start`, `step` and `reorder` to be decoded and "
        "`call`, `compute_mask` and `vocabulary_size` to be trained"
    )
    if not isinstance(decoder, keras.layers.Layer):
        raise validation.invalid("decoder", expected, repr(decoder))
    missing = [
        name for name in STEPS if not callable(getattr(decoder, name, None))
    ]
    for name in ("call", "compute_mask"):
        # Every Keras layer has them; only those of its own class count.
        if getattr(type(decoder), name) is getattr(keras.layers.Layer, name):
            missing.append(name)
    if not hasattr(decoder, "vocabulary_size"):
        missing.append("vocabulary_size")
    if missing:
        received = f"a {type(decoder).__name__} without {', '.join(missing)}"
        raise validation.invalid("decoder", expected, received)


def check_apart(name: str, parts: Sequence, shared: Sequence = ()) -> None:
    """Raises a ValueError where two parts have a variable in common.

    A file holds it once, and each part looks for its own when it is loaded.

    Args:
        name: the argument, for the error.
        parts: encoders and decoders.
        shared: layers that they may have in common.
    """
    known, allowed = set(), {id(v) for x in shared for v in x.variables}
    for part in parts:
        found = {id(v): v.path for v in part.variables if id(v) not in allowed}
        if common := known & set(found):
            raise validation.invalid(
                name,
                "of variables of their own, or what is saved cannot be loaded",
                f"parts that share {found[common.pop()]}",
                "Give each its own copy of the layer, such as "
                "type(layer).from_config(layer.get_config()).",
            )
        known |= set(found)


def check_positions(name: str, part: Any, count: int, reason: str) -> None:
    """Raises a ValueError where a part has not enough positions.

    Args:
        name: "encoder" or "decoder".
        part: it; `max_positions` is how many positions it tells apart, if it
            has that and it is not None.
        count: how many it will be given.
        reason: why so many, for the error.
    """
    most = getattr(part, "max_positions", None)
    if most is not None and count > most:
        raise ValueError(
            f"`{name}` must have {count} positions for {reason}. Received: "
            f"{name}.max_positions={most}. Make one of them smaller, or give "
            f"the {name} a position with more."
        )


def takes(function: Callable, argument: str) -> bool:
    """Whether a function has an argument of this name."""
    return argument in inspect.signature(function).parameters
