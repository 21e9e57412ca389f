"""Options of the search objects, and the arguments of `decode`."""

import dataclasses

import numpy as np
import pytest
from markov_decoders import MovedMemory
from markov_decoders import random_models

from keras_attention.decoding import Beam
from keras_attention.decoding import Greedy
from keras_attention.decoding import MinLength
from keras_attention.decoding import NoRepeatNgram
from keras_attention.decoding import RepetitionPenalty
from keras_attention.decoding import Sample
from keras_attention.decoding import Suppress
from keras_attention.decoding import decode


@pytest.mark.parametrize("name", ["top_p", "min_p"])
@pytest.mark.parametrize("value", [0, -0.1, 1.01, True, "0.9", float("nan")])
def test_sample_rejects_shares_out_of_range(name, value):
    with pytest.raises(ValueError, match=rf"`{name}` must be in \(0, 1\] or"):
        Sample(**{name: value})


@pytest.mark.parametrize("value", [0, -1.0, True, None, "1"])
def test_sample_rejects_temperatures_not_above_zero(value):
    with pytest.raises(ValueError, match="`temperature` must be a number abov"):
        Sample(temperature=value)


def test_sample_rejects_a_temperature_without_end():
    with pytest.raises(ValueError, match="`temperature` must be finite in"):
        Sample(temperature=float("inf"))


def test_arguments_of_a_sample_may_be_given_in_their_order():
    assert Sample(0.5, 3, 0.9, 7) == Sample(
        temperature=0.5, top_k=3, top_p=0.9, seed=7
    )


def test_numbers_of_numpy_are_those_of_python():
    sample = Sample(np.float32(0.5), seed=np.int64(3), top_p=np.float64(0.25))
    assert repr(sample) == repr(Sample(0.5, seed=3, top_p=0.25))
    beam = Beam(np.int64(3), length_penalty=np.float32(0.5))
    assert repr(beam) == repr(Beam(3, length_penalty=0.5))
    assert repr(Suppress((np.int32(3),))) == repr(Suppress((3,)))


@pytest.mark.parametrize("name", ["top_k", "num_samples"])
@pytest.mark.parametrize("value", [0, -3, 2.0, True])
def test_sample_rejects_counts_that_are_no_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integ"):
        Sample(**{name: value})


@pytest.mark.parametrize("value", [None, 1.5, True])
def test_sample_rejects_seeds_that_are_no_integers(value):
    with pytest.raises(ValueError, match="`seed` must be an integer.*row_seed"):
        Sample(seed=value)


@pytest.mark.parametrize("name", ["width", "num_hypotheses"])
@pytest.mark.parametrize("value", [0, -3, 2.0, True, None])
def test_beam_rejects_counts_that_are_no_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integ"):
        Beam(**{name: value})


def test_beam_rejects_more_hypotheses_than_beams():
    with pytest.raises(ValueError, match="at most width=3. Received: num_hypo"):
        Beam(width=3, num_hypotheses=5)


@pytest.mark.parametrize("name", ["length_penalty", "coverage_penalty"])
@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan"), None])
def test_beam_rejects_penalties_below_zero(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a number of at l"):
        Beam(**{name: value})


@pytest.mark.parametrize("search", [Greedy(), Sample(top_k=3), Beam(width=7)])
def test_search_is_a_frozen_value(search):
    search = dataclasses.replace(search, constraints=[MinLength(3)])
    assert search == dataclasses.replace(search)
    assert hash(search) == hash(dataclasses.replace(search))
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        search.constraints = ()


@pytest.mark.parametrize("search", [Greedy, Sample, Beam])
@pytest.mark.parametrize("constraints", [None, MinLength(3), [3], "ab"])
def test_search_rejects_constraints_that_are_no_callables(search, constraints):
    with pytest.raises(ValueError, match="`constraints` must be a tuple or l"):
        search(constraints=constraints)


@pytest.mark.parametrize("length", [0, 1.5, None])
def test_min_length_rejects_what_is_no_positive_integer(length):
    with pytest.raises(ValueError, match="`length` must be a positive integ"):
        MinLength(length)


@pytest.mark.parametrize("size", [0, 1.5, None])
def test_no_repeat_ngram_rejects_what_is_no_positive_integer(size):
    with pytest.raises(ValueError, match="`size` must be a positive integer"):
        NoRepeatNgram(size)


@pytest.mark.parametrize("penalty", [0, -1.5, None])
def test_repetition_penalty_rejects_what_is_not_above_zero(penalty):
    with pytest.raises(ValueError, match="`penalty` must be a number above 0"):
        RepetitionPenalty(penalty)


@pytest.mark.parametrize("tokens", [(), 3, [-1], [1.0], [True], "ab"], ids=str)
def test_suppress_rejects_what_are_no_ids(tokens):
    with pytest.raises(ValueError, match="`tokens` must be a sequence of int"):
        Suppress(tokens)


def test_suppress_rejects_ids_outside_the_vocabulary():
    search = Greedy(constraints=[Suppress([5])])
    with pytest.raises(ValueError, match=r"below the size of the voc.*y, 5\."):
        decode(MovedMemory(5), *random_models(vocabulary=5), search, 5)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([[5.7]], "`prefix` must be integers"),
        ([[3, -3]], "`prefix` must be ids of at least 0"),
        ([[99]], "`prefix` must be ids below the size of the vocabulary"),
    ],
)
def test_decode_rejects_a_prefix_of_no_ids(prefix, message):
    inputs = random_models(batch=1, vocabulary=5)
    with pytest.raises(ValueError, match=message):
        decode(MovedMemory(5), *inputs, Greedy(), 4, prefix=prefix)


def test_decode_rejects_a_prefix_of_wrong_rank():
    with pytest.raises(ValueError, match=r"`prefix` must.*\(batch, prefix_le"):
        decode(
            MovedMemory(),
            *random_models(),
            Greedy(),
            5,
            prefix=np.array([3, 3, 3]),
        )


@pytest.mark.parametrize("max_length", [0, -1, 2.5, None])
def test_decode_rejects_a_max_length_that_is_no_positive_integer(max_length):
    with pytest.raises(ValueError, match="`max_length` must be a positive int"):
        decode(MovedMemory(), *random_models(), Greedy(), max_length)


@pytest.mark.parametrize("search", [None, "beam", Beam], ids=str)
def test_decode_rejects_what_is_no_search(search):
    with pytest.raises(ValueError, match=r"`search` must be a Greedy\(\), Sam"):
        decode(MovedMemory(), *random_models(), search, 5)


def test_decode_rejects_a_source_mask_of_wrong_rank():
    encoded, source_mask = random_models()
    with pytest.raises(ValueError, match=r"`source_mask` must.*\(3, 1, 7\)"):
        decode(MovedMemory(), encoded, source_mask[:, None], Greedy(), 5)


def test_decode_rejects_row_seeds_of_wrong_rank():
    with pytest.raises(ValueError, match=r"`row_seeds` must .*\(3, 1\)"):
        decode(
            MovedMemory(),
            *random_models(),
            Sample(),
            5,
            row_seeds=np.zeros((3, 1), "int32"),
        )


@pytest.mark.parametrize(
    "name, value",
    [
        ("prefix", np.zeros((2, 5), "int32")),
        ("row_seeds", np.zeros((2,), "int32")),
    ],
)
def test_decode_rejects_a_wrong_number_of_rows(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must have one .* the 3 ro"):
        decode(MovedMemory(), *random_models(3), Greedy(), 5, **{name: value})
