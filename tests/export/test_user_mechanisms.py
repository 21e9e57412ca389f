"""Mechanisms answer without Keras: a user's own, and those of the package."""

import json

import keras
import numpy as np
import pytest
from fresh_process import run_fresh
from models.small_models import randomize
from user_mechanisms import Coverage

import keras_attention as ka
from keras_attention import export

PROGRAM = """
import json, sys
sys.modules["keras"] = sys.modules["keras_attention"] = None
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
texts = tf.constant(json.loads(sys.argv[2]))
answer = loaded.signatures["n_best"](text=texts)
hidden = not any(name.startswith("keras.") for name in sys.modules)
print(json.dumps({
    "text": [[t.decode() for t in row] for row in answer["text"].numpy()],
    "score": answer["score"].numpy().tolist(),
    "hidden": hidden,
}))
"""


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
    export.export_saved_model(model, tmp_path / "1", search)
    folder = (tmp_path / "1").rename(tmp_path / "moved")
    texts = ["cab", "a", "hgfe"]
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = run_fresh(str(program), str(folder), json.dumps(texts))
    told = json.loads(done.stdout.splitlines()[-1])
    expected = model.generate(texts, search)
    assert told["hidden"]
    assert told["text"] == np.asarray(expected.texts).tolist()
    np.testing.assert_allclose(told["score"], expected.scores, atol=1e-5)
