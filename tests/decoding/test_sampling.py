"""Sampling: frequencies, what the filters keep, and repeatable bits."""

import numpy as np
import pytest
from keras import ops
from markov_decoders import MovedMemory
from markov_decoders import log_probability_of
from markov_decoders import next_step
from markov_decoders import random_models
from markov_decoders import run

from keras_attention.decoding import Sample
from keras_attention.decoding import decode
from keras_attention.decoding.sampling import keep_min_p
from keras_attention.decoding.sampling import keep_top_k
from keras_attention.decoding.sampling import keep_top_p
from keras_attention.decoding.sampling import most_probable

DRAWS = 20_000


def first_tokens(search, vocabulary=11, rows=1, row_seeds=None):
    encoded, source_mask = random_models(batch=1, vocabulary=vocabulary)
    decoded = decode(
        MovedMemory(vocabulary),
        np.repeat(encoded, rows, axis=0),
        np.repeat(source_mask, rows, axis=0),
        search,
        1,
        row_seeds=row_seeds,
    )
    return ops.convert_to_numpy(decoded.tokens)[..., 0]


def probabilities(temperature=1.0, vocabulary=11):
    encoded, source_mask = random_models(batch=1, vocabulary=vocabulary)
    logits = next_step(encoded[0], source_mask[0], ())[0] / temperature
    return np.exp(logits) / np.exp(logits).sum()


def check_frequencies(drawn, expected):
    counts = np.bincount(drawn.ravel(), minlength=len(expected))
    assert counts.sum() == DRAWS
    assert not counts[expected == 0].any()
    # Five standard deviations of a binomial count.
    margin = 5 * np.sqrt(DRAWS * expected * (1 - expected)) + 1e-9
    assert (np.abs(counts - DRAWS * expected) <= margin).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_sample_frequencies_are_the_softmax(temperature):
    search = Sample(temperature, seed=3, num_samples=DRAWS)
    check_frequencies(first_tokens(search), probabilities(temperature))


@pytest.mark.parametrize("temperature", [1e-20, 1e-39])
def test_the_coldest_sample_is_greedy_search(temperature):
    search = Sample(temperature, seed=3, num_samples=7)
    assert set(first_tokens(search)[0]) == {probabilities().argmax()}


def test_sample_frequencies_are_the_softmax_over_rows():
    drawn = first_tokens(Sample(seed=3), rows=DRAWS)
    check_frequencies(drawn, probabilities())


def test_sample_frequencies_are_the_softmax_over_seeds_of_rows():
    seeds = np.random.default_rng(1).integers(2**31, size=DRAWS)
    drawn = first_tokens(Sample(), rows=DRAWS, row_seeds=seeds)
    check_frequencies(drawn, probabilities())


def kept(expected, keep):
    expected = np.where(keep, expected, 0.0)
    return expected / expected.sum()


@pytest.mark.parametrize("top_k", [1, 3, 10, 11, 50])
def test_top_k_draws_from_the_k_most_probable(top_k):
    expected = probabilities()
    keep = expected >= np.sort(expected)[::-1][:top_k].min()
    drawn = first_tokens(Sample(top_k=top_k, seed=5, num_samples=DRAWS))
    check_frequencies(drawn, kept(expected, keep))


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 1.0])
def test_top_p_draws_from_the_smallest_head_that_holds_p(top_p):
    expected = probabilities()
    order = np.argsort(-expected)
    size = np.searchsorted(np.cumsum(expected[order]), top_p - 1e-9) + 1
    keep = np.isin(np.arange(11), order[:size])
    assert expected[keep].sum() >= top_p - 1e-9
    assert expected[order[: size - 1]].sum() < top_p
    drawn = first_tokens(Sample(top_p=top_p, seed=7, num_samples=DRAWS))
    check_frequencies(drawn, kept(expected, keep))


@pytest.mark.parametrize("min_p", [0.01, 0.3, 1.0])
def test_min_p_draws_from_those_near_the_best(min_p):
    expected = probabilities()
    keep = expected >= min_p * expected.max()
    drawn = first_tokens(Sample(min_p=min_p, seed=7, num_samples=DRAWS))
    check_frequencies(drawn, kept(expected, keep))


