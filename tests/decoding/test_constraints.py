"""Constraints and forced prefixes, each against its definition in Python."""

import functools
import itertools

import numpy as np
import pytest
from keras import ops
from markov_decoders import LookedUpMemory
from markov_decoders import MovedMemory
from markov_decoders import all_sequences
from markov_decoders import best_first
from markov_decoders import hypotheses_of
from markov_decoders import log_probability_of
from markov_decoders import random_models
from markov_decoders import run
from markov_decoders import score_of

from keras_attention.decoding import EOS
from keras_attention.decoding import Beam
from keras_attention.decoding import Greedy
from keras_attention.decoding import MinLength
from keras_attention.decoding import NoRepeatNgram
from keras_attention.decoding import RepetitionPenalty
from keras_attention.decoding import Sample
from keras_attention.decoding import Suppress
from keras_attention.decoding import decode

MODES = ["eager", "graph", "compiled"]


def min_length(length):
    def rule(log_probabilities, history):
        if len(history) + 1 < length:
            log_probabilities[EOS] = -np.inf
        return log_probabilities

    return rule


def suppress(tokens):
    def rule(log_probabilities, history):
        log_probabilities[list(tokens)] = -np.inf
        return log_probabilities

    return rule


def no_repeat_ngram(size):
    def rule(log_probabilities, history):
        for token in range(len(log_probabilities)):
            said = (*history, token)
            ngrams = [
                said[start : start + size]
                for start in range(len(said) - size + 1)
            ]
            if len(set(ngrams)) < len(ngrams):
                log_probabilities[token] = -np.inf
        return log_probabilities

    return rule


def repetition_penalty(penalty):
    def rule(log_probabilities, history):
        log_probabilities[list(set(history))] *= penalty
        return log_probabilities

    return rule


def begin_with(prefix, encoded, source_mask):
    def rule(log_probabilities, history):
        forced = dict(enumerate(prefix)).get(len(history), 0)
        if not forced:
            return log_probabilities
        of_model = log_probability_of(
            encoded, source_mask, (*history, forced)
        ) - log_probability_of(encoded, source_mask, history)
        log_probabilities[:] = -np.inf
        log_probabilities[forced] = of_model
        return log_probabilities

    return rule


PAIRS = {
    "length": (MinLength(3), min_length(3)),
    "suppress": (Suppress([1]), suppress([1])),
    "ngram": (NoRepeatNgram(2), no_repeat_ngram(2)),
    "repetition": (RepetitionPenalty(1.7), repetition_penalty(1.7)),
}
PREFIXES = {
    "free": None,
    "ragged": np.array([[3, 0], [1, 3]], "int32"),
    "gap": np.array([[0, 3, 0], [1, 0, 3]], "int32"),
}
LENGTH_PENALTIES = (0.0, 0.6)
COVERAGE_PENALTIES = (0.0, 0.3)


def beam_options():
    """Yields every mix of constraints, prefix and penalties: 192.

    An eighth of them has every pair of options together under every prefix:
    three switches are free, and the others are sums of these, modulo 2, no
    two of which are the same. The rest is for `make test-all`.
    """
    for prefix, *switches in itertools.product(PREFIXES, *[(0, 1)] * 6):
        first, second, third, *others = switches
        is_in_cover = others == [
            first ^ second ^ third,
            first ^ second,
            second ^ third,
        ]
        names = tuple(itertools.compress(PAIRS, switches))
        length, coverage = switches[4:]
        yield pytest.param(
            names,
            prefix,
            LENGTH_PENALTIES[length],
            COVERAGE_PENALTIES[coverage],
            marks=[] if is_in_cover else pytest.mark.exhaustive,
        )


def check_against_exhaustive_search(search, rules, prefix=None, mode="eager"):
    """With 3 * 3 * 3 beginnings of three tokens, a width of 109 is enough."""
    encoded, source_mask = random_models(batch=2, vocabulary=4, seed=5)

    def decode_batch(encoded, source_mask):
        return decode(
            LookedUpMemory(4), encoded, source_mask, search, 4, prefix=prefix
        )

    decoded = run(mode, decode_batch, encoded, source_mask)
    for row in range(2):
        of_row = list(rules)
        if prefix is not None:
            of_row.append(
                begin_with(prefix[row], encoded[row], source_mask[row])
            )
        expected = best_first(
            all_sequences(4, 4),
            lambda s, row=row, of_row=of_row: score_of(
                encoded[row], source_mask[row], s, search, of_row
            ),
        )
        expected = [(s, score) for s, score in expected if score > -np.inf]
        expected = expected[: search.num_hypotheses]
        sequences, scores = hypotheses_of(decoded, row)
        assert sequences[: len(expected)] == [s for s, _ in expected]
        np.testing.assert_allclose(
            scores[: len(expected)], [score for _, score in expected], rtol=1e-4
        )
        assert (scores[len(expected) :] == -np.inf).all()


