"""Traced functions of a model, kept until the model changes."""

import threading
from collections.abc import Callable
from collections.abc import Hashable
from typing import Any

import keras

from keras_attention.functional.contexts import current_contexts

# What a traced graph holds on to: a model that gets another one of these
# must be traced again. Values of variables and `trainable` are not in it.
PARTS = (keras.Layer, keras.Variable, keras.DTypePolicy)
# More are those of searches that are not asked again, such as of other seeds.
MOST_FUNCTIONS = 64


class TracedFunctions:
    """Makes each function once for a model, and again after it changed.

    One that is traced within a context such as `declared_batches` serves
    within it alone: attention that is dense for short batches must not meet
    long ones.
    `quantize`, `enable_lora`, a new dtype policy and a replaced layer change
    what `parts_of` finds. Anything else that a trace froze, such as another
    activation, needs `clear`, which `compile` calls, as in Keras.

    Args:
        model: a Keras model or layer.
    """

    def __init__(self, model: keras.Layer):
        self.model = model
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Drops all functions."""
        self._functions, self._parts = {}, []

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Returns the function of `key`, `make()` where there is none."""
        parts = parts_of(self.model)
        key = key, current_contexts()
        with self._lock:
            if not _are_same(parts, self._parts):
                self._functions, self._parts = {}, parts
            functions = self._functions
            function = functions.pop(key, None) or make()
            functions[key] = function  # the last, that is, the newest
            if len(functions) > MOST_FUNCTIONS:
                del functions[next(iter(functions))]
        return function


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
