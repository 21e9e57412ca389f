"""The tests that Keras ships for its layer, run with ours in its place."""

import importlib
import types
import unittest

import keras
import pytest

from keras_attention.layers import MultiHeadAttention

# Wheels of Keras bring their tests along, but promise nothing of the kind.
shipped = pytest.importorskip(
    "keras.src.layers.attention.multi_head_attention_test"
)

# These are about the fused kernels of JAX and Torch, and skip TensorFlow.
LEFT_OUT = {
    "test_flash_attention_with_errors": (
        "wants dropout refused on the fast path; here they go together"
    ),
    "test_basics_with_flash_attention": (
        "switches those kernels on for the whole process, and allows for "
        "the errors that they raise"
    ),
}
ALL_NAMES = unittest.TestLoader().getTestCaseNames(
    shipped.MultiHeadAttentionTest
)


class KerasLayers(types.ModuleType):
    """`keras.src.layers` with one layer exchanged."""

    MultiHeadAttention = MultiHeadAttention

    def __getattr__(self, name):
        return getattr(importlib.import_module("keras.src.layers"), name)


@pytest.mark.parametrize(
    "name",
    [
        # One of them takes as long as all others.
        pytest.param(name, marks=[pytest.mark.exhaustive] * ("int8" in name))
        for name in ALL_NAMES
        if name not in LEFT_OUT
    ],
)
@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
def test_ours_passes_what_keras_ships(name, monkeypatch):
    monkeypatch.setattr(shipped, "layers", KerasLayers("layers"))
    result = unittest.TestResult()
    shipped.MultiHeadAttentionTest(name).run(result)
    assert result.testsRun == 1
    assert not result.skipped, result.skipped[0][1]
    problems = result.errors + result.failures
    assert not problems, problems[0][1]


def test_what_is_left_out_is_shipped():
    versions = tuple(map(int, keras.__version__.split(".")[:2]))
    unknown = set(LEFT_OUT) - set(ALL_NAMES)
    assert versions < (3, 15) or unknown == set()
