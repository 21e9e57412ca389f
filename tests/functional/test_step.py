"""A step is `attend`, whatever may be asked of it and however keys lie."""

import hypothesis
import numpy as np
import pytest
import test_dense_and_blockwise as drawn
from hypothesis import strategies
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional.step import OwnKeys
from keras_attention.functional.step import SharedKeys
from keras_attention.functional.step import attend_step

LAYOUTS = {"own": OwnKeys(), "shared": SharedKeys()}


def kept(tensor, layout, slots):
    """Keys or values (B, S, K, H) as a layout has them."""
    if layout == "shared":
        return ops.swapaxes(tensor, 1, 2)
    tensor = ops.swapaxes(tensor, 0, 1)[:, :, None]
    return ops.repeat(tensor, slots, axis=2)


def prepared(arrays, settings, dtype):
    """Returns the tensors and the settings of a question, for `attend`."""
    tensors = {
        name: ops.cast(ops.convert_to_tensor(array, dtype="float32"), dtype)
        for name, array in arrays.items()
    }
    settings = dict(settings)
    rate, zero = settings.pop("rate"), settings.pop("zero")
    if "distances" in tensors:
        values = tensors.pop("distances")
        zero = min(zero, values.shape[1] - 1)
        settings["bias"] = functional.DistanceBias(values, zero)
    if "vector" in tensors:
        settings["score"] = functional.AdditiveScore(tensors.pop("vector"))
    if rate:
        settings["dropout"] = functional.Dropout(rate, seed=7)
    return tensors, settings


def by_slot(settings, slots, keys):
    """The mask and the bias of several queries, written out."""
    mask, bias = settings["mask"], settings.get("bias")
    settings = dict(settings)
    if mask is not None:
        settings["mask"] = mask.dense(slots, keys)
    if bias is not None:
        settings["bias"] = bias.block(0, slots, 0, keys)
    return settings


@hypothesis.settings(max_examples=2 * drawn.EXAMPLES)
@hypothesis.given(
    question=drawn.questions(
        lengths=strategies.tuples(
            strategies.sampled_from([1, 1, 3]),
            strategies.integers(0, 24),
        )
    ),
    dtype=strategies.sampled_from(drawn.DTYPES),
    layout=strategies.sampled_from(list(LAYOUTS)),
)
def test_step_and_dense_agree(question, dtype, layout):
    tensors, settings = prepared(*question, dtype)
    expected = dict(
        zip(
            ("output", "weights"),
            attend(**tensors, **settings, return_weights=True),
            strict=True,
        )
    )
    slots, keys = tensors["query"].shape[1], tensors["key"].shape[1]
    if slots > 1:  # positions of a sequence there, slots here
        settings = by_slot(settings, slots, keys)
    key, value = (kept(tensors.pop(n), layout, slots) for n in ("key", "value"))
    output, weights = attend_step(
        key=key, value=value, layout=LAYOUTS[layout], **tensors, **settings
    )
    found = {"output": output, "weights": weights}
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype
        assert tensor.shape == expected[name].shape
    drawn.assert_agree(found, expected, dtype)


# 7 and 11 are summed as they are, 8 and 16 in parts.
@pytest.mark.parametrize("length, width", [(7, 11), (8, 16), (16, 11)])
def test_slots_attend_to_keys_of_their_own(length, width):
    random = np.random.default_rng(2)
    query = random.normal(size=(2, 3, 5, width)).astype("float32")
    key = random.normal(size=(length, 2, 3, 5, width)).astype("float32")
    value = random.normal(size=(length, 2, 3, 5, 13)).astype("float32")
    output, weights = attend_step(
        query=query, key=key, value=value, layout=OwnKeys()
    )
    for slot in range(3):
        expected, expected_weights = attend(
            query=query[:, slot : slot + 1],
            key=np.swapaxes(key[:, :, slot], 0, 1),
            value=np.swapaxes(value[:, :, slot], 0, 1),
            return_weights=True,
        )
        np.testing.assert_allclose(output[:, slot], expected[:, 0], atol=1e-6)
        np.testing.assert_allclose(
            weights[:, :, slot], expected_weights[:, :, 0], atol=1e-6
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_kept_is_zero(layout):
    nothing = kept(np.zeros((2, 0, 3, 5), "float32"), layout, 1)
    output, weights = attend_step(
        query=np.ones((2, 1, 6, 5), "float32"),
        key=nothing,
        value=nothing,
        layout=LAYOUTS[layout],
    )
    np.testing.assert_array_equal(output, np.zeros((2, 1, 6, 5)))
    assert tuple(weights.shape) == (2, 6, 1, 0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("per_row", [False, True], ids=["one order", "per row"])
def test_mask_and_bias_are_read_in_the_order_of_the_keys(per_row, layout):
    random = np.random.default_rng(3)
    query = random.normal(size=(2, 1, 6, 5)).astype("float32")
    key = random.normal(size=(2, 11, 3, 5)).astype("float32")
    value = random.normal(size=(2, 11, 3, 7)).astype("float32")
    real = np.arange(11) < np.array([[11], [7]])
    value[1, 7:] = np.nan  # padding may hold anything
    options = {
        "mask": masks.SlidingWindow(6, 0, offset=8) & masks.Padding(real),
        "bias": functional.DistanceBias(
            random.normal(size=(6, 5)).astype("float32"), zero=-4
        ),
    }
    expected = attend(
        query=query, key=key, value=value, implementation="dense", **options
    )
    orders = np.stack([random.permutation(11) for _ in range(2)])
    if not per_row:
        orders[1] = orders[0]
    rows = np.arange(2)[:, None]
    output, _ = attend_step(
        query=query,
        key=kept(key[rows, orders], layout, 1),
        value=kept(value[rows, orders], layout, 1),
        layout=LAYOUTS[layout],
        columns=ops.convert_to_tensor(
            orders if per_row else orders[0], dtype="int32"
        ),
        **options,
    )
    np.testing.assert_allclose(output, expected, atol=1e-6)
