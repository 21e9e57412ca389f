"""A mask that a user wrote is a mask like ours, in layers and in models."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention import DotProductAttention
from keras_attention import MultiHeadAttention
from keras_attention import TransformerEncoderBlock
from keras_attention import masks

BATCH, LENGTH, WIDTH = 2, 7, 6
X = np.random.default_rng(3).normal(size=(BATCH, LENGTH, WIDTH))
X = X.astype("float32")


class Stripe(masks.Mask):
    """Keys at a distance of `first`, and every `step` from there."""

    def block(self, query_start, query_length, key_start, key_length):
        query = query_start + ops.arange(query_length, dtype="int32")
        key = key_start + ops.arange(key_length, dtype="int32")
        distance = ops.abs(key - query[:, None])  # (T, S)
        first = ops.reshape(ops.cast(self.first, "int32"), (-1, 1, 1, 1))
        after = (distance - first) % self.step == 0
        before = ops.cast(distance, "float32") <= self.reach
        visible = ops.logical_and(after, before)
        return ops.logical_not(visible) if self.inverse else visible


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True, eq=False)
class Registered(Stripe):
    first: object
    step: int = 2
    reach: float = 4.5
    inverse: bool = False
    label: str = "stripe"
    inside: object = None


@dataclasses.dataclass(frozen=True, eq=False)
class Unregistered(Stripe):
    first: object
    step: int = 2
    reach: float = 4.5
    inverse: bool = False


FIRST = np.array([0, 1])


def written_out(mask):
    return masks.Array(np.array(mask.dense(LENGTH, LENGTH)))


CASES = {
    "registered": Registered(FIRST, inverse=True),
    "unregistered": Unregistered(FIRST, 3),
    "in and": masks.Causal() & Unregistered(FIRST),
    "in or": Unregistered([1, 2], reach=np.float64(3)) | masks.Lengths([1, 2]),
    "a mask inside": Registered(FIRST, inside=(masks.Causal(), None)),
}


@pytest.mark.parametrize("mask", CASES.values(), ids=CASES)
def test_mask_of_a_user_is_attended_to(mask):
    layers = [
        DotProductAttention(),
        MultiHeadAttention(3, 5),
        MultiHeadAttention(3, 5, flash_attention=True),
    ]
    for layer in layers:
        found = layer(X, X, attention_mask=mask)
        expected = layer(X, X, attention_mask=written_out(mask))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    block = TransformerEncoderBlock(3, 5)
    found = block(X, attention_mask=mask)
    expected = block(X, attention_mask=written_out(mask))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def model_with(mask_class):
    inputs = keras.Input((None, WIDTH))
    first = keras.Input((), dtype="int32")
    mask = masks.Causal() | mask_class(first)
    output = MultiHeadAttention(3, 5)(inputs, inputs, attention_mask=mask)
    return keras.Model([inputs, first], output)


@pytest.mark.parametrize("mask_class", [Registered, Unregistered])
def test_mask_of_a_user_holds_symbolic_inputs(mask_class):
    model = model_with(mask_class)
    (layer,) = (x for x in model.layers if isinstance(x, MultiHeadAttention))
    mask = written_out(masks.Causal() | mask_class(FIRST))
    expected = layer(X, X, attention_mask=mask)
    np.testing.assert_allclose(model([X, FIRST]), expected, atol=1e-6)
    np.testing.assert_allclose(
        model.predict([X, FIRST], verbose=0), expected, atol=1e-6
    )


def test_registered_mask_of_a_user_is_saved_and_loaded(tmp_path):
    model = model_with(Registered)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded([X, FIRST]), model([X, FIRST]))


def test_mask_that_is_not_registered_is_an_error_when_loaded(tmp_path):
    path = tmp_path / "model.keras"
    model = model_with(Unregistered)
    model.save(path)
    message = "(?s)class of a mask.*Unregistered.*register_keras_serializable"
    with pytest.raises(ValueError, match=message):
        keras.saving.load_model(path)
    loaded = keras.saving.load_model(
        path, custom_objects={"Unregistered": Unregistered}
    )
    np.testing.assert_array_equal(loaded([X, FIRST]), model([X, FIRST]))


def test_mask_that_is_no_dataclass_is_refused():
    class Plain(masks.Mask):
        pass

    message = r"must be a dataclass.*Received: a Plain. Write `@dataclasses"
    with pytest.raises(ValueError, match=message):
        DotProductAttention()(X, X, attention_mask=masks.Causal() & Plain())


@pytest.mark.parametrize("field", [{"a": 1}, len, [masks.Causal()]])
def test_field_that_cannot_be_carried_is_refused(field):
    mask = Registered(FIRST, inside=field)
    with pytest.raises(ValueError, match="`inside` must be a tensor, a number"):
        DotProductAttention()(X, X, attention_mask=mask)