def test_an_eighth_of_the_beam_options_has_every_pair_of_them():
    options = list(beam_options())
    chosen = [option.values for option in options if not option.marks]
    assert len(chosen) == 24 and len(options) == 192
    rows = [(*(n in names for n in PAIRS), *rest) for names, *rest in chosen]
    for one, other in itertools.combinations(zip(*rows, strict=True), 2):
        both = set(zip(one, other, strict=True))
        assert len(both) == len(set(one)) * len(set(other))


@pytest.mark.parametrize(
    ("names", "prefix", "length_penalty", "coverage_penalty"),
    list(beam_options()),
)
def test_beam_under_any_constraints_finds_what_exhaustive_search_finds(
    names, prefix, length_penalty, coverage_penalty
):
    search = Beam(
        width=109,
        length_penalty=length_penalty,
        coverage_penalty=coverage_penalty,
        num_hypotheses=13,
        constraints=[PAIRS[name][0] for name in names],
    )
    rules = [PAIRS[name][1] for name in names]
    check_against_exhaustive_search(search, rules, PREFIXES[prefix])


@pytest.mark.parametrize("mode", ["graph", "compiled"])
@pytest.mark.parametrize("prefix", ["ragged", "gap"])
def test_beam_under_all_constraints_is_exact_traced_and_compiled(prefix, mode):
    constraints, rules = zip(*PAIRS.values(), strict=True)
    search = Beam(width=109, num_hypotheses=13, constraints=constraints)
    check_against_exhaustive_search(search, rules, PREFIXES[prefix], mode)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_no_repeat_ngram_of_any_size_is_its_definition(size):
    search = Beam(
        width=109, num_hypotheses=109, constraints=[NoRepeatNgram(size)]
    )
    check_against_exhaustive_search(search, [no_repeat_ngram(size)])


@pytest.mark.parametrize("penalty", [0.5, 3.0])
def test_repetition_penalty_is_its_definition(penalty):
    search = Beam(
        width=109, num_hypotheses=7, constraints=[RepetitionPenalty(penalty)]
    )
    check_against_exhaustive_search(search, [repetition_penalty(penalty)])


SEARCHES = {
    "greedy": Greedy,
    "sample": lambda **options: Sample(num_samples=3, seed=3, **options),
    "beam": lambda **options: Beam(width=3, num_hypotheses=3, **options),
}
every_search = pytest.mark.parametrize(
    "search", SEARCHES.values(), ids=SEARCHES.keys()
)


def decode_random(search, max_length=13, prefix=None, mode="eager", batch=3):
    def decode_batch(encoded, source_mask, *prefix):
        prefix = prefix[0] if prefix else None
        return decode(
            MovedMemory(7),
            encoded,
            source_mask,
            search,
            max_length,
            prefix=prefix,
        )

    arrays = random_models(batch=batch, vocabulary=7, seed=17)
    prefix = () if prefix is None else (np.asarray(prefix, "int32"),)
    return run(mode, decode_batch, *arrays, *prefix)


def sequences_of(decoded):
    rows = range(decoded.tokens.shape[0])
    return [s for row in rows for s in hypotheses_of(decoded, row)[0]]


def repeats(sequence, size):
    starts = range(len(sequence) - size + 1)
    ngrams = [sequence[start : start + size] for start in starts]
    return len(set(ngrams)) < len(ngrams)


@every_search
@pytest.mark.parametrize("mode", MODES)
def test_every_search_obeys_its_constraints(search, mode):
    constraints = [MinLength(6), NoRepeatNgram(2), Suppress((0, 1))]
    decoded = decode_random(search(constraints=constraints), mode=mode)
    for sequence in sequences_of(decoded):
        assert len(sequence) >= 6
        assert not repeats(sequence, 2)
        assert not {0, 1} & set(sequence)
    free = sequences_of(decode_random(search()))
    assert any(repeats(sequence, 2) for sequence in free)
    assert any({0, 1} & set(sequence) for sequence in free)


def test_constraint_may_be_any_callable():
    def only_threes(log_probabilities, tokens, index):
        is_three = ops.arange(log_probabilities.shape[-1]) == 3
        return ops.where(is_three, log_probabilities, -float("inf"))

    decoded = decode_random(Greedy(constraints=(only_threes,)), max_length=5)
    assert (decoded.tokens == 3).all()


