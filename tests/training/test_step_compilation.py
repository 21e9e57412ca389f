"""Which trainings compile their step."""

import types

import pytest
import tensorflow as tf

from keras_attention.text import Vocabulary
from keras_attention.training import step_compilation
from keras_attention.training import survey_pairs

pytestmark = pytest.mark.tensorflow_only

VOCABULARY = Vocabulary.build(["ab"])
# 7 short pairs and 5 long ones: in batches of 2 they have two shapes.
PAIRS = [("a", "ab")] * 7 + [("abab", "ababa")] * 5
STEPS = 6  # of an epoch


def compiles(jit_compile, epochs):
    settings = types.SimpleNamespace(
        jit_compile=jit_compile, epochs=epochs, batching={"batch_size": 2}
    )
    survey = survey_pairs(PAIRS, VOCABULARY, VOCABULARY)
    return step_compilation.compiles(settings, survey)


def test_auto_compiles_where_each_shape_comes_often():
    enough = -(-2 * step_compilation.LEAST_STEPS_OF_A_SHAPE // STEPS)
    assert compiles("auto", enough)
    assert not compiles("auto", enough - 1)


def test_what_is_asked_for_is_done():
    assert compiles(True, 1)
    assert not compiles(False, 10_000)


def test_auto_never_compiles_under_a_strategy():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert not compiles("auto", 10_000)
