"""Decoding with a cache: a step gives what the whole sequence gives."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.layers import AttentionPosition
from keras_attention.layers import MultiHeadAttention
from keras_attention.layers import RotaryEmbedding

BATCH, LENGTH, MAX_LENGTH, WIDTH = 2, 7, 11, 13
random = np.random.default_rng(11)
INPUTS = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")


class Near(AttentionPosition):
    """A bias of one's own: a number for each distance, up to 3 and past."""

    def bias(self, query_offset=0, key_offset=0):
        values = np.random.default_rng(5).normal(size=(6, 7)).astype("float32")
        zero = 3 + key_offset - query_offset
        return functional.DistanceBias(values, zero)


LAYERS = {
    "plain": {},
    "grouped": {"num_key_value_heads": 2, "value_dim": 3, "use_bias": False},
    "window": {"sliding_window": 3},
    "gate and sink": {"use_gate": True, "use_sink": True},
    "rotary window": {"position": RotaryEmbedding(rotary_dim=4)},
    "bias": {
        "position": Near(),
        "logit_soft_cap": 1.5,
        "query_key_norm": "layer",
    },
}
LAYERS["rotary window"] |= {"sliding_window": 4, "query_key_norm": "rms"}
# The tokens of row 1 run this far ahead of those of row 0.
AHEAD = np.array([0, 3])


def array(tensor):
    return np.array(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def layer_and_full_pass(arguments, **call):
    layer = MultiHeadAttention(6, 5, seed=1, **arguments)
    return layer, array(layer(INPUTS, INPUTS, **call))


def step_of(layer, mode):
    """The step of a decoder, as (new, cache, index) -> output, cache."""

    def step(new, cache, index):
        return layer(
            new, new, use_causal_mask=True, cache=cache, cache_index=index
        )

    if mode == "eager":
        return step
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(step)
    import tensorflow as tf

    return tf.function(step, jit_compile=mode == "XLA", reduce_retracing=True)


@pytest.mark.parametrize("mode", ["eager", "graph", "XLA"])
@pytest.mark.parametrize("index", ["scalar", "per row"])
@pytest.mark.parametrize("arguments", LAYERS.values(), ids=LAYERS)
def test_cached_steps_equal_the_full_pass(arguments, index, mode):
    layer, full = layer_and_full_pass(arguments, use_causal_mask=True)
    step = step_of(layer, mode)
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    ahead = AHEAD if index == "per row" else np.zeros(2, int)
    start = max(ahead)
    if start:  # the first tokens of both rows, at once
        zero = ops.convert_to_tensor([0, 0], dtype="int32")
        output, cache = step(INPUTS[:, :start], cache, zero)
        np.testing.assert_allclose(array(output), full[:, :start], atol=2e-6)
    for position in range(LENGTH - start):
        places = position + ahead
        now = places if index == "per row" else position
        new = INPUTS[np.arange(BATCH), places][:, None]
        now = ops.convert_to_tensor(now, dtype="int32")
        output, cache = step(ops.convert_to_tensor(new), cache, now)
        expected = full[np.arange(BATCH), places]
        np.testing.assert_allclose(array(output)[:, 0], expected, atol=2e-6)


@pytest.mark.parametrize("sizes", [(7,), (3, 4), (1, 5, 1)], ids=str)
@pytest.mark.parametrize("kind", ["plain", "rotary window", "bias"])
def test_several_positions_at_once(kind, sizes):
    layer, full = layer_and_full_pass(LAYERS[kind], use_causal_mask=True)
    cache, index = layer.make_cache(BATCH, MAX_LENGTH), 0
    for size in sizes:
        new = INPUTS[:, index : index + size]
        output, cache = layer(
            new, new, use_causal_mask=True, cache=cache, cache_index=index
        )
        expected = full[:, index : index + size]
        np.testing.assert_allclose(array(output), expected, atol=2e-6)
        index += size


def test_cache_holds_the_heads_at_their_places():
    layer = MultiHeadAttention(6, 5, num_key_value_heads=2, value_dim=3)
    layer.build(INPUTS.shape, INPUTS.shape)
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    assert cache["key"].shape == (MAX_LENGTH, BATCH, 1, 2, 5)
    assert cache["value"].shape == (MAX_LENGTH, BATCH, 1, 2, 3)
    before = array(cache["key"])
    index = np.array([1, 4], "int32")
    _, new = layer(INPUTS, INPUTS, cache=cache, cache_index=index)
    expected = np.zeros((BATCH, MAX_LENGTH, 2, 5))
    heads = array(layer.key_dense(INPUTS))
    expected[0, 1:8], expected[1, 4:11] = heads
    expected = np.swapaxes(expected, 0, 1)[:, :, None]
    np.testing.assert_allclose(array(new["key"]), expected, atol=1e-6)
    np.testing.assert_array_equal(array(cache["key"]), before)


def test_window_keeps_no_more_than_it_sees():
    layer = MultiHeadAttention(6, 5, sliding_window=3)
    assert layer.make_cache(BATCH, MAX_LENGTH)["key"].shape[:2] == (3, BATCH)
    assert layer.make_cache(BATCH, 2)["key"].shape[:2] == (2, BATCH)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1, 1, 1), (5, 1, 1), (2, 5)])
