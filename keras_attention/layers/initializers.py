"""Initialisers that several weights share."""

import keras


def cloned(
    initializer: keras.initializers.Initializer,
) -> keras.initializers.Initializer:
    """Returns a copy. Cloned: reusing an instance repeats its values."""
    return type(initializer).from_config(initializer.get_config())
