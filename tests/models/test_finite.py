"""Weights that are not finite are found, whatever their dtype."""

import keras
import numpy as np
import pytest

from keras_attention.models.finite import check_finite
from keras_attention.models.finite import non_finite_weight


def model_of(dtype):
    layers = [keras.layers.Dense(3, dtype=dtype, name=n) for n in ("a", "b")]
    return keras.Sequential([keras.Input((2,)), *layers])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weight_that_is_not_finite_is_named(dtype, value):
    model = model_of(dtype)
    assert non_finite_weight(model) is None
    check_finite(model, "saved")
    model.layers[1].bias.assign([0.0, value, 0.0])
    assert non_finite_weight(model).endswith("b/bias")
    with pytest.raises(ValueError, match="to be saved.*b/bias' holds NaN or"):
        check_finite(model, "saved")


def test_integers_are_always_finite():
    model = model_of("float32")
    model.layers[0].quantize("int8")
    assert "int8" in {weight.dtype for weight in model.weights}
    assert non_finite_weight(model) is None
