"""What lies at padding, be it NaN or infinity, reaches nothing."""

import numpy as np
import pytest
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional.padding import zero_padding
from keras_attention.functional.padding import zeroed

BATCH, QUERIES, KEYS, HEADS, KEY_DIM, VALUE_DIM = 2, 5, 7, 3, 11, 13
LENGTHS = np.array([4, 7])
KEY_MASK = np.arange(KEYS) < LENGTHS[:, None]
# For the three keys past the first length.
GARBAGE = np.array([np.nan, -np.inf, np.inf])[:, None, None]
QUERY_MASK = np.array([[True] * QUERIES, [True, False, True, True, False]])
MASKS = {
    "lengths": masks.Lengths(LENGTHS),
    "padding": masks.Padding(KEY_MASK),
    "and": masks.Causal(3) & masks.Padding(KEY_MASK),
}


def arrays_with(garbage, dtype="float32", score="dot product"):
    generator = np.random.default_rng(3)
    shapes = {
        "query": (BATCH, QUERIES, HEADS, KEY_DIM),
        "key": (BATCH, KEYS, HEADS, KEY_DIM),
        "value": (BATCH, KEYS, HEADS, VALUE_DIM),
    }
    if score == "additive":
        shapes["vector"] = (KEY_DIM,)
    arrays = {name: generator.normal(size=s) for name, s in shapes.items()}
    arrays["key"][~KEY_MASK] = garbage
    arrays["value"][~KEY_MASK] = garbage
    return {name: array.astype(dtype) for name, array in arrays.items()}


def answer(tensors, **settings):
    tensors = dict(tensors)
    if "vector" in tensors:
        settings["score"] = functional.AdditiveScore(tensors.pop("vector"))
    return attend(**tensors, **settings)


def output_and_slopes(gradients, **settings):
    def run(tensors):
        def loss(tensors):
            output = answer(tensors, **settings)
            return ops.sum(ops.square(ops.cast(output, "float32")))

        return answer(tensors, **settings), gradients(loss, tensors)

    return run


def assert_same(found, expected):
    output, slopes = found
    expected_output, expected_slopes = expected
    np.testing.assert_array_equal(output, expected_output)
    for name, slope in expected_slopes.items():
        np.testing.assert_array_equal(slopes[name], slope, err_msg=name)
        assert np.isfinite(slope.astype("float32")).all(), name


@pytest.mark.parametrize("implementation", ["dense", "blockwise"])
@pytest.mark.parametrize("score", ["dot product", "additive"])
def test_padded_keys_and_values_may_hold_anything(
    score, implementation, path_and_dtype, run_on, gradients
):
    path, dtype = path_and_dtype
    run = output_and_slopes(
        gradients, mask=MASKS["padding"], implementation=implementation
    )
    found, expected = (
        run_on(path, run, arrays_with(x, dtype, score)) for x in (GARBAGE, 0.0)
    )
    assert_same(found, expected)


@pytest.mark.parametrize("implementation", ["dense", "blockwise"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_every_mask_of_padding_hides_it(
    mask, implementation, run_on, gradients
):
    run = output_and_slopes(gradients, mask=mask, implementation=implementation)
    found, expected = (
        run_on("eager", run, arrays_with(x)) for x in (np.nan, 0.0)
    )
    assert_same(found, expected)


@pytest.mark.parametrize("implementation", ["dense", "blockwise"])
def test_padded_queries_may_hold_anything(implementation, run_on, gradients):
    run = output_and_slopes(
        gradients,
        mask=masks.QueryPadding(QUERY_MASK),
        implementation=implementation,
    )
    results = []
    for garbage in (np.nan, 0.0):
        arrays = arrays_with(0.0)
        arrays["query"][~QUERY_MASK] = garbage
        results.append(run_on("eager", run, arrays))
    assert_same(*results)


def test_nan_that_is_not_padding_is_seen():
    arrays = arrays_with(np.nan)
    output = np.asarray(attend(**arrays))
    assert np.isnan(output[0]).all()
    assert np.isfinite(output[1]).all()


@pytest.mark.parametrize(
    "mask",
    [
        None,
        masks.Causal(),
        masks.Array([[True]]),
        zeroed(MASKS["and"]),
    ],
)
def test_without_padding_the_tensors_come_back(mask):
    tensors = [ops.ones((BATCH, length, 3)) for length in (QUERIES, KEYS, KEYS)]
    found = zero_padding(mask, *tensors)
    assert all(one is other for one, other in zip(found, tensors, strict=True))
