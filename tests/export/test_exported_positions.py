"""Positions of every kind answer without Keras as they do with it."""

import numpy as np
import pytest
from answers_without_keras import check_answers_without_keras
from models.small_models import randomize

import keras_attention as ka

POSITIONS = {
    "shaw": lambda: ka.ShawRelativePosition(2),
    "t5": lambda: ka.RelativePositionBias(3, 8, 5),
    "alibi": lambda: ka.AlibiBias(3),
    "yarn": lambda: ka.RotaryEmbedding(scaling=ka.YaRNScaling(4.0, 8)),
    "rotary 2d": lambda: ka.RotaryEmbedding2D(2),
    "learned": lambda: ka.LearnedPositionalEncoding(600),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", POSITIONS)
def test_exported_position_answers_without_keras(name, tmp_path):
    source = ka.Vocabulary.build(["abcdefgh"])
    target = ka.Vocabulary.build(["a b c", "d e f g"], unit="symbols")
    model = ka.build_seq2seq(
        "transformer",
        source,
        target,
        units=12,
        num_heads=3,
        feed_forward_units=5,
        position=POSITIONS[name](),
        max_length=5,
    )
    model({"source": np.array([[5]]), "target": np.array([[1]])})
    randomize(model)
    search = ka.Beam(3, num_hypotheses=3)
    check_answers_without_keras(model, search, tmp_path)
