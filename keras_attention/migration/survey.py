"""Finds the attention layers of a model, before anything is changed."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_attention.layers.attention.base import AttentionLayer
from keras_attention.migration import holders
from keras_attention.migration import keras_hub
from keras_attention.migration.keras_layers import CONVERTERS
from keras_attention.migration.replacement import Changed
from keras_attention.migration.replacement import Kept
from keras_attention.models.held_layers import held_layers

# How a layer is held: as a node of a functional or Sequential model, as an
# attribute, or where only Keras finds it.
NODE, ATTRIBUTE, HIDDEN = "node", "attribute", "hidden"


def is_graph(layer: keras.layers.Layer) -> bool:
    """Whether `layer` is a functional or Sequential model."""
    return isinstance(layer, (keras.Function, keras.Sequential))


def nodes_of(graph: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers that a functional or Sequential model calls."""
    return list(graph.layers)


@dataclasses.dataclass
class Survey:
    """The attention layers of a model.

    Attributes:
        found: {id of a layer: the `Changed` that it may become}.
        kept: those that have no replacement.
    """

    found: dict[int, Changed] = dataclasses.field(default_factory=dict)
    kept: list[Kept] = dataclasses.field(default_factory=list)
    _held_by: dict[int, list] = dataclasses.field(default_factory=dict)
    _seen: set[int] = dataclasses.field(default_factory=set)

    def visit(self, layer: keras.layers.Layer, path: str) -> None:
        """Looks at a layer, and into it."""
        if id(layer) in self._seen:
            return
        self._seen.add(id(layer))
        before = len(self.found) + len(self.kept)
        convert = CONVERTERS.get(type(layer)) or keras_hub.converter_of(layer)
        if convert is not None:
            self._convert(convert, layer, path)
        elif isinstance(layer, tuple(CONVERTERS)):
            reason = "a subclass, which may compute something else"
            self.kept.append(Kept(path, layer, reason))
        elif not _is_ours(layer):
            self._visit_held(layer, path)
            found = len(self.found) + len(self.kept) - before
            if "Attention" in type(layer).__name__ and not found:
                reason = "nothing is known of this class"
                self.kept.append(Kept(path, layer, reason))

    def _visit_held(self, holder, path):
        nodes = nodes_of(holder) if is_graph(holder) else []
        for layer in held_layers(holder):
            if any(layer is node for node in nodes):
                how = NODE
            else:
                is_kept = holders.keeps(holder, layer)
                how = ATTRIBUTE if is_kept else HIDDEN
            self._held_by.setdefault(id(layer), []).append((holder, how))
            self.visit(layer, f"{path}/{layer.name}")

    def _convert(self, convert: Callable, layer: Any, path: str) -> None:
        try:
            new = convert(layer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.kept.append(Kept(path, layer, str(error)))
        else:
            self.found[id(layer)] = Changed(path, layer, new)

    def leave_unreachable(self) -> None:
        """Moves from `found` to `kept` what cannot be exchanged."""
        for key, changed in list(self.found.items()):
            reason = self._obstacle(changed.old)
            if reason:
                del self.found[key]
                self.kept.append(Kept(changed.path, changed.old, reason))

    def _obstacle(self, layer):
        """Returns why `layer` cannot be exchanged everywhere, or None."""
        for holder, how in self._held_by.get(id(layer), []):
            name = type(holder).__name__
            if how == HIDDEN:
                return (
                    f"{name} does not keep it as an attribute, or in a list, "
                    "tuple or dict that is one"
                )
            if how == NODE and not can_be_rebuilt(holder):
                return (
                    f"{name} is a functional or Sequential model that cannot "
                    "be rebuilt: its class has a constructor or layers of its "
                    "own, or an input is optional or sparse"
                )
            if how == NODE and self._obstacle(holder):
                return self._obstacle(holder)
        return None


def can_be_rebuilt(graph: keras.Model) -> bool:
    """Whether a model with other nodes is made by the constructor of Keras."""
    if isinstance(graph, keras.Sequential):
        return type(graph) is keras.Sequential
    nodes = nodes_of(graph)
    if any(
        all(layer is not node for node in nodes) for layer in held_layers(graph)
    ):
        return False
    inputs = [x for x in nodes if isinstance(x, keras.layers.InputLayer)]
    if any(layer.optional or layer.sparse for layer in inputs):
        return False  # `clone_model` forgets it
    functional = next(
        kind
        for kind in type(graph).__mro__
        if kind.__module__.partition(".")[0] == "keras"
    )
    ours, theirs = (
        inspect.signature(kind.__init__) for kind in (type(graph), functional)
    )
    return ours == theirs


def _is_ours(layer):
    """Whether there is nothing to replace: attention on top of this package."""
    is_named = "Attention" in type(layer).__name__
    home = type(layer).__module__.partition(".")[0]
    return is_named and (
        home == "keras_attention" or isinstance(layer, AttentionLayer)
    )
