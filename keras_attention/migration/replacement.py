"""What `replace_attention` did, to read and to ask."""

import dataclasses
import textwrap
from typing import Any

import keras


@dataclasses.dataclass(frozen=True, eq=False)
class Changed:
    """One layer that was replaced.

    Attributes:
        path: names of the layers that it is in, and its own.
        old: the layer that was there.
        new: the layer that is there.
    """

    path: str
    old: keras.layers.Layer
    new: keras.layers.Layer

    def __str__(self):
        return f"{self.path}: {_kind(self.old)} -> {_kind(self.new)}"


@dataclasses.dataclass(frozen=True, eq=False)
class Kept:
    """One attention layer that was not replaced.

    Attributes:
        path: names of the layers that it is in, and its own.
        layer: the layer.
        reason: why it was left.
    """

    path: str
    layer: keras.layers.Layer
    reason: str

    def __str__(self):
        return f"{self.path}: {_kind(self.layer)}: {self.reason}"


@dataclasses.dataclass(frozen=True, eq=False)
class Replacement:
    """What `replace_attention` returns.

    Attributes:
        model: the model to use from now on.
        changed: a `Changed` for each layer that was replaced.
        kept: a `Kept` for each attention layer that was not.
        notes: sentences on what differs from before.
    """

    model: Any
    changed: tuple[Changed, ...]
    kept: tuple[Kept, ...]
    notes: tuple[str, ...]

    def __str__(self):
        parts = [
            _listed("replaced", self.changed),
            _listed("kept", self.kept),
            _listed("notes", self.notes),
        ]
        return "\n".join(parts)


def _kind(layer):
    kind = type(layer)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _listed(title, items):
    lines = [f"{len(items)} {title}" + (":" if items else "")]
    for item in items:
        lines += textwrap.wrap(
            str(item), 79, initial_indent="  ", subsequent_indent="    "
        )
    return "\n".join(lines)
