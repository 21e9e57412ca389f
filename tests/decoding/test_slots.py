"""The buffers of a search: what is picked from long rows."""

import numpy as np
import pytest
from keras import ops

from keras_attention.decoding import slots


@pytest.mark.parametrize("size", [2 * slots.GROUP, 1543, 47 * slots.GROUP])
def test_largest_is_top_k_with_the_first_of_equals_first(size):
    # Few values on many places: nearly all of the largest are equals.
    values = np.random.default_rng(3).integers(0, 300, (5, size))
    values = values.astype("float32")
    values[1] = -np.inf
    values[2, 7:] = -np.inf
    values[3] = 1.0
    best, places = slots.largest(ops.convert_to_tensor(values), 11)
    order = np.argsort(-values, axis=1, kind="stable")[:, :11]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(
        best, np.take_along_axis(values, order, axis=1)
    )
