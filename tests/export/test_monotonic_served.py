"""Mechanisms that move on train, are searched, and answer without Keras."""

import keras
import numpy as np
import pytest
from answers_without_keras import check_answers_without_keras

import keras_attention as ka

MECHANISMS = {
    "monotonic": lambda: ka.MonotonicAttention(7, seed=3),
    "mocha": lambda: ka.MonotonicAttention(
        score=ka.DotProductAttention("general"), chunk_size=2, seed=3
    ),
    "mixture": lambda: ka.GaussianMixtureAttention(7, 2),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["monotonic", "mocha", "mixture"])
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
    told = check_answers_without_keras(model, search, tmp_path)
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
