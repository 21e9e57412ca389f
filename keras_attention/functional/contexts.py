"""What a trace of attention depends on, beside its arguments."""

from collections.abc import Hashable

from keras_attention.functional import compiling
from keras_attention.functional.blockwise.attention import current_schedule
from keras_attention.functional.devices import current_target
from keras_attention.functional.fused.batches import current_batches
from keras_attention.functional.precision import multiplies_exactly


def current_contexts() -> Hashable:
    """Returns which contexts of this package are in effect.

    A function that was traced within some of them serves within them alone:
    what they declare is part of the graph.
    """
    return (
        current_batches(),
        current_target(),
        current_schedule(),
        multiplies_exactly(),
        compiling.is_portable(),
    )
