"""Fused attention on the JAX backend: what JAX's own cuDNN path is asked.

Without a GPU the same question goes to JAX's XLA path, whose meaning is the
same; the program for a GPU is lowered and read.
"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional import jax_device
from keras_attention.functional.fused import kernel

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="the path of the JAX backend"
)
BATCH, LENGTH, HEADS, KEY_HEADS, WIDTH = 3, 14, 4, 2, 8
LENGTHS = np.array([14, 0, 5], "int32")
PADDING = np.arange(LENGTH) < LENGTHS[:, None]
MASKS = {
    "causal": masks.Causal(),
    "lengths": masks.Lengths(LENGTHS),
    "window, lengths": masks.SlidingWindow(left=2, right=0)
    & masks.Lengths(LENGTHS),
    "padding": masks.Padding(PADDING) & masks.QueryPadding(PADDING),
    "padding with holes": masks.Padding(PADDING & (np.arange(LENGTH) != 2)),
}


@pytest.fixture
def questions(monkeypatch):
    """The question that JAX is asked goes to its XLA path, and is kept."""
    import jax

    asked, attention = [], jax.nn.dot_product_attention

    def on_processor(*tensors, implementation, **options):
        assert implementation == "cudnn"
        asked.append(options)
        return attention(*tensors, **options, implementation="xla")

    monkeypatch.setattr(kernel, "is_available", lambda: True)
    monkeypatch.setattr(jax.nn, "dot_product_attention", on_processor)
    monkeypatch.setattr(functional.attention, "SMALLEST_FUSED", 1)
    return asked


def tensors(dtype="bfloat16"):
    generator = np.random.default_rng(0)
    shapes = [(HEADS, WIDTH), (KEY_HEADS, WIDTH), (KEY_HEADS, WIDTH)]
    return [
        ops.cast(generator.normal(size=(BATCH, LENGTH, *shape)), dtype)
        for shape in shapes
    ]


def value_and_gradients(mask, implementation, bias=None):
    import jax

    factors = np.random.default_rng(1).normal(
        size=(BATCH, LENGTH, HEADS, WIDTH)
    )

    def total(query, key, value, bias):
        output = attend(
            query=query,
            key=key,
            value=value,
            bias=bias,
            mask=mask,
            implementation=implementation,
        )
        return ops.sum(ops.cast(output, "float32") * factors), output

    numbers = (0, 1, 2) if bias is None else (0, 1, 2, 3)
    (_, output), gradients = jax.value_and_grad(
        total, argnums=numbers, has_aux=True
    )(*tensors(), bias)
    return output, *gradients


def assert_same(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        a, b = (np.asarray(ops.cast(x, "float32")) for x in (a, b))
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("name", MASKS)
def test_fused_is_dense(questions, name):
    wanted = value_and_gradients(MASKS[name], "dense")
    by_name = "auto" if name.startswith("padding") else "fused"
    with functional.target_device("gpu"):
        found = value_and_gradients(MASKS[name], by_name)
    assert_same(found, wanted)
    if name != "padding with holes":  # both ways are traced for those
        assert len(questions) == 1
    if name != "causal":
        assert not np.any(found[0][1])  # the row without keys


def test_bias_is_dense(questions):
    bias = np.random.default_rng(2).normal(size=(1, HEADS, LENGTH, LENGTH))
    bias[0, -1, 3] = -np.inf
    bias = ops.cast(bias, "float32")
    wanted = value_and_gradients(None, "dense", bias)
    with functional.target_device("gpu"):
        found = value_and_gradients(None, "fused", bias)
    assert_same(found, wanted)
    assert not np.any(found[0][:, 3, -1])


def test_without_a_gpu_it_is_refused():
    with functional.target_device("gpu"):
        with pytest.raises(ValueError, match="no NVIDIA GPU"):
            value_and_gradients(None, "fused")


def test_program_of_a_gpu_calls_cudnn(monkeypatch):
    import jax

    fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused, "check_compute_capability", lambda _: True)
    monkeypatch.setattr(kernel, "is_available", lambda: True)

    def step():
        with functional.target_device("gpu"):
            return value_and_gradients(MASKS["window, lengths"], "fused")

    allowed = [
        jax.export.DisabledSafetyCheck.custom_call(f"__cudnn$fmhaSoftmax{x}")
        for x in ("", "Backward")
    ]
    text = jax.export.export(
        jax.jit(step), platforms=["cuda"], disabled_checks=allowed
    )().mlir_module()
    assert text.count("custom_call @__cudnn$fmhaSoftmax(") == 1
    assert text.count("custom_call @__cudnn$fmhaSoftmaxBackward(") == 1


def test_device_is_that_in_effect():
    import jax

    with keras.device("cpu:0"):
        assert jax_device.default_platform() == "cpu"
    with jax.default_device("gpu"):
        assert jax_device.default_platform() == "gpu"
    assert jax_device.default_platform() == jax.default_backend()
