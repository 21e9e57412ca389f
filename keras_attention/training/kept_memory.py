"""Memory that a training step gives back, kept for the next one."""

import ctypes
from typing import Any

import keras

# Of `mallopt` in glibc's <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1
LARGEST_ONCE = 2**25  # as threshold of mmap, in glibc that is some years old


class KeepMemory(keras.callbacks.Callback):
    """Has the allocator of C keep the memory of one step for the next.

    A step compiled by XLA asks for some 100 MB at once, and gives them back at
    its end. The allocator of glibc hands so much to the system and fetches it
    anew, page by page, at each step: up to a quarter of the time of a step.
    With this it keeps what it once had, in the whole process and from the first
    batch on; with another allocator, and on other systems, nothing happens.

    It comes with the first batch because TensorFlow sets a threshold of its
    own as a dataset starts, whatever the environment says.

    Example:

    >>> from keras_attention import training
    >>> callbacks = [training.KeepMemory()]  # of `fit`
    """

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            keep_memory()


def keep_memory() -> bool:
    """Has the allocator keep memory; returns whether it is one that can."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    maps_less = any(
        mallopt(M_MMAP_THRESHOLD, size) for size in (LARGEST, LARGEST_ONCE)
    )
    trims_less = mallopt(M_TRIM_THRESHOLD, LARGEST)
    return maps_less and bool(trims_less)
