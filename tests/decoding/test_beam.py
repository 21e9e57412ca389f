"""Beam search against exhaustive search and against a textbook in float64."""

import numpy as np
import pytest
from keras import ops
from markov_decoders import LookedUpMemory
from markov_decoders import MovedMemory
from markov_decoders import all_sequences
from markov_decoders import best_first
from markov_decoders import hypotheses_of
from markov_decoders import next_step
from markov_decoders import random_models
from markov_decoders import run
from markov_decoders import score_of

from keras_attention.decoding import EOS
from keras_attention.decoding import Beam
from keras_attention.decoding import decode

PENALTIES = [(0.0, 0.0), (0.6, 0.0), (2.3, 0.0), (0.0, 0.4), (1.0, 0.4)]

every_penalty = pytest.mark.parametrize(
    "length_penalty, coverage_penalty", PENALTIES
)


# A penalty is a number in a program: one program that has both is enough.
@pytest.mark.parametrize(
    "mode, length_penalty, coverage_penalty",
    [
        *(("eager", *penalties) for penalties in PENALTIES),
        ("graph", *PENALTIES[-1]),
        ("compiled", *PENALTIES[-1]),
    ],
)
def test_beam_wide_enough_finds_what_exhaustive_search_finds(
    mode, length_penalty, coverage_penalty
):
    # 4 * 4 beginnings of two tokens, 5 continuations: 80 sequences at most.
    search = Beam(
        width=83,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        num_hypotheses=31,
    )
    encoded, source_mask = random_models(batch=3, vocabulary=5)

    def decode_batch(encoded, source_mask):
        return decode(LookedUpMemory(5), encoded, source_mask, search, 3)

    decoded = run(mode, decode_batch, encoded, source_mask)
    for row in range(3):
        expected = best_first(
            all_sequences(5, 3),
            lambda s, row=row: score_of(
                encoded[row], source_mask[row], s, search
            ),
        )[:31]
        sequences, scores = hypotheses_of(decoded, row)
        assert sequences == [sequence for sequence, _ in expected]
        np.testing.assert_allclose(
            scores, [score for _, score in expected], rtol=1e-4
        )


def textbook_beam(encoded, source_mask, search, max_length):
    """Beam search with lists, in float64 and without early stopping."""
    live, finished = [((), 0.0)], []
    for _ in range(max_length):
        candidates = [
            ((*sequence, token), total + gain)
            for sequence, total in live
            for token, gain in enumerate(
                next_step(encoded, source_mask, sequence)[0]
            )
        ]
        candidates.sort(key=lambda candidate: -candidate[1])
        finished += [s for s, _ in candidates[: search.width] if s[-1] == EOS]
        live = [c for c in candidates if c[0][-1] != EOS][: search.width]
    found = finished + [sequence for sequence, _ in live]
    return best_first(
        found, lambda s: score_of(encoded, source_mask, s, search)
    )[: search.num_hypotheses]


@every_penalty
@pytest.mark.parametrize("width", [2, 3, 7])
def test_narrow_beam_is_the_textbook_one(
    length_penalty, coverage_penalty, width
):
    search = Beam(
        width=width,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        num_hypotheses=width,
    )
    encoded, source_mask = random_models(batch=5, vocabulary=7, seed=3)
    decoded = decode(MovedMemory(7), encoded, source_mask, search, 6)
    decoded = type(decoded)(*map(ops.convert_to_numpy, decoded))
    for row in range(5):
        expected = textbook_beam(encoded[row], source_mask[row], search, 6)
        sequences, scores = hypotheses_of(decoded, row)
        assert sequences == [sequence for sequence, _ in expected]
        np.testing.assert_allclose(
            scores, [score for _, score in expected], rtol=1e-4
        )


def test_beam_scores_a_hypothesis_by_hand():
    """Always A with 3/4 and EOS with 1/4: the numbers are known."""

    class Coin(MovedMemory):
        def step(self, tokens, state, index, ancestors=None):
            _, state, alignment = super().step(tokens, state, index)
            odds = np.log([1e-30, 1e-30, 0.25, 0.75]).astype("float32")
            logits = ops.zeros((*tokens.shape, 4)) + odds
            return logits, state, alignment

    encoded, source_mask = random_models(batch=1, vocabulary=4)
    search = Beam(width=3, length_penalty=0.5, num_hypotheses=2)
    decoded = decode(Coin(4), encoded, source_mask, search, 2)
    tokens = np.asarray(decoded.tokens)[0]
    np.testing.assert_array_equal(tokens, [[2, 0], [3, 2]])
    expected = [
        np.log(0.25) / (6 / 6) ** 0.5,
        np.log(0.75 * 0.25) / (7 / 6) ** 0.5,
    ]
    np.testing.assert_allclose(decoded.scores[0], expected, rtol=1e-6)


def test_finished_hypotheses_are_frozen_as_keras_hub_beams_are_not():
    """KerasHub's n-best of a toy model: one hypothesis, three times."""

    class EndsSoon(MovedMemory):
        def step(self, tokens, state, index, ancestors=None):
            logits, state, alignment = super().step(tokens, state, index)
            ends = np.where(np.arange(5) == EOS, 2.0, 0.0).astype("float32")
            return logits + ends, state, alignment

    encoded, source_mask = random_models(batch=3)
    few = Beam(width=7, num_hypotheses=3)
    short = decode(EndsSoon(), encoded, source_mask, few, 9)
    long = decode(EndsSoon(), encoded, source_mask, few, 23)
    lengths = np.asarray(long.lengths)
    assert len(np.unique(lengths)) > 1
    for row in range(3):
        assert len(set(hypotheses_of(long, row)[0])) == 3
    # Room for more steps changes nothing of what has ended.
    np.testing.assert_array_equal(long.tokens[..., :9], short.tokens)
    np.testing.assert_array_equal(lengths, short.lengths)
    np.testing.assert_allclose(long.scores, short.scores, rtol=1e-6)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 3.0])
def test_beam_returns_the_same_best_for_any_number_of_hypotheses(
    length_penalty,
):
    """Stopping early by the bound never loses a better hypothesis."""
    encoded, source_mask = random_models(batch=17, seed=29)

    def best(count):
        search = Beam(5, length_penalty, num_hypotheses=count)
        return decode(MovedMemory(), encoded, source_mask, search, 13)

    all_of_them = best(5)
    for count in (1, 2):
        some = best(count)
        np.testing.assert_array_equal(
            some.tokens, all_of_them.tokens[:, :count]
        )
        np.testing.assert_allclose(
            some.scores, all_of_them.scores[:, :count], rtol=1e-6
        )


def test_beam_leaves_places_empty_where_no_hypothesis_exists():
    """One step over three tokens: two beginnings and one finished."""
    encoded, source_mask = random_models(batch=2, vocabulary=3)
    search = Beam(width=5, num_hypotheses=5)
    decoded = decode(MovedMemory(3), encoded, source_mask, search, 1)
    decoded = type(decoded)(*map(ops.convert_to_numpy, decoded))
    assert (decoded.tokens[:, 0, 0] == EOS).all()
    assert (np.sort(decoded.tokens[:, 1:3, 0]) == [0, 1]).all()
    np.testing.assert_array_equal(decoded.lengths, [[1, 1, 1, 0, 0]] * 2)
    assert (decoded.scores[:, 3:] == -np.inf).all()
    assert not decoded.alignments[:, 3:].any()
