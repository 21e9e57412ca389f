"""Fused attention: what it covers, what it asks of cuDNN, which way is taken.

Without a GPU `cudnn_on_processor` computes what the text of the program says;
the text itself is compared with what JAX writes. TensorFlow only, but for what
says otherwise.
"""

import json
import re

import cudnn_on_processor
import numpy as np
import pytest
from fresh_process import run_fresh
from keras import ops
from programs import lowered
from programs import tensor_shapes

import keras_attention as ka
from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional import attention
from keras_attention.functional import declared_batches
from keras_attention.functional import devices
from keras_attention.functional import padding
from keras_attention.functional.fused import attention as fused_attention
from keras_attention.functional.fused import bridge
from keras_attention.functional.fused import cudnn as cudnn_programs
from keras_attention.functional.fused import kernel

pytestmark = pytest.mark.tensorflow_only  # the bridge is TensorFlow's
BATCH, LENGTH, HEADS, KEY_HEADS, WIDTH = 3, 14, 4, 2, 8
LENGTHS = np.array([14, 0, 5], "int32")


@pytest.fixture
def cudnn(monkeypatch):
    """Calls of cuDNN go to the processor; they are counted."""
    stand_in = cudnn_on_processor.Bridge()
    monkeypatch.setattr(bridge, "call_module", stand_in.call_module)
    monkeypatch.setattr(attention, "SMALLEST_FUSED", 1)
    for name in ("_forward", "_backward"):  # not those traced before
        direction = getattr(fused_attention, name).__wrapped__
        monkeypatch.setattr(fused_attention, name, direction)
    return stand_in


def calls_of_cudnn(program):
    return re.findall(r'custom_call_target="(__cudnn[^"]*)"', program)


def tensors(keys=LENGTH, dtype="bfloat16", seed=0):
    generator = np.random.default_rng(seed)

    def draw(*shape):
        return ops.cast(generator.normal(size=shape), dtype)

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
    "window, causal": masks.SlidingWindow(left=2, right=3) & masks.Causal(),
    "window, lengths": masks.SlidingWindow(left=2, right=None)
    & masks.Lengths(LENGTHS)
    & masks.Causal(),
    "padding": masks.Padding(PADDING),
    "padding of queries": masks.Padding(PADDING) & masks.QueryPadding(PADDING),
    "padding with holes": masks.Padding(HOLES) & masks.Causal(),
    "padding, one entry for all": masks.Padding(LENGTHS[:, None] > 0),
    # As layers give it, which put zeros at padding before they project.
    "lengths, zeroed before": padding.zeroed(masks.Lengths(LENGTHS)),
    "window as wide as integers, lengths": masks.SlidingWindow(2**31 - 1, 0)
    & masks.Lengths(LENGTHS),
}


