"""Decoders with each mechanism that moves on learn to copy with insertions."""

import keras
import numpy as np
import pytest

import keras_attention as ka

BOS, EOS, INSERTED, LETTERS = 1, 2, 4, 8
FIRST = INSERTED + 1
IDS = FIRST + LETTERS
LENGTH = 10

MECHANISMS = {
    "monotonic": lambda: ka.MonotonicAttention(
        score=ka.AdditiveAttention(24, normalize=True), seed=3
    ),
    "mocha": lambda: ka.MonotonicAttention(24, chunk_size=2, seed=3),
    "mixture": lambda: ka.GaussianMixtureAttention(24, 3),
}


def words(count, seed):
    """Words, and their copies with an insertion after each even letter.

    Nothing of a word is known but by looking at the right place of it, and
    how far on that is depends on what has been read.
    """
    generator = np.random.default_rng(seed)
    sources = np.zeros((count, LENGTH), "int32")
    targets = np.zeros((count, 2 * LENGTH), "int32")
    for source, target in zip(sources, targets, strict=True):
        size = generator.integers(LENGTH // 2, LENGTH)
        letters = generator.integers(FIRST, IDS, size)
        copy = []
        for letter in letters:
            copy += [letter, INSERTED] if letter % 2 == 0 else [letter]
        source[: size + 1] = [*letters, EOS]
        target[: len(copy) + 1] = [*copy, EOS]
    return sources, targets


def trained(mechanism):
    keras.utils.set_random_seed(7)
    model = ka.Seq2Seq(
        ka.CNNEncoder(IDS, 32),
        ka.RNNDecoder(IDS, 48, mechanism, cell="gru"),
        max_length=2 * LENGTH,
    )
    sources, targets = words(2048, seed=3)
    inputs = {
        "source": sources,
        "target": np.pad(targets, ((0, 0), (1, 0)), constant_values=BOS)[
            :, :-1
        ],
    }
    model.build({name: ids.shape for name, ids in inputs.items()})
    optimizer = keras.optimizers.Adam(0.004, clipnorm=1.0)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=True)
    model.fit(inputs, targets, batch_size=64, epochs=20, verbose=0)
    return model


def error_of(tokens, targets):
    """Share of the real tokens that are not what they should be."""
    found = np.zeros_like(targets)
    tokens = np.asarray(tokens)[:, : targets.shape[1]]
    found[:, : tokens.shape[1]] = tokens
    return (found != targets)[targets != 0].mean()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", MECHANISMS)
def test_copy_with_insertions_is_learned(name):
    model = trained(MECHANISMS[name]())
    sources, targets = words(257, seed=5)
    constant = np.full_like(targets, INSERTED)
    assert error_of(constant, targets) > 0.6
    found = model.generate(sources, search=ka.Greedy())
    assert error_of(np.asarray(found.tokens)[:, 0], targets) < 0.1
