"""A mask that a user wrote is a mask like ours, in layers and in models."""

import copy
import dataclasses
import json
import os

import keras
import numpy as np
import pytest
from fresh_process import ROOT
from fresh_process import run_fresh
from keras import ops

from keras_attention import DotProductAttention
from keras_attention import MultiHeadAttention
from keras_attention import TransformerEncoderBlock
from keras_attention import functional
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


# --- ten lines that anyone can write, on every path --------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Chunks(masks.Mask):
    size: int
    offset: object = 0  # position of the first query

    def block(self, query_start, query_length, key_start, key_length):
        query = self.offset + query_start + ops.arange(query_length)  # (T,)
        key = key_start + ops.arange(key_length)  # (S,)
        return query[:, None] // self.size == key // self.size

    def key_range(self, query_start, query_end, key_length):
        first = (self.offset + query_start) // self.size * self.size
        last = -(-(self.offset + query_end) // self.size) * self.size
        return first, last


LONG = 37  # of a blockwise call
SIZE = 5


def same_chunk(length):
    chunk = np.arange(length) // SIZE
    return chunk[:, None] == chunk


def functional_path(implementation):
    shape = (BATCH, LONG, 3, 11)
    query, key, value = np.random.default_rng(7).normal(size=(3, *shape))

    def run(mask):
        return functional.attend(
            query=query.astype("float32"),
            key=key.astype("float32"),
            value=value.astype("float32"),
            mask=mask,
            implementation=implementation,
        )

    return run(Chunks(SIZE)), run(same_chunk(LONG))


def cached_path():
    layer = MultiHeadAttention(3, 5)
    expected = layer(
        X, X, attention_mask=same_chunk(LENGTH), use_causal_mask=True
    )
    cache, outputs = layer.make_cache(BATCH, LENGTH), []
    for index in range(LENGTH):
        step = X[:, index : index + 1]
        mask = Chunks(SIZE, ops.convert_to_tensor(index))
        output, cache = layer(
            step, step, attention_mask=mask, cache=cache, cache_index=index
        )
        outputs.append(output)
    return ops.concatenate(outputs, axis=1), expected


def functional_model_path():
    inputs = keras.Input((None, WIDTH))
    layer = MultiHeadAttention(3, 5, flash_attention=True)
    output = layer(inputs, inputs, attention_mask=Chunks(SIZE))
    found = keras.Model(inputs, output)(X)
    return found, layer(X, X, attention_mask=same_chunk(LENGTH))


@pytest.mark.parametrize(
    "path",
    [
        lambda: functional_path("dense"),
        lambda: functional_path("blockwise"),
        cached_path,
        functional_model_path,
    ],
    ids=["dense", "blockwise", "cached", "functional model"],
)
def test_mask_of_ten_lines_works_on_every_path(path):
    found, expected = path()
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_key_range_of_a_user_skips_keys():
    read = []

    class Spy(Chunks):
        def key_range(self, *area):
            read.append(area)
            return 0, 0

    shape = (BATCH, LONG, 3, 11)
    x = np.ones(shape, "float32")
    output = functional.attend(
        query=x, key=x, value=x, mask=Spy(SIZE), implementation="blockwise"
    )
    assert read
    np.testing.assert_array_equal(output, np.zeros(shape))


# --- how a mask travels ------------------------------------------------------


def a_mask():
    return (masks.Causal() | Registered(FIRST, 3)) & masks.Lengths([7, 4])


def test_no_json_on_the_way_of_an_eager_call(monkeypatch):
    inputs = keras.Input((None, WIDTH))
    layer = MultiHeadAttention(3, 5)
    mask = masks.Causal() & Registered(np.array([2]))
    model = keras.Model(inputs, layer(inputs, inputs, attention_mask=mask))

    def refuse(*_, **__):
        raise RuntimeError("JSON on the way of a call")

    for name in ("dumps", "loads"):
        monkeypatch.setattr(json, name, refuse)
    expected = layer(X, X, attention_mask=written_out(mask))
    np.testing.assert_allclose(
        layer(X, X, attention_mask=mask), expected, atol=1e-6
    )
    np.testing.assert_allclose(model(X), expected, atol=1e-6)
    with pytest.raises(RuntimeError, match="JSON on the way"):
        layer(inputs, inputs, attention_mask=mask)


def test_mask_is_checked_once(monkeypatch):
    checked = []
    plain = masks.Lengths.check

    def check(self, target):
        checked.append(target)
        plain(self, target)

    monkeypatch.setattr(masks.Lengths, "check", check)
    MultiHeadAttention(3, 5)(X, X, attention_mask=masks.Lengths([7, 4]))
    assert checked == [(BATCH, 3, LENGTH, LENGTH)]


def test_mask_may_stand_in_its_place():
    layer, real = DotProductAttention(), np.ones((BATCH, LENGTH), bool)
    found = layer(X, X, X, real, real, real, a_mask())
    expected = layer(X, X, attention_mask=written_out(a_mask()))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_layer_that_has_seen_a_mask_is_copied():
    layer = MultiHeadAttention(3, 5)
    expected = layer(X, X, attention_mask=a_mask())
    found = copy.deepcopy(layer)(X, X, attention_mask=a_mask())
    np.testing.assert_array_equal(found, expected)


def test_mask_is_seen_again_when_activations_are_recomputed():
    def slope(layer):
        layer(X, X)
        layer.set_weights([np.full(w.shape, 0.3) for w in layer.weights])

        def loss(x):
            return ops.sum(layer(x, x, attention_mask=a_mask()))

        x = ops.convert_to_tensor(X)
        if keras.backend.backend() == "jax":
            import jax

            return jax.jit(jax.grad(loss))(x)
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            result = loss(x)
        return tape.gradient(result, x)

    with keras.RematScope(mode="full"):
        found = slope(MultiHeadAttention(3, 5))
    expected = slope(MultiHeadAttention(3, 5))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True, eq=False)