@pytest.mark.parametrize(
    "keep, logits, support",
    [
        (lambda x: keep_top_k(x, 2), [1, 4, 2, 3], [1, 3]),
        (lambda x: keep_top_k(x, 2), [4, 3, 3, 1], [0, 1, 2]),
        (lambda x: keep_top_p(x, 0.6), np.log([0.5, 0.3, 0.2]), [0, 1]),
        (lambda x: keep_top_p(x, 0.4), np.log([0.2, 0.3, 0.5]), [2]),
        (lambda x: keep_top_p(x, 0.6), [-np.inf, 0, 0, -np.inf], [1, 2]),
        (lambda x: keep_min_p(x, 0.5), np.log([0.5, 0.3, 0.2]), [0, 1]),
    ],
)
def test_filters_keep_the_support_worked_out_by_hand(keep, logits, support):
    logits = np.asarray([logits], "float32")
    result = ops.convert_to_numpy(keep(logits))[0]
    np.testing.assert_array_equal(np.flatnonzero(result > -np.inf), support)
    np.testing.assert_array_equal(result[support], logits[0, support])


@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
def test_sample_bits_are_the_same_on_every_path(mode):
    search = Sample(num_samples=31, seed=13)

    def sample(encoded, source_mask, row_seeds):
        return decode(
            MovedMemory(), encoded, source_mask, search, 7, row_seeds=row_seeds
        )

    arrays = (*random_models(), np.array([5, 2**31 - 1, 0], "int32"))
    np.testing.assert_array_equal(
        run(mode, sample, *arrays).tokens, run("eager", sample, *arrays).tokens
    )


def test_sample_of_a_row_follows_its_seed_to_any_place():
    encoded, source_mask = random_models(batch=5)
    search = Sample(num_samples=17, seed=2)
    order = np.array([3, 0, 4, 2, 1])
    ordered = decode(
        MovedMemory(),
        encoded[order],
        source_mask[order],
        search,
        7,
        row_seeds=order,
    )
    plain = decode(MovedMemory(), encoded, source_mask, search, 7)
    np.testing.assert_array_equal(
        ordered.tokens, np.asarray(plain.tokens)[order]
    )


def test_sample_changes_with_seed_row_position_and_sample():
    encoded, source_mask = random_models(batch=1, vocabulary=13, scale=0.0)
    encoded = np.repeat(encoded, 2, axis=0)
    source_mask = np.repeat(source_mask, 2, axis=0)

    def tokens(seed):
        search = Sample(num_samples=2, seed=seed)
        decoded = decode(MovedMemory(13), encoded, source_mask, search, 7)
        return ops.convert_to_numpy(decoded.tokens)

    one, other = tokens(1), tokens(2)
    assert (one == tokens(1)).all()
    assert (one != other).any()
    assert (one[0] != one[1]).any()
    assert (one[:, 0] != one[:, 1]).any()
    assert len(np.unique(one[0, 0])) > 1


def test_sample_score_is_the_models_own_log_probability():
    encoded, source_mask = random_models()
    search = Sample(temperature=2.0, top_k=3, num_samples=5, seed=1)
    decoded = decode(MovedMemory(), encoded, source_mask, search, 7)
    decoded = type(decoded)(*map(ops.convert_to_numpy, decoded))
    for row, sample in np.ndindex(3, 5):
        tokens = decoded.tokens[row, sample, : decoded.lengths[row, sample]]
        expected = log_probability_of(
            encoded[row], source_mask[row], tuple(tokens)
        )
        np.testing.assert_allclose(
            decoded.scores[row, sample], expected, rtol=1e-5
        )


def test_most_probable_is_argmax_the_first_where_several_tie():
    logits = np.random.default_rng(7).normal(size=(5, 3, 31)).round(1)
    logits[2, 1] = -np.inf
    logits[3, 1] = 0.5
    logits[4, 2] = np.nan

    tensor = ops.convert_to_tensor(logits, dtype="float32")
    chosen, best = map(ops.convert_to_numpy, most_probable(tensor))
    assert 0 <= chosen[4, 2] < 31  # an index, at least
    real = ~np.isnan(best)
    np.testing.assert_array_equal(chosen[real], logits.argmax(axis=-1)[real])
    np.testing.assert_array_equal(
        best[real], logits.max(axis=-1).astype("float32")[real]
    )
    assert real.sum() == 14
