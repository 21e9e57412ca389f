"""The parts of the signatures that need no exported model."""

import contextlib
import random

import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export import bounds
from keras_attention.export import ids
from keras_attention.export import records
from keras_attention.export import shapes
from keras_attention.export.signatures import Signatures


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
    arrays = {"source": tf.constant(source)}
    found = shapes.pad_to_powers_of_two(arrays)["source"].numpy()
    expected = np.zeros(padded, "int32")
    expected[:, : shape[1]] = source[0] if shape[0] else 2  # EOS
    expected[: shape[0], : shape[1]] = source
    assert found.tolist() == expected.tolist()


def test_row_seeds_depend_on_the_row_alone():
    row, other = [5, 7, 4, 2], [7, 5, 4, 2]
    alone = ids.row_seeds(tf.constant([row])).numpy()
    among = ids.row_seeds(
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
        (
            ka.Sample(seed=7, num_samples=5),
            ka.Sample(seed=7),
            ka.Sample(seed=7, num_samples=5),
        ),
    ],
    ids=["beam", "beam_of_two", "greedy", "samples"],
)
def test_searches_for_the_best_and_for_several(search, best, several):
    assert records.best_of(search) == best
    assert records.several_of(search) == several


# A character of 1, 2, 3 and 4 bytes, and bytes that are not UTF-8.
PIECES = [b"a", "é".encode(), "中".encode(), "😀".encode(), b"\x80", b"\xe4"]


def random_bytes_of_text(count, pieces):
    draw = random.Random(7)
    return [
        b"".join(draw.choices(pieces, k=draw.randint(0, 13)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("limit", [4, 7, 11])
def test_a_cut_text_is_of_whole_characters(limit):
    texts = random_bytes_of_text(307, PIECES[:4])
    for text, cut, last in zip(
        texts,
        bounds.cut_to_bytes(texts, limit).numpy(),
        bounds.cut_to_last_bytes(texts, limit).numpy(),
        strict=True,
    ):
        assert cut == text[:limit].decode(errors="ignore").encode()
        assert last == text[-limit:].decode(errors="ignore").encode()


def test_broken_text_is_cut_too():
    texts = [b"\x80" * 53, b"\xe4" * 53, b"a" + b"\x80" * 53, b"\x80" * 11]
    lengths = [len(t) for t in bounds.cut_to_bytes(texts, 11).numpy()]
    assert lengths == [11, 11, 11, 11]
    last = [len(t) for t in bounds.cut_to_last_bytes(texts, 11).numpy()]
    assert last == [11, 11, 11, 11]
    assert bounds.cut_to_bytes(tf.zeros([0], tf.string), 11).shape == (0,)


def test_the_cut_leaves_the_first_characters_as_they_were():
    """However many bytes a character has, none of the first 4 is lost."""
    vocabulary = ka.Vocabulary.build(["aé中😀"])
    texts = random_bytes_of_text(307, PIECES)
    with pytest.warns(UserWarning, match="were cut off"):
        cut = ids.ids_of(tf.constant(texts), vocabulary, 5)
        expected = vocabulary.encode(texts, max_length=5)
    np.testing.assert_array_equal(cut, expected)


@pytest.mark.parametrize("unit", ["words", "symbols"])
def test_words_within_the_bound_are_all_read(unit):
    vocabulary = ka.Vocabulary.build(["a b"], unit=unit)
    longest = bounds.bytes_read(unit, 5)  # 4 tokens and EOS
    texts = [
        "x" * 150 + " " * 150 + " a b" + " " * (longest - 304),
        "x" * 150 + " " * 170 + "a b",
    ]
    found = ids.ids_of(tf.constant(texts), vocabulary, 5).numpy()
    assert found.tolist() == [[3, 4, 5, 2], [3, 2, 0, 0]]


def test_tokens_of_an_unknown_kind_have_room():
    assert bounds.bytes_read(None, 3) == bounds.bytes_read("words", 3) == 192


def test_a_target_that_no_vocabulary_holds_fails_no_other():
    model = ka.Seq2Seq(ka.RNNEncoder(11, 3), ka.RNNDecoder(13, 5))
    offered = Signatures(model, ka.Greedy(), 7, 5, contextlib.nullcontext)
    score = offered.score(
        {
            "source": tf.constant([[5, 4, 2]] * 4),
            "target": tf.constant(
                [[6, 99, 2], [6, -7, 2], [6, 3, 2], [6, 2, 0]]
            ),
        }
    )["score"].numpy()
    np.testing.assert_allclose(score[:2], score[2], rtol=1e-6)
    assert len({*score[2:]}) == 2 and np.isfinite(score).all()


def test_of_many_samples_the_first_drawn_is_the_one_target():
    model = ka.Seq2Seq(ka.RNNEncoder(11, 3), ka.RNNDecoder(13, 5))
    search = ka.Sample(temperature=2.0, num_samples=5)
    offered = Signatures(model, search, 7, 5, contextlib.nullcontext)
    source = tf.constant([[5, 4, 2], [7, 2, 0]])
    several = offered.tokens({"source": source, "ids": source})
    one = offered.best({"source": source})
    np.testing.assert_array_equal(one["ids"], several["ids"][:, 0])
    np.testing.assert_allclose(one["score"], several["scores"][:, 0], rtol=1e-5)
