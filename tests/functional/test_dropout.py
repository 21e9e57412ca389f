"""Keep bits: a function of seed and coordinates, the same on every path."""

import hypothesis
import keras
import numpy as np
import numpy_reference
import pytest
from hypothesis import strategies
from keras import ops

from keras_attention import functional
from keras_attention.functional import Dropout

SHAPE = (2, 3, 5, 7)
SEEDS = [0, 7, -1, 2**31, 2**32 - 1, 2**40 + 5]

# (seed, coordinates, bits): made once by numpy_reference.random_bits, which
# has Python integers alone. A change of these changes what every saved run
# would draw again.
PINNED = [
    (0, (0,), 0xE1772FE3),
    (7, (0, 1, 2, 3), 0x9A4F5300),
    (7, (3, 2, 1, 0), 0xBDFB8922),
    (-1, (5,), 0x28AAFDF7),
    (2**40 + 5, (1, 0, 65537, 2**31 - 1), 0xD22A1C79),
]


@pytest.mark.parametrize("seed, indices, bits", PINNED)
def test_bits_are_the_pinned_ones(seed, indices, bits, path, run_on):
    assert numpy_reference.random_bits(seed, *indices) == bits
    arrays = {str(i): np.int32(x) for i, x in enumerate(indices)}
    found = run_on(
        path, lambda x: functional.random_bits(seed, *x.values()), arrays
    )
    assert int(found) == bits


@pytest.mark.parametrize("seed", SEEDS)
def test_keep_bits_are_those_of_the_reference(seed, path, run_on):
    arrays = {"scores": np.zeros(SHAPE, "float32")}
    keep = run_on(
        path, lambda x: Dropout(0.3, seed).keep(ops.shape(x["scores"])), arrays
    )
    assert keep.dtype == bool
    np.testing.assert_array_equal(
        keep, numpy_reference.keep_bits(0.3, seed, SHAPE)
    )


@pytest.mark.parametrize(
    "seed, words",
    [
        (np.array([3, 2**31 + 1], "uint32"), [3, 2**31 + 1]),
        (np.array([[-1, 2], [5, 7]], "int32"), [-1, 2, 5, 7]),
        (np.array(11, "int32"), [11]),
    ],
    ids=["pair", "matrix", "scalar"],
)
def test_seed_tensors_are_hashed_whole(seed, words, path, run_on):
    keep = run_on(
        path, lambda x: Dropout(0.5, x["seed"]).keep(SHAPE), {"seed": seed}
    )
    np.testing.assert_array_equal(
        keep, numpy_reference.keep_bits(0.5, words, SHAPE)
    )


def test_seed_generator_drives_it():
    generator = keras.random.SeedGenerator(5)
    first, second = (Dropout(0.5, generator.next()) for _ in range(2))
    different = np.asarray(first.keep(SHAPE)) != np.asarray(second.keep(SHAPE))
    assert different.any()
    again = Dropout(0.5, keras.random.SeedGenerator(5).next())
    np.testing.assert_array_equal(first.keep(SHAPE), again.keep(SHAPE))


@hypothesis.given(
    strategies.tuples(*(strategies.integers(0, n - 1) for n in SHAPE)),
    strategies.booleans(),
)
def test_block_is_a_slice_of_the_whole(starts, as_tensors):
    # One shape of block, so that a backend compiles its operators once.
    whole = numpy_reference.keep_bits(0.4, 23, [size + 1 for size in SHAPE])
    shape = (2, 2, 2, 2)
    place = tuple(slice(start, start + 2) for start in starts)
    if as_tensors:
        starts = tuple(map(ops.convert_to_tensor, starts))
    block = Dropout(0.4, 23).keep(shape, starts)
    np.testing.assert_array_equal(block, whole[place])


def test_row_draws_the_same_whatever_the_batch_and_the_lengths():
    small = np.asarray(Dropout(0.4, 23).keep((2, 3, 5, 7)))
    large = np.asarray(Dropout(0.4, 23).keep((11, 13, 17, 19)))
    np.testing.assert_array_equal(small, large[:2, :3, :5, :7])


# --- the bits are as good as random ------------------------------------------

MANY = (2, 3, 211, 199)


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_rate_is_honoured(rate, seed):
    keep = np.asarray(Dropout(rate, seed).keep(MANY))
    kept, deviation = 1 - rate, np.sqrt(rate * (1 - rate))
    assert abs(keep.mean() - kept) < 4 * deviation / np.sqrt(keep.size)
    for axis in range(4):
        # Along each axis too, no row or head or batch row stands out.
        others = tuple(a for a in range(4) if a != axis)
        count = keep.size / keep.shape[axis]
        means = keep.mean(axis=others)
        assert np.abs(means - kept).max() < 5 * deviation / np.sqrt(count)