def test_weights_of_a_window_end_on_the_newest_position(sizes):
    layer = MultiHeadAttention(6, 5, sliding_window=3, seed=1)
    call = {"use_causal_mask": True, "return_attention_scores": True}
    _, full = layer(INPUTS, INPUTS, **call)
    cache, index = layer.make_cache(BATCH, MAX_LENGTH), 0
    for size in sizes:
        new = INPUTS[:, index : index + size]
        cached = {"cache": cache, "cache_index": index}
        _, weights, cache = layer(new, new, **cached, **call)
        end = index + size
        width = 3 if size == 1 else 3 + size
        expected = np.zeros((BATCH, 6, size, width))
        seen = min(width, end)
        expected[..., width - seen :] = full[:, :, index:end, end - seen : end]
        np.testing.assert_allclose(array(weights), expected, atol=1e-6)
        index = end


# What hides keys of a window, in its whole sequence and in its steps.
PADDING = np.arange(MAX_LENGTH) != np.array([[2], [3]])
PAIRS = np.random.default_rng(3).random((BATCH, LENGTH, MAX_LENGTH)) < 0.6
HIDDEN = {
    "all positions": lambda at, size: {"value_mask": PADDING},
    "new positions": lambda at, size: {
        "value_mask": PADDING[:, at : at + size]
    },
    "pairs": lambda at, size: {"attention_mask": PAIRS[:, at : at + size]},
    "object": lambda at, size: {
        "attention_mask": masks.SlidingWindow(1, 0, offset=at)
    },
}


@pytest.mark.parametrize(
    ("hidden", "sizes"),
    [
        ("all positions", (1,) * 7),
        ("all positions", (3, 4)),
        ("new positions", (7,)),
        ("pairs", (1,) * 7),
        ("pairs", (3, 4)),
        ("object", (1,) * 7),
        ("object", (2, 5)),
    ],
)
def test_masks_meet_a_window(hidden, sizes):
    layer = MultiHeadAttention(6, 5, sliding_window=3, seed=1)
    given = HIDDEN[hidden](0, LENGTH)
    if hidden in ("all positions", "pairs"):
        given = {name: mask[..., :LENGTH] for name, mask in given.items()}
    full = array(layer(INPUTS, INPUTS, use_causal_mask=True, **given))
    values = np.array(INPUTS)
    if "positions" in hidden:  # padding may hold anything
        values[~PADDING[:, :LENGTH]] = np.nan
    cache, index = layer.make_cache(BATCH, MAX_LENGTH), 0
    for size in sizes:
        now = slice(index, index + size)
        output, cache = layer(
            INPUTS[:, now],
            values[:, now],
            use_causal_mask=True,
            cache=cache,
            cache_index=index,
            **HIDDEN[hidden](index, size),
        )
        np.testing.assert_allclose(array(output), full[:, now], atol=2e-6)
        index += size


