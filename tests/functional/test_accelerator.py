"""The schedule of blockwise attention follows the device of the program.

No GPU is at hand: programs are lowered for one and read, and what they
compute is computed by XLA on the processor.
"""

import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from fresh_process import run_fresh
from programs import lowered
from programs import tensor_shapes
from test_blockwise import numbers

from keras_attention import functional
from keras_attention import layers
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional import blockwise
from keras_attention.functional.blockwise import question

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
    """Returns how many loops were written: XLA makes some of scatters."""
    return len(re.findall(r'\swhile\(.*op_name="[^"]*\bwhile"', program))


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
    program = optimized(
        lowered(
            training("any", mask=masks.Causal(900)),
            tensors(keys=1301),
            platform=platform,
            stage="hlo_serialized",
        )
    )
    # Forward and backward: processors have a loop over tiles, too.
    assert loops(program) == {"CPU": 4, "GPU": 2}[platform]


@pytest.mark.parametrize(
    ("compiled", "is_known"),
    [
        pytest.param(False, False, marks=pytest.mark.exhaustive),
        (True, True),
    ],
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


@pytest.mark.exhaustive
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


# --- products of half precision, and of float32 as it is ---------------------

ROUNDING = {"float32": 2**-22, "float16": 2**-11, "bfloat16": 2**-8}
OF_XLA = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def on_gpu(arguments, **options):
    """Returns the program of forward and backward for a GPU, all at once."""
    function = training("gpu", **options)
    return lowered(function, arguments, platform="GPU")


def compiled_batch(arguments, **options):
    """What XLA computes of that on the processor."""
    with blockwise.schedule("batch"):
        run = tf.function(
            training(**options), jit_compile=True, autograph=False
        )
        return run(arguments)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_products_keep_the_dtype_and_sums_are_float32(dtype):
    program = on_gpu(tensors(dtype))
    found = re.findall(
        r"= (\w+)\[.*? dot\((\w+)\[.*? (\w+)\[.*?(highest|$)",
        program,
        re.MULTILINE,
    )
    half, is_exact = OF_XLA[dtype], "highest" if dtype == "float32" else ""
    assert found == [("f32", half, half, is_exact)] * (2 + 5)  # both directions
    # No block of keys or values is widened.
    widened = re.findall(r"= f32\[([\d,]+)\]\S* convert\(b?f16", program)
    assert not [x for x in widened if x.endswith(f",256,{WIDTH}")]


def test_float32_is_multiplied_as_the_backend_does_where_that_is_asked():
    with functional.float32_products("backend"):
        assert "highest" not in on_gpu(tensors())
        tf.config.experimental.enable_tensor_float_32_execution(False)
        try:
            assert on_gpu(tensors()).count("highest,highest") == 2 + 5
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(True)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_all_tiles_at_once_rounds_as_its_dtype_does(dtype):
    arguments = tensors(dtype)
    wide = {name: tf.cast(x, "float64") for name, x in arguments.items()}
    wanted = training(implementation="dense")(wide)
    found = compiled_batch(arguments)
    for name, value in wanted.items():
        # Weights, their gradients and results: each is rounded to the dtype.
        tolerance = 4 * ROUNDING[dtype] * np.abs(value).max()
        np.testing.assert_allclose(
            tf.cast(found[name], "float64"), value, rtol=0, atol=tolerance
        )


def test_float16_has_scores_that_float16_does_not_hold():
    heads = np.full((1, 13, 1, 8), 120.0)  # all numbers here are exact
    query, key = heads.copy(), heads.copy()
    query[..., 0], key[..., 0] = 1.0, np.arange(13)[:, None] % 5
    value = numbers(1, 13, 1, 3)
    arrays = {"query": query, "key": key, "value": value}
    arguments = {name: tf.cast(x, "float16") for name, x in arrays.items()}
    found = compiled_batch(
        arguments, score=functional.DotProductScore(0.5), mask=None
    )
    scores = 0.5 * query[0, :, 0] @ key[0, :, 0].T
    assert scores.min() > 300 and 2 * scores.min() > np.finfo("float16").max
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(
        found["output"][0, :, 0], weights @ value[0, :, 0], rtol=0, atol=4e-3
    )
    assert all(np.isfinite(x).all() for x in found.values())


@pytest.mark.parametrize("scale", [1.0, None, "tensor"])
def test_scale_of_half_precision(scale):
    arguments = tensors("float16", 13, 17)
    given = tf.constant(0.3) if scale == "tensor" else scale
    options = {"score": functional.DotProductScore(given), "mask": None}
    wide = {name: tf.cast(x, "float32") for name, x in arguments.items()}
    wanted = training(implementation="dense", **options)(wide)
    assert_near(compiled_batch(arguments, **options), wanted, 4e-3)
    assert_near(training(**options)(arguments), wanted, 4e-3)


# --- how many steps there are, and what stands in memory ----------------------


def test_steps_are_few_and_hold_no_matrix():
    heads, length, width = 16, 4096, 64
    arguments = {
        name: tf.zeros((4, length, heads, width), "bfloat16")
        for name in ("query", "key", "value")
    }
    program = on_gpu(arguments, mask=masks.Causal())
    largest = max(map(math.prod, tensor_shapes(program)))
    # Four waves of four blocks of queries, and 512 keys.
    assert largest == 4 * 4 * heads * 256 * 512 == question.SCORES_PER_STEP
    assert loops(program) == 2 * 2


def test_unknown_lengths_have_waves_too(monkeypatch):
    monkeypatch.setattr(question, "SCORES_PER_STEP", 2 * HEADS * 256 * 512)
    arguments = tensors(queries=1009)
    signature = {
        name: tf.TensorSpec((None, None, *x.shape[2:]))
        for name, x in arguments.items()
    }
    with blockwise.schedule("batch"):
        run = tf.function(
            training(),
            input_signature=[signature],
            jit_compile=True,
            autograph=False,
        )
        assert_near(run(arguments), training(implementation="dense")(arguments))


def test_batch_without_rows():
    arguments = {name: x[:0] for name, x in tensors(queries=13).items()}
    with blockwise.schedule("batch"):
        found = training(mask=masks.Causal())(arguments)
    assert found["output"].shape == arguments["query"].shape
    for name, tensor in arguments.items():
        assert found[name].shape == tensor.shape


# --- additive scores ----------------------------------------------------------


def additive(vector):
    return {"score": functional.AdditiveScore(vector)}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "dtype",
    # test_additive.py has the kernel in float32.
    [pytest.param("float32", marks=pytest.mark.exhaustive), "bfloat16"],
)
def test_additive_scores_left_to_the_compiler(dtype):
    arguments = tensors(dtype)
    options = additive(numbers(HEADS, WIDTH, seed=5))
    wide = {name: tf.cast(x, "float64") for name, x in arguments.items()}
    wanted = training(implementation="dense", **options)(wide)
    found = compiled_batch(arguments, **options)
    for name, value in wanted.items():
        tolerance = 8 * ROUNDING[dtype] * np.abs(value).max()
        np.testing.assert_allclose(
            tf.cast(found[name], "float64"), value, rtol=0, atol=tolerance
        )


def test_additive_scores_are_summed_where_they_are_computed():
    options = additive(numbers(HEADS, WIDTH, seed=5))
    program = lowered(
        training("gpu", **options),
        tensors(queries=251, keys=601),
        platform="GPU",
        stage="hlo_serialized",
    )
    # What has an axis of units beside queries and keys stands in no memory,
    # and no sum reads what another computed: it is inside of fusions, each of
    # which has a tanh of its own and ends in a sum.
    fusions = {}
    for computation in re.split(r"\n\n+", optimized(program).strip()):
        name, *lines = computation.strip().splitlines()
        with_units = [
            line
            for line in lines
            if {"251", "512", str(WIDTH)}
            <= set(re.findall(r"\d+", line.split("[", 1)[-1].split("]")[0]))
        ]
        if with_units:
            fusions[name] = "\n".join(with_units)
    assert fusions
    for name, lines in fusions.items():
        assert "fused" in name.split("(")[0], name
        assert " parameter(" not in lines, lines
        assert "ROOT" not in lines, lines
