"""Mechanisms that move on train, are searched, and answer without Keras."""

import json

import keras
import numpy as np
import pytest
from fresh_process import run_fresh

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
    "alignments": answer["alignments"].numpy().tolist(),
    "hidden": hidden,
}))
"""
MECHANISMS = {
    "monotonic": lambda: ka.MonotonicAttention(7, seed=3),
    "mocha": lambda: ka.MonotonicAttention(
        score=ka.DotProductAttention("general"), chunk_size=2, seed=3
    ),
    "mixture": lambda: ka.GaussianMixtureAttention(7, 2),
}
TEXTS = ["cab", "a", "hgfe"]


@pytest.mark.parametrize(
    "name",
    [
        "monotonic",
        pytest.param("mocha", marks=pytest.mark.exhaustive),
        pytest.param("mixture", marks=pytest.mark.exhaustive),
    ],
)
def test_trained_mechanism_answers_without_keras(name, tmp_path):
    source = ka.Vocabulary.build(["abcdefgh"])
    target = ka.Vocabulary.build(["abcdefgh"])
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
    losses = losses_of_copying(model)
    assert losses[-1] < 0.9 * losses[0]
    search = ka.Beam(3, num_hypotheses=3)
    export.export_saved_model(
        model, tmp_path / "1", search, signatures=["n_best"]
    )
    folder = (tmp_path / "1").rename(tmp_path / "moved")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = run_fresh(str(program), str(folder), json.dumps(TEXTS))
    told = json.loads(done.stdout.splitlines()[-1])
    expected = model.generate(TEXTS, search)
    assert told["hidden"]
    assert told["text"] == np.asarray(expected.texts).tolist()
    np.testing.assert_allclose(told["score"], expected.scores, atol=1e-5)
    assert np.max(told["alignments"]) > 0.1


def losses_of_copying(model):
    """Trains to copy words; returns the losses."""
    generator = np.random.default_rng(5)
    words = [
        "".join(generator.choice(list("abcdefgh"), size))
        for size in generator.integers(1, 5, size=64)
    ]
    labels = model.target_vocabulary.encode(words, 5).numpy()
    inputs = {
        "source": model.source_vocabulary.encode(words, 5),
        "target": np.pad(labels, ((0, 0), (1, 0)), constant_values=1)[:, :-1],
    }
    optimizer = keras.optimizers.Adam(0.02)
    model.build({name: ids.shape for name, ids in inputs.items()})
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    history = model.fit(inputs, labels, batch_size=16, epochs=9, verbose=0)
    return history.history["loss"]