def agreement(a, b):
    """Share of equal bits, in deviations from one half."""
    a, b = np.asarray(a), np.asarray(b)
    return abs((a == b).mean() - 0.5) * 2 * np.sqrt(a.size)


def test_neighbours_are_independent():
    keep = np.asarray(Dropout(0.5, 3).keep(MANY))
    assert agreement(keep[0], keep[1]) < 4
    assert agreement(keep[:, 0], keep[:, 1]) < 4
    assert agreement(keep[:, :, 1:], keep[:, :, :-1]) < 4
    assert agreement(keep[..., 1:], keep[..., :-1]) < 4
    square = keep[..., :199, :]
    assert agreement(square, square.swapaxes(2, 3)) < 4


@pytest.mark.parametrize("other", [2, 3 + 2**32, -3, 2**31 + 3])
def test_seeds_are_independent(other):
    bits = Dropout(0.5, 3).keep(MANY)
    assert agreement(bits, Dropout(0.5, other).keep(MANY)) < 4


def test_kept_weights_of_a_larger_rate_are_among_those_of_a_smaller():
    small, large = (np.asarray(Dropout(r, 3).keep(SHAPE)) for r in (0.2, 0.6))
    assert small[large].all() and small.sum() > large.sum()


def test_bits_do_not_repeat():
    # 2^18 draws of 32 bits: 8 pairs are expected to meet by chance, by the
    # birthday rule.
    index = np.arange(2**9, dtype="int32")
    bits = functional.random_bits(3, index[:, None], index[None, :])
    repeated = 2**18 - len(np.unique(bits))
    assert repeated < 30


def test_uniform_numbers_fill_the_interval_evenly():
    index = np.arange(2**16, dtype="int32")
    numbers = np.asarray(functional.random_uniform(3, index))
    assert numbers.dtype == "float32"
    assert 0 < numbers.min() and numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=64, range=(0, 1))
    chi_square = np.sum((counts - 1024) ** 2 / 1024)
    assert chi_square < 63 + 5 * np.sqrt(2 * 63)
    # (top 23 bits + 1/2) / 2^23, by definition.
    bits = [numpy_reference.random_bits(3, i) for i in range(7)]
    expected = [((b >> 9) + 0.5) / 2**23 for b in bits]
    np.testing.assert_array_equal(
        numbers[:7], np.array(expected, dtype="float32")
    )


# --- what is done with them --------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_apply_zeroes_or_scales(dtype):
    tensor = ops.ones(SHAPE, dtype)
    dropped = Dropout(0.75, 7).apply(tensor)
    assert keras.backend.standardize_dtype(dropped.dtype) == dtype
    expected = 4.0 * numpy_reference.keep_bits(0.75, 7, SHAPE)
    np.testing.assert_array_equal(
        np.asarray(dropped).astype("float32"), expected
    )


def test_apply_of_rate_zero_returns_the_tensor_itself():
    tensor = ops.ones(SHAPE)
    assert Dropout(0.0, 7).apply(tensor) is tensor


def test_smallest_and_largest_rates():
    assert np.asarray(Dropout(0, 7).keep(SHAPE)).all()
    assert np.asarray(Dropout(1e-12, 7).keep(SHAPE)).all()
    assert not np.asarray(Dropout(1 - 1e-12, 7).keep(SHAPE)).any()


def test_output_of_attend_is_right_on_average():
    random = np.random.default_rng(43)
    x = random.normal(size=(1, 2, 3, 5)).astype("float32")
    arrays = {"query": x, "key": x, "value": x}
    plain = np.asarray(functional.attend(**arrays))
    draws = [
        functional.attend(**arrays, dropout=Dropout(0.3, seed))
        for seed in range(80)
    ]
    error = np.std(draws, axis=0) / np.sqrt(80)
    assert (np.abs(np.mean(draws, axis=0) - plain) < 5 * error + 1e-6).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_dropout_refuses_a_rate_out_of_range(rate):
    message = rf"`rate` must be in \[0, 1\). Received: rate={rate}."
    with pytest.raises(ValueError, match=message):
        Dropout(rate, seed=1)


def test_numpy_integer_is_the_seed_that_it_counts():
    given = np.asarray(functional.random_bits(np.int64(7), np.arange(5)))
    wanted = np.asarray(functional.random_bits(7, np.arange(5)))
    np.testing.assert_array_equal(given, wanted)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_numpy_rate_is_the_number_that_it_counts(kind):
    # Above 4,096 weights dropout is compiled for its rate.
    weights = ops.ones((2, 3, 37, 41))
    rate = Dropout(kind(0.25), seed=7)
    assert type(rate.rate) is float
    np.testing.assert_array_equal(
        rate.apply(weights), Dropout(0.25, seed=7).apply(weights)
    )
