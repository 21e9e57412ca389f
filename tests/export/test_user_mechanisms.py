"""Mechanisms answer without Keras: a user's own, and those of the package."""

import keras
import pytest
from answers_without_keras import check_answers_without_keras
from models.small_models import randomize
from user_mechanisms import Coverage

import keras_attention as ka

MECHANISMS = {
    "user": Coverage,
    "location": lambda: ka.LocationSensitiveAttention(7, 3, 5),
    "coverage": lambda: ka.CoverageAttention(7),
    "forward": lambda: ka.ForwardAttention(
        score=ka.LocationSensitiveAttention(7, 3, 5), use_transition_agent=True
    ),
    "local": lambda: ka.LocalAttention(
        2, score=ka.DotProductAttention("general")
    ),
    "local-predictive": lambda: ka.LocalAttention(2, 7, predictive=True),
}
IN_THE_GATE = ("location",)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            x, marks=[] if x in IN_THE_GATE else pytest.mark.exhaustive
        )
        for x in MECHANISMS
    ],
)
def test_exported_mechanism_answers_without_keras(name, tmp_path):
    source = ka.Vocabulary.build(["abcdefgh"])
    target = ka.Vocabulary.build(["a b c", "d e f g"], unit="symbols")
    decoder = ka.RNNDecoder(
        len(target), 5, MECHANISMS[name](), cell=keras.layers.GRUCell(7)
    )
    model = ka.Seq2Seq(
        ka.CNNEncoder(len(source), 11),
        decoder,
        max_length=5,
        source_vocabulary=source,
        target_vocabulary=target,
    )
    randomize(model)
    search = ka.Beam(3, num_hypotheses=3)
    check_answers_without_keras(model, search, tmp_path)
