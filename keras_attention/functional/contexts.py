"""The contexts of this package that change what a traced function holds."""

from collections.abc import Hashable

from keras_attention.functional import compiling
from keras_attention.functional.blockwise.attention import current_schedule
from keras_attention.functional.devices import current_target
from keras_attention.functional.fused.batches import current_batches
from keras_attention.functional.precision import multiplies_exactly


def current_contexts() -> Hashable:
    """Returns the settings of all contexts in effect, as one key.

    The settings are part of a traced graph. A function that is kept is called
    again only where they are equal.
    """
    return (
        current_batches(),
        current_target(),
        current_schedule(),
        multiplies_exactly(),
        compiling.is_portable(),
    )