class Within(masks.Mask):
    """Keys whose time, a float, is at most `reach` from that of the query."""

    times: object  # (B, L)
    reach: object  # (B,)

    def block(self, query_start, query_length, key_start, key_length):
        query = self.times[:, None, query_start:][:, :, :query_length, None]
        key = self.times[:, None, None, key_start:][..., :key_length]
        return ops.abs(query - key) <= self.reach[:, None, None, None]


# Half precision holds neither these times nor their differences.
TIMES = (70000 + np.arange(LENGTH) * np.array([[1], [2]])).astype("float32")
REACH = np.array([2.0, 4.5], "float32")


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_float_fields_keep_their_dtype_in_mixed_precision(dtype, tmp_path):
    distance = np.abs(np.arange(LENGTH)[:, None] - np.arange(LENGTH))
    layer = DotProductAttention(dtype=dtype, name="attention")
    arguments = {"attention_mask": Within(TIMES, REACH)}
    _, weights = layer(X, X, **arguments, return_attention_scores=True)
    np.testing.assert_array_equal(
        np.array(weights).astype("float32") > 0, [distance <= 2] * BATCH
    )
    inputs = [keras.Input(a.shape[1:], dtype="float32") for a in (X, TIMES)]
    reach = keras.Input((), dtype="float32")
    output = layer(
        inputs[0], inputs[0], attention_mask=Within(inputs[1], reach)
    )
    model = keras.Model([*inputs, reach], output)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        np.testing.assert_array_equal(
            one([X, TIMES, REACH]), layer(X, X, **arguments)
        )


# --- functional models and their files ---------------------------------------


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


def test_model_with_a_mask_of_a_user_is_cloned_and_copied():
    model = model_with(Registered)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for one in (clone, copy.deepcopy(model)):
        np.testing.assert_array_equal(one([X, FIRST]), model([X, FIRST]))


def test_registered_mask_of_a_user_is_saved_and_loaded(tmp_path):
    model = model_with(Registered)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded([X, FIRST]), model([X, FIRST]))


MODULE = """
import dataclasses
import keras
from keras import ops
from keras_attention import masks

@keras.saving.register_keras_serializable(package="mine")
@dataclasses.dataclass(frozen=True, eq=False)
class Every(masks.Mask):
    step: object  # (batch,)
    start: int
    def block(self, query_start, query_length, key_start, key_length):
        key = self.start + key_start + ops.arange(key_length)
        return key % self.step[:, None, None, None] == 0
"""
LOAD = """
import sys
import keras, numpy as np
import mask_of_mine
from keras_attention import masks
model = keras.saving.load_model(sys.argv[1] + "/model.keras")
with np.load(sys.argv[1] + "/answer.npz") as f:
    found = model([f["x"], f["step"]])
    np.testing.assert_allclose(found, f["answer"], atol=1e-6)
print("equal")
"""


def test_registered_mask_is_loaded_in_a_new_process(tmp_path, monkeypatch):
    (tmp_path / "mask_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import mask_of_mine

    inputs, step = keras.Input((None, WIDTH)), keras.Input((), dtype="int32")
    mask = (mask_of_mine.Every(step, 1) & masks.Causal()) | masks.Lengths(step)
    output = MultiHeadAttention(3, 5)(inputs, inputs, attention_mask=mask)
    model = keras.Model([inputs, step], output)
    model.save(tmp_path / "model.keras")
    steps = np.array([2, 3], "int32")
    answer = np.array(model([X, steps]))
    np.savez(tmp_path / "answer.npz", x=X, step=steps, answer=answer)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run_fresh("-c", LOAD, str(tmp_path), PYTHONPATH=path)
    assert done.stdout.split() == ["equal"]


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
