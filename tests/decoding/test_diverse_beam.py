"""Diverse beam search against a textbook with lists, in float64."""

import numpy as np
import pytest
from markov_decoders import LookedUpMemory
from markov_decoders import MovedMemory
from markov_decoders import best_first
from markov_decoders import hypotheses_of
from markov_decoders import next_step
from markov_decoders import random_models
from markov_decoders import run
from markov_decoders import score_of

from keras_attention.decoding import EOS
from keras_attention.decoding import Beam
from keras_attention.decoding import MinLength
from keras_attention.decoding import decode
from keras_attention.decoding import loop
from keras_attention.decoding.beam import BeamSearch


def at_least_three(log_probabilities, history):
    """`MinLength(3)` as a rule of the oracle."""
    if len(history) + 1 < 3:
        log_probabilities[EOS] = -np.inf
    return log_probabilities


def textbook(encoded, source_mask, search, max_length, rules=()):
    """Algorithm 1 of the paper, one row, without early stopping."""
    width = search.width // search.num_groups
    groups = [[((), 0.0)] for _ in range(search.num_groups)]
    finished = set()
    for _ in range(max_length):
        said = []  # by the groups before, at this step
        for number, live in enumerate(groups):
            candidates = []
            for sequence, total in live:
                gains, _ = next_step(encoded, source_mask, sequence)
                for rule in rules:
                    gains = rule(gains.copy(), sequence)
                for token, gain in enumerate(gains):
                    lost = search.diversity_strength * said.count(token)
                    candidates.append(
                        (total + gain - lost, (*sequence, token), total + gain)
                    )
            candidates = [c for c in candidates if c[0] > -np.inf]
            candidates.sort(key=lambda candidate: -candidate[0])
            finished |= {s for _, s, _ in candidates[:width] if s[-1] == EOS}
            going_on = [(s, p) for _, s, p in candidates if s[-1] != EOS]
            groups[number] = going_on[:width]
            said += [sequence[-1] for sequence, _ in groups[number]]
    found = finished | {sequence for live in groups for sequence, _ in live}
    return best_first(
        found, lambda s: score_of(encoded, source_mask, s, search, rules)
    )[: search.num_hypotheses]


# (width, groups, strength, length penalty, coverage penalty, hypotheses)
CASES = [
    ("eager", MovedMemory, 6, 3, 0.7, 1.0, 0.4, 6),
    ("eager", LookedUpMemory, 6, 2, 2.3, 0.0, 0.0, 4),
    ("eager", MovedMemory, 5, 5, 0.3, 0.6, 0.0, 5),
    ("eager", MovedMemory, 4, 2, 0.0, 1.0, 0.0, 4),
    ("graph", LookedUpMemory, 6, 3, 0.7, 1.0, 0.4, 6),
    ("compiled", MovedMemory, 6, 3, 0.7, 1.0, 0.4, 6),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("rules", [(), (at_least_three,)], ids=["", "min 3"])
def test_groups_are_those_of_the_textbook(case, rules):
    mode, decoder, width, groups, strength, length, coverage, count = case
    search = Beam(
        width,
        length,
        coverage,
        count,
        num_groups=groups,
        diversity_strength=strength,
        constraints=[MinLength(3)] if rules else [],
    )
    encoded, source_mask = random_models(batch=5, vocabulary=7, seed=3)

    def decode_batch(encoded, source_mask):
        return decode(decoder(7), encoded, source_mask, search, 6)

    decoded = run(mode, decode_batch, encoded, source_mask)
    for row in range(5):
        arguments = encoded[row], source_mask[row]
        expected = textbook(*arguments, search, 6, rules)
        sequences, scores = hypotheses_of(decoded, row)
        sequences = [s for s in sequences if s]  # places that are empty
        assert sequences == [sequence for sequence, _ in expected]
        np.testing.assert_allclose(
            scores[: len(sequences)],
            [score for _, score in expected],
            rtol=1e-4,
        )
        assert len(set(sequences)) == len(sequences)


def test_one_group_is_the_plain_beam():
    search = Beam(5, num_groups=1, diversity_strength=3.0)
    found = loop.ALGORITHMS[Beam](search, None, 7, None)
    assert type(found) is BeamSearch


def test_groups_say_other_things_than_a_beam():
    """The more strength, the more tokens differ between the hypotheses."""
    encoded, source_mask = random_models(batch=7, vocabulary=7, seed=5)

    def spread(**options):
        search = Beam(4, 0.0, num_hypotheses=4, **options)
        tokens = np.asarray(
            decode(MovedMemory(7), encoded, source_mask, search, 6).tokens
        )
        return np.mean(tokens[:, :, None] != tokens[:, None])

    assert spread() < spread(num_groups=4, diversity_strength=9.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_groups": 3}, "`num_groups` must be a divisor of width=4"),
        ({"num_groups": 0}, "`num_groups` must be a positive integer"),
        (
            {"diversity_strength": -1},
            "`diversity_strength` must be a number of",
        ),
    ],
)
def test_bad_groups_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Beam(4, **options)