def test_mask_of_all_positions_and_an_index_per_row_need_no_window():
    layer = MultiHeadAttention(6, 5, sliding_window=3)
    cache, index = layer.make_cache(BATCH, MAX_LENGTH), np.array([1, 4])
    with pytest.raises(ValueError, match="`cache_index` must be one number"):
        layer(
            INPUTS,
            INPUTS,
            value_mask=PADDING,
            cache=cache,
            cache_index=index,
        )


def test_positions_after_the_new_ones_are_hidden():
    layer, full = layer_and_full_pass({})
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    cache = {name: buffer + 9.0 for name, buffer in cache.items()}
    output, scores, _ = layer(
        INPUTS,
        INPUTS,
        cache=cache,
        cache_index=0,
        return_attention_scores=True,
    )
    np.testing.assert_allclose(array(output), full, atol=2e-6)
    assert scores.shape == (BATCH, 6, LENGTH, MAX_LENGTH)
    assert not np.any(array(scores)[..., LENGTH:])


def test_mask_of_the_whole_cache_hides_a_padded_prompt():
    padding = np.arange(LENGTH) >= np.array([[0], [2]])
    call = {"use_causal_mask": True}
    layer, full = layer_and_full_pass({}, value_mask=padding, **call)
    wide = np.ones((BATCH, MAX_LENGTH), bool)
    wide[:, :LENGTH] = padding
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    for index in range(LENGTH):
        new = INPUTS[:, index : index + 1]
        output, cache = layer(
            new, new, value_mask=wide, cache=cache, cache_index=index, **call
        )
        np.testing.assert_allclose(
            array(output)[:, 0], full[:, index], atol=2e-6
        )


def test_mask_of_the_new_positions():
    padding = np.arange(LENGTH) < np.array([[7], [4]])
    layer, full = layer_and_full_pass({}, value_mask=padding)
    output, _ = layer(
        INPUTS,
        INPUTS,
        value_mask=padding,
        cache=layer.make_cache(BATCH, MAX_LENGTH),
        cache_index=0,
    )
    np.testing.assert_allclose(array(output), full, atol=2e-6)


def test_cache_in_a_functional_model():
    layer = MultiHeadAttention(6, 5)
    layer.build(INPUTS.shape, INPUTS.shape)
    cache = {
        name: keras.Input(batch_shape=buffer.shape, name=name)
        for name, buffer in layer.make_cache(BATCH, MAX_LENGTH).items()
    }
    new = keras.Input((1, WIDTH), name="new")
    index = keras.Input((), dtype="int32", name="index")
    outputs = layer(new, new, cache=cache, cache_index=index)
    assert outputs[0].shape == (None, 1, WIDTH)
    assert outputs[1]["key"].shape == (MAX_LENGTH, BATCH, 1, 6, 5)
    model = keras.Model({"new": new, "index": index, **cache}, outputs)
    index = ops.convert_to_tensor([2, 5], dtype="int32")
    first = ops.convert_to_tensor(INPUTS[:, :1])
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    found, _ = model({"new": first, "index": index, **cache})
    expected, _ = layer(first, first, cache=cache, cache_index=index)
    np.testing.assert_allclose(array(found), array(expected), atol=2e-6)


def test_cache_has_the_compute_dtype():
    layer = MultiHeadAttention(6, 5, dtype="mixed_bfloat16")
    layer.build(INPUTS.shape, INPUTS.shape)
    output, cache = layer(
        INPUTS, INPUTS, cache=layer.make_cache(BATCH, 7), cache_index=0
    )
    parts = (output, cache["key"], cache["value"])
    dtypes = {keras.backend.standardize_dtype(x.dtype) for x in parts}
    assert dtypes == {"bfloat16"}