def value_and_gradients(arguments, **options):
    """Returns the output and the gradients of a weighted sum of it."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        output = attend(**arguments, **options)
        shape = (BATCH, LENGTH, HEADS, WIDTH)
        factors = np.random.default_rng(1).normal(size=shape)
        total = tf.reduce_sum(tf.cast(output, "float32") * factors)
    return output, tape.gradient(total, arguments)


def assert_same(found, wanted, tolerance=0.03):
    import tensorflow as tf

    for a, b in zip(
        tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True
    ):
        a, b = (tf.cast(x, "float32").numpy() for x in (a, b))
        assert np.all(np.isfinite(a))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def fused(name):
    """Asks by name, but for boolean masks, which only "auto" may fuse."""
    return "auto" if name.startswith("padding") else "fused"


@pytest.mark.parametrize("name", MASKS)
def test_fused_is_dense(cudnn, name):
    arguments = tensors()
    mask = MASKS[name]
    wanted = value_and_gradients(arguments, mask=mask, implementation="dense")
    with functional.target_device("gpu"):
        found = value_and_gradients(
            arguments, mask=mask, implementation=fused(name)
        )
    assert_same(found, wanted)
    has_holes = name == "padding with holes"
    assert len(cudnn) == (0 if has_holes else 2)
    if "lengths" in name:
        assert not np.any(found[0][1].numpy())  # the row without keys


@pytest.mark.parametrize("rows", [1, BATCH])
@pytest.mark.parametrize("name", ["none", "causal, lengths"])
def test_bias_is_dense(cudnn, name, rows):
    bias = np.repeat(hidden_bias(), rows, axis=0)
    arguments = {
        **tensors(dtype="float16"),
        "bias": ops.convert_to_tensor(bias),
    }
    mask = MASKS[name]
    wanted = value_and_gradients(arguments, mask=mask, implementation="dense")
    with functional.target_device("gpu"):
        found = value_and_gradients(
            arguments, mask=mask, implementation="fused"
        )
    assert_same(found, wanted)
    assert len(cudnn) == 2
    assert not np.any(found[0][:, 3, -1].numpy())  # all keys are hidden


def test_bias_of_unknown_shape_is_not_fused(cudnn):
    import tensorflow as tf

    arguments = {**tensors(), "bias": ops.convert_to_tensor(hidden_bias())}
    signature = {
        name: tf.TensorSpec((*x.shape[:1], None, *x.shape[2:]), x.dtype)
        for name, x in arguments.items()
    }
    signature["bias"] = tf.TensorSpec((1, HEADS, None, None))

    def call(arguments):
        with functional.target_device("gpu"):
            with declared_batches([(BATCH, LENGTH)]):
                return attend(**arguments)

    call = tf.function(call, input_signature=[signature], autograph=False)
    assert_same(call(arguments), attend(**arguments, implementation="dense"))
    assert len(cudnn) == 0  # whose program says each size


def test_cross_attention_is_dense(cudnn):
    arguments = tensors(keys=6)
    mask = masks.Lengths(np.array([6, 0, 1]))
    wanted = value_and_gradients(arguments, mask=mask, implementation="dense")
    with functional.target_device("gpu"):
        found = value_and_gradients(
            arguments, mask=mask, implementation="fused"
        )
    assert_same(found, wanted)


@pytest.mark.parametrize(
    ("name", "shapes", "calls"),
    [
        pytest.param(  # the first of two
            *("causal", [(BATCH, LENGTH), (BATCH, 9)], 2),
            marks=pytest.mark.exhaustive,
        ),
        ("causal", [(BATCH, 9), (2, LENGTH)], 0),  # none of them
        ("causal", np.array([[BATCH, LENGTH]]), 2),  # no integers of Python
        pytest.param(  # which it then sees
            *("padding with holes", [(BATCH, LENGTH)], 2),
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_shape_and_mask_choose(request, monkeypatch, name, shapes, calls):
    """Batch and lengths are unknown while tracing; XLA picks one way."""
    import tensorflow as tf

    monkeypatch.setattr(attention, "SMALLEST_FUSED", 1)
    arguments, mask = tensors(), MASKS[name]

    def function():
        def call(arguments):
            with functional.target_device("any"), declared_batches(shapes):
                return value_and_gradients(arguments, mask=mask)

        signature = {
            name: tf.TensorSpec((None, None, *x.shape[2:]), x.dtype)
            for name, x in arguments.items()
        }
        return tf.function(
            call, input_signature=[signature], jit_compile=True, autograph=False
        )

    for_gpu = function().experimental_get_compiler_ir(arguments)
    program = for_gpu(stage="hlo", platform_name="GPU")
    assert len(calls_of_cudnn(program)) == calls
    request.getfixturevalue("cudnn")
    wanted = value_and_gradients(arguments, mask=mask, implementation="dense")
    assert_same(function()(arguments), wanted)


def test_padding_is_last_needs_no_look(cudnn):
    arguments = tensors()
    with functional.target_device("gpu"):
        with declared_batches([], padding_is_last=True):
            found = value_and_gradients(
                arguments, mask=masks.Padding(PADDING), implementation="fused"
            )
    wanted = value_and_gradients(
        arguments, mask=masks.Lengths(LENGTHS), implementation="dense"
    )
    assert_same(found, wanted)


# --- the program itself ------------------------------------------------------


def step(arguments, mask=None, target="any", implementation="fused"):
    with functional.target_device(target):
        return value_and_gradients(
            arguments, mask=mask, implementation=implementation
        )


@pytest.mark.parametrize("target", ["any", "gpu"])
def test_program_of_a_gpu_calls_cudnn(target):
    program = lowered(
        lambda x: step(x, MASKS["causal, lengths"], target),
        tensors(),
        platform="GPU",
    )
    assert calls_of_cudnn(program) == [
        "__cudnn$fmhaSoftmax",
        "__cudnn$fmhaSoftmaxBackward",
    ]
    if target == "gpu":  # the other has both ways until XLA optimizes it
        scores = {(BATCH, n, LENGTH, LENGTH) for n in (HEADS, KEY_HEADS)}
        assert not scores & tensor_shapes(program)


def test_program_of_a_processor_does_not():
    program = lowered(lambda x: step(x, MASKS["causal"]), tensors())
    assert calls_of_cudnn(program) == []


@pytest.mark.parametrize("compiled", [False, True])
def test_program_for_any_device_runs_on_a_processor(compiled):
    import tensorflow as tf

    arguments, mask = tensors(), MASKS["causal, lengths"]
    wanted = value_and_gradients(arguments, mask=mask, implementation="dense")
    function = tf.function(
        lambda x: step(x, mask), jit_compile=compiled, autograph=False
    )
    assert_same(function(arguments), wanted)


@pytest.mark.parametrize("platform", ["CPU", "GPU"])
def test_what_follows_may_branch_and_loop(platform):
    """XLA looks for constants in what its branches and loops are given.

    In the results of a call of a library it would look in vain, and end.
    """
    import tensorflow as tf

    def call(arguments):
        with functional.target_device("any"):
            x = attend(
                **arguments,
                mask=MASKS["causal, lengths"],
                implementation="fused",
            )
        x = tf.while_loop(
            lambda i, _: i < 3, lambda i, y: (i + 1, y * x), (0, x)
        )
        x = x[1]
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x + x, lambda: x)

    program = lowered(call, tensors(), platform=platform)
    assert len(calls_of_cudnn(program)) == (platform == "GPU")


WITHOUT_XLA = """
import ctypes, pathlib, sys
import numpy as np
import tensorflow as tf
library = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
ctypes.CDLL(str(library))._ZN10tensorflow21DisableXlaCompilationEv()
folder = pathlib.Path(sys.argv[1])
answer = tf.saved_model.load(str(folder)).signatures["serving_default"]
inputs = tf.constant(np.load(folder / "inputs.npy"))
np.save(folder / "output.npy", answer(inputs)["output"])
"""


@pytest.mark.exhaustive  # `test_program_for_any_device_runs_on_a_processor`
def test_exported_program_for_any_device_is_served_without_xla(tmp_path):
    """As `model.export` traces a model of a user where a GPU is at hand."""
    import tensorflow as tf

    layer = ka.MultiHeadAttention(2, 8, dtype="mixed_bfloat16")
    layer.build((BATCH, LENGTH, 16), (BATCH, LENGTH, 16))

    class Served(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((BATCH, LENGTH, 16))])
        def serve(self, x):
            with functional.target_device("any"):
                output = layer(x, x, use_causal_mask=True)
            return {"output": tf.cast(output, "float32")}

    served = Served()
    served.weights = layer.variables
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "SMALLEST_FUSED", 1)
        tf.saved_model.save(served, str(tmp_path), signatures=served.serve)
    graph = (tmp_path / "saved_model.pb").read_bytes()
    assert b"__cudnn$fmhaSoftmax" in graph
    x = np.random.default_rng(3).normal(size=(BATCH, LENGTH, 16))
    np.save(tmp_path / "inputs.npy", x.astype("float32"))
    run_fresh("-c", WITHOUT_XLA, str(tmp_path))
    wanted = ops.cast(layer(x, x, use_causal_mask=True), "float32")
    found = np.load(tmp_path / "output.npy")
    np.testing.assert_allclose(found, wanted, atol=0.05)


CALLS = {
    "plain": {},
    "causal, lengths": {"is_causal": True, "has_lengths": True},
    "lengths": {"has_lengths": True},
    "window": {"is_causal": True, "window": 5},
    "bias": {"bias_shape": (1, 4, 6, 10)},
}


@pytest.mark.parametrize("name", CALLS)
def test_program_is_that_of_jax(name, monkeypatch):
    """Forward and backward: target, operands, results, layouts, settings."""
    options = {"queries": 6, "keys": 10, **CALLS[name]}
    if options.get("window"):
        options["keys"] = 6
    problem = cudnn_programs.Problem(
        batch=3, num_heads=4, key_heads=2, width=8, dtype="bfloat16",
        scale=0.25, **options,
    )  # fmt: skip
    ours = [
        call_in(program.text)
        for program in (
            cudnn_programs.forward(problem),
            cudnn_programs.backward(problem),
        )
    ]
    assert ours == [
        call_in(line) for line in calls_of_jax(problem, monkeypatch)
    ]


def call_in(text):
    """Returns the parts of the one custom call in a text."""
    call = re.search(r"custom_call @(\S+?)\((.*?)\) \{(.*)\} : (.*)", text)
    target, operands, attributes, types = call.groups()
    settings = re.search(r'backend_config = "(.*?)"', attributes).group(1)
    layouts = attributes.split("operand_layouts")[1]
    types = re.sub(r" loc\(.*", "", types)
    return (
        *(target, len(operands.split(",")), layouts, types.strip()),
        json.loads(settings.replace("\\22", '"')),
    )


def calls_of_jax(problem, monkeypatch):
    """Returns the lines of the calls that JAX writes for the same problem."""
    jax = pytest.importorskip("jax")
    fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(fused, "check_compute_capability", lambda _: True)
    kind = "CAUSAL" if problem.is_causal else ""
    if problem.has_lengths:
        kind = f"PADDING_{kind}" if kind else "PADDING"
    lengths = [jax.numpy.zeros(x.shape, x.dtype) for x in problem.lengths]
    bias = [jax.numpy.zeros(x.shape, x.dtype) for x in problem.bias]

    def attend(query, key, value, *bias):
        return fused.dot_product_attention(
            *(query, key, value, *(bias or [None]), None),
            *(lengths or [None, None]),
            scale=problem.scale,
            mask_type=fused.MaskType[kind or "NO_MASK"],
            sliding_window_length=problem.window,
        )

    def both(*tensors):
        output, gradient = jax.vjp(attend, *tensors)
        return gradient(output)

    query, key = (
        jax.numpy.zeros(x.shape, x.dtype) for x in (problem.query, problem.key)
    )
    allowed = [
        jax.export.DisabledSafetyCheck.custom_call(f"__cudnn$fmha{x}Softmax{y}")
        for x in ("", "ScaleBias")
        for y in ("", "Backward")
    ]
    text = jax.export.export(
        jax.jit(both), platforms=["cuda"], disabled_checks=allowed
    )(query, key, key, *bias).mlir_module()
    return [line for line in text.splitlines() if "custom_call @" in line]


# --- what is not covered -----------------------------------------------------

NOT_COVERED = {
    "float32": ({"dtype": "float32"}, {}, "not all float16 or all bfloat16"),
    "soft cap": ({}, {"logit_soft_cap": 2.0}, "`logit_soft_cap` is set"),
    "dropout": (
        {},
        {"dropout": functional.Dropout(0.1, seed=1)},
        "`dropout` is set",
    ),
    "segments": (
        {},
        {"mask": masks.Segments(np.zeros((BATCH, LENGTH), "int32"))},
        "`mask` has a Segments",
    ),
    "boolean": ({}, {"mask": masks.Padding(PADDING)}, "give masks.Lengths"),
    "window to the right": (
        {},
        {"mask": masks.SlidingWindow(left=1, right=1)},
        "reaches to the right",
    ),
    "window and bias": (
        {},
        {
            "mask": masks.SlidingWindow(left=1, right=0),
            "bias": hidden_bias().astype("float32"),
        },
        "`bias` is set and `mask` has a window",
    ),
    "distances": (
        {},
        {"bias": functional.LinearDistanceBias(np.ones(HEADS, "float32"))},
        "depends on distances",
    ),
    "one key": ({"keys": 1}, {}, "there is one key alone"),
    "causal, more keys": (
        {"keys": 6},
        {"mask": masks.Causal()},
        "not as many queries as keys: 14 and 6",
    ),
}


@pytest.mark.parametrize("name", NOT_COVERED)
def test_what_is_not_covered_says_why(cudnn, name):
    made, options, reason = NOT_COVERED[name]
    with functional.target_device("gpu"):
        with pytest.raises(ValueError, match=re.escape(reason)) as error:
            attend(**tensors(**made), **options, implementation="fused")
        assert "`implementation` must be" in str(error.value)
        attend(**tensors(**made), **options)  # "auto" finds another way
    assert len(cudnn) == (name == "boolean")  # which turns out to be lengths


def test_without_a_gpu_it_is_refused():
    with pytest.raises(ValueError, match="no NVIDIA GPU"):
        attend(**tensors(), implementation="fused")


@pytest.mark.parametrize(
    ("capability", "is_fused"), [((7, 5), False), ((8, 0), True)]
)
def test_cards_that_are_too_old_are_not_asked(
    cudnn, monkeypatch, capability, is_fused
):
    import tensorflow as tf

    details = {"compute_capability": capability}
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda card: details
    )
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: ["card"]
    )
    monkeypatch.setattr(
        kernel, "_are_new_enough", kernel._are_new_enough.__wrapped__
    )
    with functional.target_device("gpu"):
        attend(**tensors())
    assert len(cudnn) == is_fused


@pytest.mark.parametrize("is_cuda", [False, True])
def test_only_cards_of_cuda_are_looked_for(monkeypatch, is_cuda):
    import tensorflow as tf

    monkeypatch.setattr(
        tf.config, "list_logical_devices", lambda kind: ["card"]
    )
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: is_cuda)
    with tf.Graph().as_default():  # eager operations name their device
        assert devices.current_target() == ("any" if is_cuda else "cpu")


def test_nothing_portable_is_fused(cudnn):
    with functional.target_device("gpu"), functional.portable():
        with pytest.raises(ValueError, match="no NVIDIA GPU"):
            attend(**tensors(), implementation="fused")
        attend(**tensors())
    assert len(cudnn) == 0


def test_unknown_shape_is_refused():
    import tensorflow as tf

    def call(query):
        with functional.target_device("gpu"):
            return attend(
                query=query, key=query, value=query, implementation="fused"
            )

    spec = tf.TensorSpec((None, None, HEADS, WIDTH), "float16")
    with pytest.raises(ValueError, match="needs one known shape"):
        tf.function(call, autograph=False).get_concrete_function(spec)


@pytest.mark.parametrize("shape", [(2, 0), (2, -1), (2, 1.5)])
def test_declared_shapes_are_positive(shape):
    with pytest.raises(ValueError, match="`shapes` must be a positive"):
        with declared_batches([shape]):
            pass


def test_one_shape_is_no_list_of_shapes():
    with pytest.raises(ValueError, match="`shapes` must be a list of"):
        with declared_batches((2, 14)):
            pass


def test_unknown_device_is_refused():
    with pytest.raises(ValueError, match="`name` must be"):
        with functional.target_device("tpu"):
            pass


@pytest.mark.parametrize("version", ["2.18.1", "2.20.0-rc0"])
def test_an_older_tensorflow_is_asked_for_nothing(version, monkeypatch):
    """Its XLA stops at settings that it does not know."""
    import tensorflow as tf

    monkeypatch.setattr(tf.version, "VERSION", version)
    bridge.knows_the_calls.cache_clear()
    try:
        assert bridge.knows_the_calls() == (version > "2.19")
    finally:
        bridge.knows_the_calls.cache_clear()


def test_a_program_of_a_gpu_says_nan_on_a_processor():
    import tensorflow as tf

    arguments = tensors()

    @tf.function(jit_compile=True, autograph=False)
    def run():
        with functional.target_device("gpu"):
            return attend(**arguments, implementation="fused")

    assert np.all(np.isnan(tf.cast(run(), "float32")))
