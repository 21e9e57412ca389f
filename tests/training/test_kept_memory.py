"""Memory that a step gives back stays with the process."""

import platform

import pytest
from fresh_process import run_fresh

from keras_attention.training import kept_memory

pytestmark = [
    pytest.mark.tensorflow_only,
    pytest.mark.skipif(
        platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's"
    ),
]

# A step of 64 MB is freed; what is left of it in memory is printed, in MB.
PROGRAM = """
import sys
import keras
import numpy as np
import tensorflow as tf
from keras_attention import training

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 1e6

class Step(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        before = resident()
        x = np.ones(8_000_000)
        del x
        print(resident() - before)

model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse", run_eagerly=True)
spec = tf.TensorSpec((2, 3)), tf.TensorSpec((2, 1))
data = tf.data.Dataset.from_generator(
    lambda: iter([(np.ones((2, 3)), np.ones((2, 1)))]), output_signature=spec
)
keep = [training.KeepMemory()] if sys.argv[1] == "keep" else []
model.fit(data, callbacks=[*keep, Step()], verbose=0)
"""


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        ("keep", True),
        pytest.param("", False, marks=pytest.mark.exhaustive),
    ],
)
def test_freed_memory_is_kept(given, is_kept):
    first, *_ = run_fresh("-c", PROGRAM, given).stdout.split()
    assert (float(first) > 50) == is_kept


def test_older_glibc_is_asked_for_what_it_grants(monkeypatch):
    granted = {}

    class OlderLibrary:
        def __init__(self, name):
            del name

        def mallopt(self, option, value):
            if option == kept_memory.M_MMAP_THRESHOLD and value > 2**25:
                return 0
            granted[option] = value
            return 1

    monkeypatch.setattr(kept_memory.ctypes, "CDLL", OlderLibrary)
    assert kept_memory.keep_memory()
    assert granted == {
        kept_memory.M_MMAP_THRESHOLD: 2**25,
        kept_memory.M_TRIM_THRESHOLD: 2**31 - 1,
    }
