"""The parts of the signatures that need no exported model."""

import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export import signatures


@pytest.mark.parametrize(
    ("shape", "padded"),
    [
        ((0, 1), (1, 1)),
        ((1, 1), (1, 1)),
        ((2, 3), (2, 4)),
        ((3, 2), (4, 2)),
        ((5, 17), (8, 32)),
    ],
    ids=str,
)
def test_padding_to_powers_of_two_repeats_the_first_row(shape, padded):
    source = np.arange(1, 1 + np.prod(shape), dtype="int32").reshape(shape)
    found = signatures._pad_to_powers_of_two(tf.constant(source)).numpy()
    expected = np.zeros(padded, "int32")
    expected[:, : shape[1]] = source[0] if shape[0] else 2  # EOS
    expected[: shape[0], : shape[1]] = source
    assert found.tolist() == expected.tolist()


def test_row_seeds_depend_on_the_row_alone():
    row, other = [5, 7, 4, 2], [7, 5, 4, 2]
    alone = signatures.row_seeds(tf.constant([row])).numpy()
    among = signatures.row_seeds(
        tf.constant([[9] * 6, [*row, 0, 0], [*other, 0, 0]])
    ).numpy()
    assert alone[0] == among[1]
    assert len(set(among)) == 3


@pytest.mark.parametrize(
    ("search", "best", "several"),
    [
        (ka.Beam(3), ka.Beam(3), ka.Beam(3, num_hypotheses=3)),
        (
            ka.Beam(5, num_hypotheses=2),
            ka.Beam(5),
            ka.Beam(5, num_hypotheses=2),
        ),
        (ka.Greedy(), ka.Greedy(), ka.Greedy()),
        (ka.Sample(seed=7), ka.Sample(seed=7), ka.Sample(seed=7)),
    ],
    ids=["beam", "beam_of_two", "greedy", "sample"],
)
def test_searches_for_the_best_and_for_several(search, best, several):
    assert signatures.best_of(search) == best
    assert signatures.several_of(search) == several
