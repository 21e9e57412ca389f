"""Which layers a layer keeps: as attributes, in lists, tuples and dicts."""

from collections.abc import Iterator
from typing import Any

import keras

# Where Keras and TensorFlow themselves remember what was assigned. They are
# brought up to date by the assignment.
BOOKKEEPING = frozenset(
    {
        "_auto_config",
        "_functional",
        "_layers",
        "_metrics",
        "_nodes",
        "_nodes_by_depth",
        "_operations",
        "_operations_by_depth",
        "_self_unconditional_checkpoint_dependencies",
        "_self_unconditional_deferred_dependencies",
        "_self_unconditional_dependency_names",
        "_tracked",
    }
)


def held_layers(holder: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layers that `holder` keeps, each once, in their order.

    Those that only Keras's own list of layers has come last: nothing can be
    exchanged there.
    """
    held = [
        layer
        for _, value in attributes_of(holder)
        for layer in layers_in(value)
    ]
    held += [x for x in holder._layers if isinstance(x, keras.layers.Layer)]
    return list({id(layer): layer for layer in held}.values())


def attributes_of(holder: keras.layers.Layer) -> Iterator[tuple[str, Any]]:
    """Yields the names and values of what may hold layers."""
    for name, value in list(vars(holder).items()):
        if name not in BOOKKEEPING:
            yield name, value


def layers_in(value: Any) -> Iterator[keras.layers.Layer]:
    """Yields the layers in an attribute, at any depth."""
    if isinstance(value, keras.layers.Layer):
        yield value
    elif isinstance(value, dict):
        for item in list(value.values()):
            yield from layers_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from layers_in(item)
