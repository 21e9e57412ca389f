"""Options of the search objects, and the arguments of `decode`."""

import dataclasses

import numpy as np
import pytest
from markov_decoders import MovedMemory
from markov_decoders import random_models

from keras_attention.decoding import Beam
from keras_attention.decoding import Greedy
from keras_attention.decoding import Sample
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
    assert search == dataclasses.replace(search)
    assert hash(search) == hash(dataclasses.replace(search))
    field = "width" if isinstance(search, Beam) else "temperature"
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        setattr(search, field, 2)


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
