"""Attention to a cache is `attend`, whatever lies where."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.functional import attend
from keras_attention.functional.cached import attend_cached

POSITIONS, BATCH, QUERIES, HEADS, KEY_DIM, VALUE_DIM = 7, 2, 3, 5, 11, 13
# The last query of the last row sees nothing.
VISIBLE = np.random.default_rng(1).random((BATCH, 1, QUERIES, POSITIONS)) < 0.6
VISIBLE[-1, :, -1] = False


def tensors(shared, dtype):
    generator = np.random.default_rng(2)
    lead = (POSITIONS, BATCH) if shared else (POSITIONS, BATCH, QUERIES)
    shapes = [
        (BATCH, QUERIES, HEADS, KEY_DIM),
        (*lead, HEADS, KEY_DIM),
        (*lead, HEADS, VALUE_DIM),
    ]
    arrays = [generator.normal(size=shape) for shape in shapes]
    return [ops.convert_to_tensor(array, dtype=dtype) for array in arrays]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("visible", [None, VISIBLE], ids=["all", "masked"])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
def test_attention_to_a_cache_is_attend(shared, visible, dtype):
    query, key, value = tensors(shared, dtype)
    output, weights = attend_cached(
        query=query, key=key, value=value, visible=visible
    )
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    assert keras.backend.standardize_dtype(weights.dtype) == dtype
    for place in range(QUERIES):
        here = slice(place, place + 1)
        expected, expected_weights = attend(
            query=query[:, here],
            key=ops.swapaxes(key if shared else key[:, :, place], 0, 1),
            value=ops.swapaxes(value if shared else value[:, :, place], 0, 1),
            mask=None if visible is None else visible[:, :, here],
            return_weights=True,
        )
        for one, other in (
            (output[:, here], expected),
            (weights[:, :, here], expected_weights),
        ):
            np.testing.assert_allclose(
                ops.cast(one, "float32"),
                ops.cast(other, "float32"),
                atol=1e-6 if dtype == "float32" else 2e-2,
            )
    if visible is not None:
        assert not ops.any(output[-1, -1] != 0)
        assert not ops.any(weights[-1, :, -1] != 0)
