"""The schedule of blockwise attention follows the device of the program.

No GPU is at hand: programs are lowered for one and read, and what they
compute is computed by XLA on the processor.
"""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_process import run_fresh
from programs import lowered
from test_blockwise import numbers

from keras_attention import functional
from keras_attention import layers
from keras_attention import masks
from keras_attention.functional import attend

pytestmark = pytest.mark.tensorflow_only

QUERIES, KEYS, HEADS, WIDTH = 307, 521, 2, 5
LENGTHS = [0, 401]


def tensors(dtype="float32", queries=QUERIES, keys=KEYS, width=WIDTH):
    return {
        name: tf.cast(numbers(2, length, heads, width, seed=seed), dtype)
        for seed, (name, length, heads) in enumerate(
            [("query", queries, HEADS), ("key", keys, 1), ("value", keys, 1)]
        )
    }


def training(target="auto", implementation="blockwise", **options):
    """Returns a function of tensors: the output and its gradients."""
    options.setdefault("mask", masks.Causal(200) & masks.Lengths(LENGTHS))

    def call(arguments):
        with functional.target_device(target), tf.GradientTape() as tape:
            tape.watch(arguments)
            output = attend(
                **arguments, implementation=implementation, **options
            )
            total = tf.reduce_sum(tf.sin(tf.cast(output, "float32")))
        return {"output": output, **tape.gradient(total, arguments)}

    return call


def assert_near(found, wanted, tolerance=3e-5):
    for name, value in wanted.items():
        np.testing.assert_allclose(
            tf.cast(found[name], "float64"),
            tf.cast(value, "float64"),
            rtol=0,
            atol=tolerance,
            err_msg=name,
        )


def loops(program):
    """Returns how many loops there are in a program."""
    return len(re.findall(r"\swhile\(", program))


def optimized(serialized):
    """Returns a serialized program as XLA has it after its optimizations."""
    jax = pytest.importorskip("jax")
    from jaxlib import xla_client

    computation = xla_client.XlaComputation(serialized)
    module = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
    device = jax.local_devices(backend="cpu")[0]
    devices, options = (device,), xla_client.CompileOptions()
    program = device.client.compile_and_load(
        module,
        xla_client.DeviceList(devices),
        options,
    )
    return program.hlo_modules()[0].to_string()


@pytest.mark.parametrize("platform", ["CPU", "GPU"])
def test_program_for_any_device_holds_the_schedule_of_its_own(platform):
    def program(target):
        return optimized(
            lowered(
                training(target),
                tensors(),
                platform=platform,
                stage="hlo_serialized",
            )
        )

    # Processors have a loop over tiles, too.
    assert loops(program("any")) == {"CPU": 4, "GPU": 2}[platform]


@pytest.mark.parametrize(
    ("compiled", "is_known"),
    [(False, False), (True, True)],
    ids=["graph, lengths unknown", "xla"],
)
def test_program_for_any_device_answers_on_this_one(compiled, is_known):
    arguments = tensors()
    shapes = {
        name: x.shape if is_known else (None, None, *x.shape[2:])
        for name, x in arguments.items()
    }
    function = tf.function(
        training("any"),
        input_signature=[
            {name: tf.TensorSpec(shape) for name, shape in shapes.items()}
        ],
        jit_compile=compiled,
        autograph=False,
    )
    # Factors of the gradient need a known length; the output has none.
    assert_near(
        function(arguments), training(implementation="dense")(arguments)
    )


WITHOUT_XLA = """
import ctypes, pathlib, sys
import numpy as np
import tensorflow as tf
library = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
ctypes.CDLL(str(library))._ZN10tensorflow21DisableXlaCompilationEv()
model = tf.saved_model.load(sys.argv[1])
np.save(sys.argv[2], model.serve(np.load(sys.argv[3])))
"""


def test_model_of_a_user_for_any_device_is_served_without_xla(tmp_path):
    x = keras.Input((None, 3))
    layer = layers.MultiHeadAttention(2, 4, flash_attention=True)
    model = keras.Model(x, layer(x, x, use_causal_mask=True))
    with functional.target_device("any"):
        model.export(tmp_path / "model", verbose=False)
    inputs = numbers(2, 300, 3)
    np.save(tmp_path / "inputs.npy", inputs)
    names = ("model", "outputs.npy", "inputs.npy")
    paths = [str(tmp_path / name) for name in names]
    run_fresh("-c", WITHOUT_XLA, *paths)
    np.testing.assert_allclose(
        np.load(tmp_path / "outputs.npy"), model(inputs), rtol=0, atol=1e-5
    )
