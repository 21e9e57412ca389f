"""Fused attention: what it covers, what it asks of cuDNN, which way is taken.

Without a GPU `cudnn_on_processor` computes what the text of the program says;
the text itself is compared with what JAX writes. TensorFlow only, but for what
says otherwise.
"""

import cudnn_on_processor
import keras
import numpy as np
import pytest

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional.fused import bridge

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
pytestmark = pytest.mark.skipif(
    not ON_TENSORFLOW, reason="the bridge is TensorFlow's"
)
BATCH, LENGTH, HEADS, KEY_HEADS, WIDTH = 3, 14, 4, 2, 8
LENGTHS = np.array([14, 0, 5], "int32")


@pytest.fixture
def cudnn(monkeypatch):
    monkeypatch.setattr(bridge, "call_module", cudnn_on_processor.call_module)


def tensors(keys=LENGTH, dtype="bfloat16", seed=0):
    import tensorflow as tf

    generator = np.random.default_rng(seed)

    def draw(*shape):
        return tf.cast(generator.normal(size=shape), dtype)

    return {
        "query": draw(BATCH, LENGTH, HEADS, WIDTH),
        "key": draw(BATCH, keys, KEY_HEADS, WIDTH),
        "value": draw(BATCH, keys, KEY_HEADS, WIDTH),
    }


def hidden_bias(keys=LENGTH):
    """A bias that hides keys, and all keys of one query of the last head."""
    bias = np.random.default_rng(2).normal(size=(1, HEADS, LENGTH, keys))
    bias[..., 0] = -np.inf
    bias[0, -1, 3] = -np.inf
    return bias.astype("float32")


PADDING = np.arange(LENGTH) < LENGTHS[:, None]
HOLES = PADDING & (np.arange(LENGTH) != 2)
MASKS = {
    "none": None,
    "causal": masks.Causal(),
    "lengths": masks.Lengths(LENGTHS),
    "causal, lengths": masks.Causal() & masks.Lengths(LENGTHS),
    "window": masks.SlidingWindow(left=2, right=0),
    "window, lengths": masks.SlidingWindow(left=2, right=None)
    & masks.Lengths(LENGTHS)
    & masks.Causal(),
    "padding": masks.Padding(PADDING),
    "padding of queries": masks.Padding(PADDING) & masks.QueryPadding(PADDING),
    "padding with holes": masks.Padding(HOLES) & masks.Causal(),
}


def value_and_gradients(arguments, **options):
    """Returns the output and the gradients of a weighted sum of it."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        output = attend(**arguments, **options)
        factors = np.random.default_rng(1).normal(size=output.shape)
        total = tf.reduce_sum(tf.cast(output, "float32") * factors)
    return output, tape.gradient(total, arguments)


def run(implementation, target, mask, arguments, unknown=(), compiled=True):
    """The same in a graph whose batch and lengths may be unknown."""
    import tensorflow as tf

    def call(arguments):
        with functional.target_device(target):
            return value_and_gradients(
                arguments, mask=mask, implementation=implementation
            )

    signature = {
        name: tf.TensorSpec(
            (*((None,) * len(unknown)), *x.shape[len(unknown) :]), x.dtype
        )
        for name, x in arguments.items()
    }
    function = tf.function(
        call, input_signature=[signature], jit_compile=compiled, autograph=False
    )
    return function(arguments), function.get_concrete_function()


def assert_same(found, wanted, tolerance=0.03):
    import tensorflow as tf

    for a, b in zip(
        tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True
    ):
        a, b = (tf.cast(x, "float32").numpy() for x in (a, b))
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("target", ["gpu", "any"])
@pytest.mark.parametrize("name", MASKS)
def test_fused_is_dense(cudnn, name, target):
    arguments = tensors()
    wanted = value_and_gradients(
        arguments, mask=MASKS[name], implementation="dense"
    )
    with_check = name.startswith("padding")
    implementation = "auto" if with_check else "fused"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional.attention, "SMALLEST_FUSED", 1)
        found, _ = run(implementation, target, MASKS[name], arguments)
    assert_same(found, wanted)
    hidden = name != "none" and "lengths" in name
    if hidden:
        assert not np.any(found[0][1].numpy())  # the empty row
