"""Where a layer keeps other layers, and how one of them is exchanged.

A layer holds others as attributes: itself, or in lists, tuples and dicts of
any depth.
"""

from collections.abc import Callable
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
        layer for _, value in _attributes(holder) for layer in _layers_in(value)
    ]
    held += [x for x in holder._layers if isinstance(x, keras.layers.Layer)]
    return list({id(layer): layer for layer in held}.values())


def exchange(
    holder: keras.layers.Layer,
    old: keras.layers.Layer,
    new: keras.layers.Layer,
) -> Callable[[], None]:
    """Puts `new` wherever `holder` keeps `old`.

    Returns:
        A function that undoes it.
    """
    names = [
        name
        for name, value in _attributes(holder)
        if any(layer is old for layer in _layers_in(value))
    ]

    def undo():
        _exchange(holder, names, new, old)

    try:
        _exchange(holder, names, old, new)
    except Exception:
        undo()
        raise
    return undo


def keeps(holder: keras.layers.Layer, layer: keras.layers.Layer) -> bool:
    """Whether `holder` keeps `layer` where it can be exchanged."""
    return any(
        found is layer
        for _, value in _attributes(holder)
        for found in _layers_in(value)
    )


def _exchange(holder, names, old, new):
    # A built layer takes no more layers, but lets one take another's place,
    # which also keeps the order of the weights.
    tracker = holder._tracker
    if tracker.is_in_store("layers", old):
        tracker.replace_tracked_value("layers", old, new)
    for name in names:
        setattr(holder, name, _exchanged(getattr(holder, name), old, new))


def _attributes(holder) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(holder).items()):
        if name not in BOOKKEEPING:
            yield name, value


def _layers_in(value):
    if isinstance(value, keras.layers.Layer):
        yield value
    elif isinstance(value, dict):
        for item in list(value.values()):
            yield from _layers_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _layers_in(item)


def _exchanged(value, old, new):
    """Returns `value` with `new` for `old`; lists and dicts stay the same."""
    if value is old:
        return new
    if isinstance(value, dict):
        for key, item in list(value.items()):
            value[key] = _exchanged(item, old, new)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            value[index] = _exchanged(item, old, new)
    elif isinstance(value, tuple):
        items = [_exchanged(item, old, new) for item in value]
        kind = value.__class__  # TensorFlow's wrapper says what it wraps
        return kind(*items) if hasattr(value, "_fields") else kind(items)
    return value
