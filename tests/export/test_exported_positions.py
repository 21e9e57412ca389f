"""Positions of every kind answer without Keras as they do with it."""

import json

import numpy as np
import pytest
from fresh_process import run_fresh
from models.small_models import randomize
from test_user_mechanisms import PROGRAM

import keras_attention as ka
from keras_attention import export

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
    export.export_saved_model(
        model, tmp_path / "1", search, signatures=["n_best"]
    )
    texts = ["cab", "a", "hgfe"]
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = run_fresh(str(program), str(tmp_path / "1"), json.dumps(texts))
    told = json.loads(done.stdout.splitlines()[-1])
    expected = model.generate(texts, search)
    assert told["hidden"]
    assert told["text"] == np.asarray(expected.texts).tolist()
    np.testing.assert_allclose(told["score"], expected.scores, atol=1e-5)
