"""Attention over three devices is that of one."""

import os

import numpy as np
import pytest
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional.ring import trip

IS_JAX = os.environ["KERAS_BACKEND"] == "jax"
jax_only = pytest.mark.skipif(not IS_JAX, reason="devices are those of JAX")

B, T, S, N, K, H, V = 2, 9, 21, 4, 2, 5, 3
DEVICES = 3

LENGTHS = np.array([17, 0])
CASES = {
    "nothing": {},
    "causal": {"mask": masks.Causal(offset=5)},
    "window": {"mask": masks.SlidingWindow(2, 3)},
    "lengths": {"mask": masks.Lengths(LENGTHS)},
    "gaps": {"mask": masks.Causal() | masks.SlidingWindow(1, 0)},
    "both": {"mask": masks.Causal(3) & masks.Lengths(LENGTHS)},
    "boolean": {"mask": np.random.default_rng(2).random((B, 1, T, S)) < 0.3},
    "cap": {"logit_soft_cap": 1.5},
    "sink": {"sink": np.array([0.5, -1.0, 2.0, 0.0], "float32")},
    "dropout": {"dropout": functional.Dropout(0.3, seed=11)},
    "scale": {"score": "scale"},
    "additive": {"score": "additive", "mask": masks.Causal(offset=5)},
}


@pytest.fixture(scope="module")
def mesh():
    import jax

    return jax.sharding.Mesh(jax.devices()[:DEVICES], ("sequence",))


def tensors(dtype="float32"):
    generator = np.random.default_rng(7)
    shapes = ((B, T, N, H), (B, S, K, H), (B, S, K, V), (B, T, N, V))
    return [
        ops.convert_to_tensor(generator.normal(size=shape), dtype)
        for shape in shapes
    ]


def vector():
    generator = np.random.default_rng(3)
    return ops.convert_to_tensor(generator.normal(size=(N, H)), "float32")


def output_and_gradients(attend, upstream, *learned):
    import jax

    def both(*learned):
        output, pull_back = jax.vjp(attend, *learned)
        return output, pull_back(upstream)

    return jax.jit(both)(*learned)


@jax_only
@pytest.mark.parametrize("name", CASES)
def test_ring_is_attend(name, mesh, monkeypatch):
    # Each device has seven keys: two blocks of four, the last one too long.
    monkeypatch.setattr(trip, "BLOCK_SIZE", 4)
    options = dict(CASES[name])
    score = options.pop("score", None)
    *learned, upstream = tensors()
    if score == "additive":
        learned.append(vector())
    elif score == "scale":
        learned.append(ops.convert_to_tensor(0.7))
    elif "sink" in options:
        learned.append(ops.convert_to_tensor(options.pop("sink")))

    def asked(query, key, value, extra=None):
        extras = {"query": query, "key": key, "value": value, **options}
        if score == "additive":
            extras["score"] = functional.AdditiveScore(extra)
        elif score == "scale":
            extras["score"] = functional.DotProductScore(extra)
        elif extra is not None:
            extras["sink"] = extra
        return extras

    def over_devices(*learned):
        given = asked(*learned)
        return functional.attend_in_ring(
            **given, mesh=mesh, axis_name="sequence"
        )

    def alone(*learned):
        return functional.attend(**asked(*learned), implementation="dense")

    found = output_and_gradients(over_devices, upstream, *learned)
    wanted = output_and_gradients(alone, upstream, *learned)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5, atol=1e-6)
    for one, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@jax_only
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_that_of_attend(dtype, mesh):
    *learned, _ = tensors(dtype)
    names = ("query", "key", "value")
    given = dict(zip(names, learned, strict=True))
    found = functional.attend_in_ring(**given, mesh=mesh, axis_name="sequence")
    wanted = functional.attend(**given, implementation="dense")
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(
        *(np.asarray(x, "float32") for x in (found, wanted)), rtol=1e-2
    )


@jax_only
def test_no_device_sees_all_keys_or_a_matrix_of_scores(mesh, monkeypatch):
    """The largest array of the compiled step, forward and backward."""
    import re

    import jax

    monkeypatch.setattr(trip, "BLOCK_SIZE", 4)
    length, heads, width = 96, 1, 2
    ones = ops.ones((1, length, heads, width))

    def loss(query, key, value):
        given = {"query": query, "key": key, "value": value}
        return ops.sum(
            functional.attend_in_ring(**given, mesh=mesh, axis_name="sequence")
        )

    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(ones, ones, ones)
    text = compiled.compile().as_text()
    sizes = [
        int(np.prod([int(n) for n in shape.split(",")]))
        for shape in re.findall(r"f32\[([\d,]+)\]", text)
    ]
    # 32 queries against a block of 4 keys; keys, 32 of width 2.
    assert max(sizes) <= 32 * 4


@jax_only
def test_nan_in_padding_reaches_nothing(mesh):
    query, key, value, _ = tensors()
    mask = masks.Lengths(np.array([17, 5]))
    broken = ops.where(ops.arange(S)[None, :, None, None] < 17, key, np.nan)
    given = {"query": query, "value": value, "mask": mask}
    options = {"mesh": mesh, "axis_name": "sequence"}
    found = functional.attend_in_ring(key=broken, **given, **options)
    wanted = functional.attend(key=key, **given)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@jax_only
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis_name": "batch"}, "`axis_name` must be one of the axes"),
        ({"query": np.ones((B, 10, N, H))}, "`query_length` must be a mult"),
        ({"key": np.ones((B, S, K, H + 1))}, "`key` must have the width"),
    ],
)
def test_bad_arguments_are_refused(change, message, mesh):
    query, key, value, _ = tensors()
    given = {"query": query, "key": key, "value": value, "mesh": mesh}
    given |= {"axis_name": "sequence", **change}
    with pytest.raises(ValueError, match=message):
        functional.attend_in_ring(**given)


@pytest.mark.skipif(IS_JAX, reason="JAX can")
def test_other_backends_are_refused():
    with pytest.raises(ValueError, match="`backend` must be 'jax'"):
        functional.attend_in_ring(
            query=None, key=None, value=None, mesh=None, axis_name="sequence"
        )


@jax_only
def test_arguments_are_checked_as_those_of_attend_are(mesh):
    query, key, value, _ = map(np.asarray, tensors())
    arguments = {"query": query, "key": key, "value": value, "mesh": mesh}
    arguments["axis_name"] = "sequence"
    for cap in (0.0, -2.0):
        with pytest.raises(ValueError, match="`logit_soft_cap` must be a num"):
            functional.attend_in_ring(**arguments, logit_soft_cap=cap)
    sink = [0.5, -1.0, 2.0, 0.0]
    found = functional.attend_in_ring(**arguments, sink=sink)
    expected = functional.attend(
        query=query, key=key, value=value, sink=np.array(sink, "float32")
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
