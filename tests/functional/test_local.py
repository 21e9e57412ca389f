"""Windows around centres, by brute force over all pairs."""

import numpy as np
import pytest
from keras import ops

from keras_attention.functional.local import gather_pairs
from keras_attention.functional.local import gather_windows
from keras_attention.functional.local import gaussian
from keras_attention.functional.local import spread_windows
from keras_attention.functional.local import window_positions

BATCH, QUERIES, KEYS, REACH = 2, 13, 7, 2
SIZE = 2 * REACH + 1


def centres():
    """Whole, half and other numbers, before, in and after the keys."""
    found = np.random.default_rng(3).uniform(-5, 12, (BATCH, QUERIES))
    found[:, 1], found[:, 2], found[:, 3] = 3, 3.5, -2
    found[:, 4], found[:, 5], found[:, 6] = 8, 9, 1e6
    return found.astype("float32")


def test_windows_hold_the_keys_within_reach_and_no_other():
    centre = centres()
    first, inside = window_positions(ops.convert_to_tensor(centre), REACH, KEYS)
    first, inside = np.array(first), np.array(inside)
    for row, query in np.ndindex(BATCH, QUERIES):
        found = first[row, query] + np.flatnonzero(inside[row, query])
        wanted = [s for s in range(KEYS) if abs(s - centre[row, query]) <= 2]
        assert found.tolist() == wanted


@pytest.mark.parametrize("keys", [KEYS, 0])
def test_what_is_gathered_stands_where_it_is_spread_again(keys):
    generator = np.random.default_rng(5)
    centre = ops.convert_to_tensor(centres())
    first, inside = window_positions(centre, REACH, keys)
    numbers = generator.normal(size=(BATCH, keys + 1, 3)).astype("float32")
    windows = gather_windows(numbers, first, SIZE)[..., 1]
    windows = ops.where(inside, windows, 0.0)
    distance = np.abs(np.arange(keys) - centres()[..., None])
    wanted = np.where(distance <= REACH, numbers[:, None, :keys, 1], 0)
    np.testing.assert_array_equal(spread_windows(windows, first, keys), wanted)
    for shape in ((BATCH, QUERIES), (1, QUERIES), (BATCH, 1), (1, 1)):
        pairs = generator.random((*shape, keys)) < 0.5
        seen = ops.logical_and(inside, gather_pairs(pairs, first, SIZE, keys))
        found = spread_windows(ops.cast(seen, "int32"), first, keys)
        np.testing.assert_array_equal(found, pairs & (distance <= REACH))
    of_queries = generator.random((BATCH, QUERIES, 1)) < 0.5
    assert gather_pairs(of_queries, first, SIZE, keys) is of_queries


@pytest.mark.parametrize("reach", [2, 5])
def test_gaussian_has_half_the_reach_as_its_deviation(reach):
    centre = centres()[:, 1:4]
    first, _ = window_positions(ops.convert_to_tensor(centre), reach, KEYS)
    found = gaussian(ops.convert_to_tensor(centre), first, reach)
    place = np.array(first)[..., None] + np.arange(2 * reach + 1)
    distance = place - centre[..., None]
    wanted = np.exp(-(distance**2) / (2 * (reach / 2) ** 2))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
