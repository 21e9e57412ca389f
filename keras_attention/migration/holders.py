"""How a layer that another layer keeps is exchanged.

A layer holds others as attributes: itself, or in lists, tuples and dicts of
any depth.
"""

from collections.abc import Callable

import keras

from keras_attention.models.held_layers import attributes_of
from keras_attention.models.held_layers import layers_in


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
        for name, value in attributes_of(holder)
        if any(layer is old for layer in layers_in(value))
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
        for _, value in attributes_of(holder)
        for found in layers_in(value)
    )


def _exchange(holder, names, old, new):
    # A built layer takes no more layers, but lets one take another's place,
    # which also keeps the order of the weights.
    tracker = holder._tracker
    if tracker.is_in_store("layers", old):
        tracker.replace_tracked_value("layers", old, new)
    for name in names:
        setattr(holder, name, _exchanged(getattr(holder, name), old, new))


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
