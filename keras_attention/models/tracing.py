"""Traced functions of a model, kept until the model changes."""

from collections.abc import Callable
from collections.abc import Hashable
from typing import Any

import keras

from keras_attention.functional.fused.batches import current_batches

# What a traced graph holds on to: a model that gets another one of these
# must be traced again. Values of variables and `trainable` are not in it.
PARTS = (keras.Layer, keras.Variable, keras.DTypePolicy)


class TracedFunctions:
    """Makes each function once for a model, and again after it changed.

    One that is traced within `declared_batches` serves within them alone:
    attention that is dense for short batches must not meet long ones.
    `quantize`, `enable_lora`, a new dtype policy and a replaced layer change
    what `parts_of` finds. Anything else that a trace froze, such as another
    activation, needs `clear`, which `compile` calls, as in Keras.

    Args:
        model: a Keras model or layer.
    """

    def __init__(self, model: keras.Layer):
        self.model = model
        self.clear()

    def clear(self) -> None:
        """Drops all functions."""
        self._functions, self._parts = {}, []

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Returns the function of `key`, `make()` where there is none."""
        parts = parts_of(self.model)
        if not _are_same(parts, self._parts):
            self._functions, self._parts = {}, parts
        key = key, current_batches()
        if key not in self._functions:
            self._functions[key] = make()
        return self._functions[key]


def parts_of(layer: keras.Layer) -> list:
    """Returns a layer's sublayers, variables and dtype policies, as a list.

    They are read from the attributes of each layer, from lists and dicts too:
    Keras does not track a layer that took the place of another in a list.
    """
    seen, pending = {}, [layer]
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, keras.Layer):
            pending += vars(value).values()
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, (list, tuple, set)):
            pending += value
    return [value for value in seen.values() if isinstance(value, PARTS)]


def _are_same(parts, others):
    if len(parts) != len(others):
        return False
    return all(a is b for a, b in zip(parts, others, strict=True))
