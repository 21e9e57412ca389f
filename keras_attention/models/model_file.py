"""A `.keras` file of somebody else: all that is checked before it is loaded."""

import concurrent.futures
import math
import pathlib
from typing import Any

import keras

from keras_attention.models.archive import IF_TRUSTED
from keras_attention.models.archive import read_archive
from keras_attention.models.config_scan import check_config
from keras_attention.models.weights_file import check_weights

# A model may have some state that is not saved.
FREE_NUMBERS = 2**24


def check_model_file(
    path: str | pathlib.Path, custom_objects: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Checks that loading a `.keras` file reads and runs nothing else.

    Args:
        path: path of the file.
        custom_objects: dict from names to classes and functions that the
            file may name.

    Returns:
        The configuration of the model, a dict.

    Raises:
        Exception: of any kind, if the file is damaged or may do harm.
    """
    config, weights = read_archive(path)
    named = check_config(config, custom_objects)
    stored = check_weights(weights)
    _check_layers(config, stored.arrays)
    needed = _numbers_of(config, {**named, **(custom_objects or {})})
    if needed > stored.numbers + FREE_NUMBERS:
        raise ValueError(
            f"its configuration asks for {needed:,} weights, and it holds "
            f"{stored.numbers:,}. {IF_TRUSTED}"
        )
    return config


def _check_layers(config, arrays):
    """Checks that no part has more layers than there are arrays."""
    entries = [config]
    while entries:
        entry = entries.pop()
        if isinstance(entry, dict):
            number = entry.get("num_layers")
            if isinstance(number, (int, float)) and number > arrays:
                raise ValueError(
                    f"a part of it has {number:,} layers, and the file "
                    f"{arrays:,} arrays"
                )
            entries += entry.values()
        elif isinstance(entry, list):
            entries += entry


def _numbers_of(config, custom_objects):
    """Returns how many numbers the weights of a model are, none of them made.

    Keras keeps a list of weights that were not made yet for each thread; in
    a thread that ends, nobody makes them later.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        model = thread.submit(_build_no_weights, config, custom_objects)
        variables = getattr(model.result(), "variables", [])
        return sum(math.prod(variable.shape) for variable in variables)


def _build_no_weights(config, custom_objects):
    with keras.StatelessScope(initialize_variables=False):
        return keras.saving.deserialize_keras_object(config, custom_objects)