@pytest.mark.parametrize("mode", MODES)
def test_a_row_ends_where_its_constraints_leave_no_token(mode):
    def none_from_2(log_probabilities, tokens, index):
        return ops.where(index < 2, log_probabilities, -float("inf"))

    allowed = Suppress((0, 1, 2))
    for search in (Greedy, functools.partial(Sample, num_samples=2)):
        found = decode_random(
            search(constraints=[allowed, none_from_2]), mode=mode
        )
        assert (found.lengths == 2).all()
        assert (found.tokens[..., :2] > 2).all()
        assert not found.tokens[..., 2:].any()
        assert (found.scores == -np.inf).all()


@every_search
@pytest.mark.parametrize("mode", MODES)
def test_prefix_begins_every_hypothesis_whatever_the_constraints(search, mode):
    constraints = [Suppress([4]), MinLength(7)]
    prefix = [[4, 4, 4], [5, 0, 0], [3, 2, 0]]
    decoded = decode_random(
        search(constraints=constraints), prefix=prefix, mode=mode
    )
    assert (decoded.tokens[0, :, :3] == 4).all()
    assert not (decoded.tokens[0, :, 3:] == 4).any()
    assert (decoded.tokens[1, :, 0] == 5).all()
    assert (decoded.lengths[:2] >= 7).all()
    # A prefix that ends leaves one hypothesis, drawn once for each sample.
    assert hypotheses_of(decoded, 2)[0][0] == (3, EOS)


@every_search
def test_ragged_prefix_is_independent_of_batch_mates_unlike_keras_hub(search):
    """KerasHub: a ragged prompt's result depends on its batch-mates."""
    prefix = np.array([[4, 5, 3, 4], [5, 0, 0, 0], [6, 6, 0, 0]], "int32")
    together = decode_random(search(), prefix=prefix)
    encoded, source_mask = random_models(batch=3, vocabulary=7, seed=17)
    for row, length in enumerate([4, 1, 2]):
        one = slice(row, row + 1)
        alone = decode(
            MovedMemory(7),
            encoded[one],
            source_mask[one],
            search(),
            13,
            prefix=prefix[one, :length],
            row_seeds=np.array([row]),
        )
        np.testing.assert_array_equal(alone.tokens[0], together.tokens[row])
        np.testing.assert_allclose(
            alone.scores[0], together.scores[row], rtol=1e-5
        )


@every_search
def test_prefix_longer_than_max_length_is_cut(search):
    prefix = np.full((3, 5), 4)
    decoded = decode_random(search(), max_length=3, prefix=prefix)
    assert (decoded.tokens[:, 0] == 4).all()
    assert (decoded.lengths[:, 0] == 3).all()


@every_search
@pytest.mark.parametrize("width", [0, 3])
def test_empty_prefix_leaves_the_search_free(search, width):
    prefixed = decode_random(search(), prefix=np.zeros((3, width)))
    free = decode_random(search())
    np.testing.assert_array_equal(prefixed.tokens, free.tokens)
    np.testing.assert_allclose(prefixed.scores, free.scores, rtol=1e-6)


@every_search
def test_prefix_forces_even_what_the_model_rules_out(search):
    class Silent(MovedMemory):
        def step(self, tokens, state, index, ancestors=None):
            logits, state, alignment = super().step(tokens, state, index)
            never = ops.arange(7) == 4
            return ops.where(never, -np.inf, logits), state, alignment

    decoded = decode(
        Silent(7),
        *random_models(batch=1, vocabulary=7),
        search(),
        3,
        prefix=np.array([[4, 4]]),
    )
    assert (np.asarray(decoded.tokens)[0, 0, :2] == 4).all()
    assert np.isfinite(decoded.scores[0, 0])


@every_search
def test_after_a_token_that_is_ruled_out_the_model_decides_again(search):
    """A sum with -1e9 would be the same number whatever comes next."""
    best = np.array([-9.0, -9.0, -7.0, -5.0, -1e9, 40.0, 60.0], "float32")

    class Sure(MovedMemory):
        def step(self, tokens, state, index, ancestors=None):
            logits, state, alignment = super().step(tokens, state, index)
            return best + 0 * logits, state, alignment

    decoded = decode(
        Sure(7),
        *random_models(batch=1, vocabulary=7),
        search(),
        5,
        prefix=np.array([[4]]),
    )
    assert np.asarray(decoded.tokens)[0, 0].tolist() == [4, 6, 6, 6, 6]