@pytest.mark.parametrize(
    ("cache", "index", "message"),
    [
        ("good", None, "`cache_index` must be given together with `cache`"),
        ("good", 5, "must leave room for the new positions"),
        ("good", -1, "must leave room for the new positions"),
        ("good", np.array(5), "must leave room.*cache_index=5, 7 new"),
        ("good", ops.array(5), "must leave room.*max_length=11"),
        ("good", ops.array([2, 5]), r"must leave room.*cache_index=\[2 5\]"),
        ("good", 1.7, "`cache_index` must be of an integer dtype"),
        ("narrow", 0, "`cache` must hold keys of shape"),
        ("narrow value", 0, r"hold values of shape .*\(11, 2, 1, 6, 5\)"),
        ("short value", 0, r"hold values of shape .*\(11, 2, 1, 6, 5\)"),
        ("other batch", 0, "`cache` must hold keys of shape"),
        ("list", 0, "`cache` must be a dict"),
    ],
)
def test_bad_caches(cache, index, message):
    layer = MultiHeadAttention(6, 5)
    good = layer.make_cache(BATCH, MAX_LENGTH)
    narrow = MultiHeadAttention(6, 3).make_cache(BATCH, MAX_LENGTH)
    caches = {
        "good": good,
        "narrow": narrow,
        "narrow value": {**good, "value": narrow["value"]},
        "short value": {**good, "value": good["value"][1:]},
        "other batch": layer.make_cache(BATCH + 1, MAX_LENGTH),
        "list": list(good.values()),
    }
    with pytest.raises(ValueError, match=message):
        layer(INPUTS, INPUTS, cache=caches[cache], cache_index=index)


@pytest.mark.parametrize("new", [1, 2])
def test_a_window_longer_than_its_cache_ends_with_it(new):
    layer = MultiHeadAttention(6, 5, sliding_window=8)
    cache = layer.make_cache(BATCH, 4)
    now = INPUTS[:, :new]
    layer(now, now, cache=cache, cache_index=4 - new)
    with pytest.raises(ValueError, match="must leave room.*max_length=4"):
        layer(now, now, cache=cache, cache_index=5 - new)
    ring = layer.make_cache(BATCH, 8)
    layer(now, now, cache=ring, cache_index=17)


@pytest.mark.parametrize("name", ["value", "key"])
@pytest.mark.parametrize("new", [1, 2])
def test_a_cached_call_wants_one_length(name, new):
    layer = MultiHeadAttention(6, 5)
    inputs = dict.fromkeys(("query", "value", "key"), INPUTS[:, :new])
    if name == "value":
        inputs |= {"value": INPUTS[:, :3], "key": INPUTS[:, :3]}
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    layer(**dict.fromkeys(inputs, INPUTS[:, :new]), cache=cache, cache_index=0)
    with pytest.raises(ValueError, match=f"`{name}` must have the length of"):
        layer(**(inputs | {name: INPUTS[:, :3]}), cache=cache, cache_index=0)


def test_cache_wants_one_axis_of_positions():
    layer = MultiHeadAttention(6, 5)
    image = np.ones((BATCH, 3, 5, WIDTH), "float32")
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    with pytest.raises(ValueError, match="inputs of shape \\(batch, length"):
        layer(image, image, cache=cache, cache_index=0)


def test_padding_of_queries_meets_a_window_and_an_index_per_row():
    layer = MultiHeadAttention(6, 5, sliding_window=3, seed=1)
    new, index = INPUTS[:, :1], np.array([4, 1], "int32")
    cache = layer.make_cache(BATCH, MAX_LENGTH)
    options = {"use_causal_mask": True, "cache": cache, "cache_index": index}
    expected, _ = layer(new, new, **options)
    real = np.array([[True], [False]])
    found, _ = layer(new, new, query_mask=real, **options)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    bias = layer.output_dense.bias  # what is left of nothing
    np.testing.assert_allclose(found[1, 0], bias, atol=1e-6)


@pytest.mark.parametrize("length", [1, 3])
def test_padded_queries_of_a_cached_call_may_hold_anything(length):
    layer = MultiHeadAttention(2, 4, use_gate=True, seed=1)
    x = INPUTS[:, :length].copy()
    x[0, 0] = np.nan
    real = np.ones((BATCH, length), bool)
    real[0, 0] = False
    cache = layer.make_cache(BATCH, length)
    found, _ = layer(
        x, x, query_mask=real, value_mask=real, cache=cache, cache_index=0
    )
    expected = layer(
        x, x, query_mask=real, value_mask=real, use_causal_mask=length == 1
    )
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, expected, atol=1e-5)
