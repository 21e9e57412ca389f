"""Attention to what is cached is `attend`, whatever lies where."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.functional import attend
from keras_attention.functional.cached import attend_to_own
from keras_attention.functional.cached import attend_to_shared

BATCH, QUERIES, HEADS, VALUE_DIM = 2, 3, 5, 13


def arrays(positions, key_dim):
    """Returns query, key and value, a key and a value for each query."""
    generator = np.random.default_rng(2)
    shapes = [
        (BATCH, QUERIES, HEADS, key_dim),
        (positions, BATCH, QUERIES, HEADS, key_dim),
        (positions, BATCH, QUERIES, HEADS, VALUE_DIM),
    ]
    return [generator.normal(size=shape) for shape in shapes]


def some_visible(positions):
    """All but the last query of the last row, which sees nothing."""
    shape = (BATCH, 1, QUERIES, positions)
    visible = np.random.default_rng(1).random(shape) < 0.6
    visible[-1, :, -1] = False
    return visible


def one_by_one(query, key, value, visible):
    """Returns output and weights by `attend`, each query by itself."""
    found = [
        attend(
            query=query[:, here : here + 1],
            key=ops.swapaxes(key[:, :, here], 0, 1),
            value=ops.swapaxes(value[:, :, here], 0, 1),
            mask=None if visible is None else visible[:, :, here : here + 1],
            return_weights=True,
        )
        for here in range(QUERIES)
    ]
    outputs, weights = zip(*found, strict=True)
    return ops.concatenate(outputs, axis=1), ops.concatenate(weights, axis=2)


def assert_close(found, expected, dtype):
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    np.testing.assert_allclose(
        ops.cast(found, "float32"),
        ops.cast(expected, "float32"),
        atol=1e-6 if dtype == "float32" else 2e-2,
    )


# 7 and 11 are summed as they are, 8 and 16 in parts.
@pytest.mark.parametrize("positions, key_dim", [(7, 11), (8, 16), (16, 11)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
def test_attention_to_a_cache_is_attend(
    shared, masked, dtype, positions, key_dim
):
    query, key, value = arrays(positions, key_dim)
    if shared:  # what the first query has, all have
        key, value = (np.repeat(x[:, :, :1], QUERIES, 2) for x in (key, value))
    query, key, value = (
        ops.convert_to_tensor(x, dtype=dtype) for x in (query, key, value)
    )
    visible = some_visible(positions) if masked else None
    expected, expected_weights = one_by_one(query, key, value, visible)
    if shared:
        output, weights = attend_to_shared(
            query=query,
            key=ops.transpose(key[:, :, 0], (1, 2, 0, 3)),
            value=ops.transpose(value[:, :, 0], (1, 2, 0, 3)),
            visible=visible,
        )
        assert_close(weights, expected_weights, dtype)
        assert not masked or not ops.any(weights[-1, :, -1] != 0)
    else:
        output = attend_to_own(
            query=query, key=key, value=value, visible=visible
        )
    assert_close(output, expected, dtype)
    assert not masked or not ops.any(output[-1, -1] != 0)
