"""Fused additive attention: a kernel of our own, which no GPU has run yet.

The wiring runs with the oracle `ptx_on_processor` in place of the kernel. The
kernel runs against that oracle twice: its source in Triton's interpreter, the
PTX that is shipped in `ptx_emulator`. The program is lowered for a GPU and
read. TensorFlow only, but for what says otherwise.
"""

import hashlib
import importlib.util
import os
import pickle
import re
import sys
from pathlib import Path

import keras
import numpy as np
import ptx_emulator
import ptx_on_processor
import pytest
from fresh_process import run_fresh
from keras import ops
from programs import lowered
from programs import tensor_shapes

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional.fused import additive_kernel
from keras_attention.functional.fused import attention as fused_attention
from keras_attention.functional.fused import bridge
from keras_attention.functional.fused import kernel
from keras_attention.functional.fused import ptx_program

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "benchmarks/kernels/additive.py"
DATA = ROOT / "keras_attention/functional/fused/ptx"
FILES = sorted(DATA.glob("*.ptx"))
BATCH, QUERIES, KEYS, HEADS, KEY_HEADS, UNITS, WIDTH = 3, 11, 13, 4, 2, 5, 7
LENGTHS = np.array([13, 0, 6], "int32")
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
on_tensorflow = pytest.mark.tensorflow_only  # the bridge is TensorFlow's
with_triton = pytest.mark.skipif(
    # Looked for, not imported: it and TensorFlow are not for one process.
    importlib.util.find_spec("triton") is None,
    reason="it is made by Triton",
)


@pytest.fixture
def kernels(monkeypatch):
    """Calls of the kernel go to the processor; their names are kept."""
    stand_in = ptx_on_processor.Bridge()
    monkeypatch.setattr(bridge, "call_module", stand_in.call_module)
    for name in ("_forward", "_backward"):  # not those traced before
        direction = getattr(fused_attention, name).__wrapped__
        monkeypatch.setattr(fused_attention, name, direction)
    return stand_in.called


def tensors(dtype="float32", scale=1.0, vectors=(UNITS,)):
    """Query, key, value and vector."""
    generator = np.random.default_rng(0)
    shapes = {
        "query": (BATCH, QUERIES, HEADS, UNITS),
        "key": (BATCH, KEYS, KEY_HEADS, UNITS),
        "value": (BATCH, KEYS, KEY_HEADS, WIDTH),
    }
    found = {
        name: ops.cast(
            generator.normal(size=shape) * (1 if name == "value" else scale),
            dtype,
        )
        for name, shape in shapes.items()
    }
    vector = ops.cast(generator.normal(size=vectors), "float32")
    return {**found, "vector": vector}


def output_of(arguments, implementation, mask=None, target="gpu"):
    arguments = dict(arguments)
    score = functional.AdditiveScore(arguments.pop("vector"))
    options = {"mask": mask, "implementation": implementation}
    with functional.target_device(target):
        return attend(**arguments, score=score, **options)


def value_and_gradients(arguments, implementation, mask=None):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(arguments)
        output = output_of(arguments, implementation, mask)
        shape = (BATCH, QUERIES, HEADS, WIDTH)
        factors = np.random.default_rng(1).normal(size=shape)
        total = tf.reduce_sum(tf.cast(output, "float32") * factors)
    return output, tape.gradient(total, arguments)


CASES = {
    "plain": ({}, None),
    "lengths": ({"vectors": (HEADS, UNITS)}, masks.Lengths(LENGTHS)),
    "window": (
        {"vectors": (1, UNITS)},
        masks.SlidingWindow(left=2, right=0) & masks.Lengths(LENGTHS),
    ),
    "causal, large": ({"scale": 50.0}, masks.Causal()),
    "half": ({"dtype": "bfloat16"}, masks.Lengths(LENGTHS)),
}


@on_tensorflow
@pytest.mark.parametrize("name", CASES)
def test_fused_is_dense(kernels, name):
    import tensorflow as tf

    options, mask = CASES[name]
    arguments = tensors(**options)
    wanted = value_and_gradients(arguments, "dense", mask)
    found = value_and_gradients(arguments, "fused", mask)
    assert kernels == ["forward", "query_gradients", "key_gradients"]
    tolerance = 0.03 if name == "half" else 2e-4
    for a, b in zip(
        tf.nest.flatten(found), tf.nest.flatten(wanted), strict=True
    ):
        assert a.dtype == b.dtype
        a, b = (tf.cast(x, "float32").numpy() for x in (a, b))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    if "lengths" in name:
        assert not np.any(found[0][1].numpy())  # the row without keys


def kernels_in(program):
    """Returns what each call of the kernel is told, in a program of XLA."""
    lines = [x for x in program.splitlines() if ptx_program.TARGET in x]
    return [line[line.index("backend_config=") + 15 :] for line in lines]


@on_tensorflow
def test_program_of_a_gpu_calls_the_kernel():
    ir = pytest.importorskip("jaxlib.mlir.ir")
    program = lowered(
        lambda x: value_and_gradients(x, "fused", masks.Causal()),
        tensors(),
        platform="GPU",
    )
    names = []
    for text in kernels_in(program):
        with ir.Context():  # as XLA reads it
            settings = ir.DictAttr(ir.Attribute.parse(text))
            told = {x.name: x.attr for x in settings}
            names.append(told["name"].value)
            data = told["kernel_data"].value
        file = DATA / f"additive_{names[-1]}_64.ptx"
        assert data == file.read_text()
    assert names == ["forward", "query_gradients", "key_gradients"]
    shapes = tensor_shapes(program)
    assert not [x for x in shapes if {QUERIES, KEYS} <= set(x)]


@pytest.mark.exhaustive
@on_tensorflow
def test_program_for_any_device_is_blockwise_on_a_processor():
    for platform, calls in (("CPU", 0), ("GPU", 1)):
        program = lowered(
            lambda x: output_of(x, "fused", target="any"),
            tensors(),
            platform=platform,
        )
        assert len(kernels_in(program)) == calls


@on_tensorflow
@pytest.mark.parametrize("implementation", ["auto", "flash", "blockwise"])
def test_the_kernel_is_taken_by_name_alone(kernels, implementation):
    output_of(tensors(), implementation)
    assert kernels == []


@on_tensorflow
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"bias": np.ones((QUERIES, KEYS), "float32")}, "`bias` is set"),
        (
            {"value": np.ones((BATCH, KEYS, KEY_HEADS, 257), "float32")},
            "one is 257, more than 256",
        ),
        (
            {"value": np.ones((BATCH, KEYS, KEY_HEADS, WIDTH), "float16")},
            "not all float16, all bfloat16 or all float32",
        ),
    ],
)
def test_what_is_not_covered_says_why(changed, reason):
    arguments = tensors()
    score = functional.AdditiveScore(arguments.pop("vector"))
    with functional.target_device("gpu"):
        with pytest.raises(ValueError, match=re.escape(reason)):
            attend(
                **{**arguments, **changed}, score=score, implementation="fused"
            )


@on_tensorflow
@pytest.mark.exhaustive
def test_saved_program_for_any_device_is_loaded_and_run(tmp_path):
    import tensorflow as tf

    class Served(tf.Module):
        @tf.function(input_signature=[])
        def serve(self):
            return {"output": output_of(tensors(), "fused", target="any")}

    served = Served()
    tf.saved_model.save(served, str(tmp_path), signatures=served.serve)
    graph = (tmp_path / "saved_model.pb").read_bytes()
    assert ptx_program.TARGET.encode() in graph
    answer = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    wanted = output_of(tensors(), "dense")
    np.testing.assert_allclose(answer()["output"], wanted, 1e-5, 1e-5)


# --- on JAX ------------------------------------------------------------------


@pytest.fixture
def on_jax(monkeypatch):
    """JAX may fuse, as where an NVIDIA GPU is at hand."""
    if ON_TENSORFLOW:
        pytest.skip("the path of the JAX backend")
    monkeypatch.setattr(kernel, "is_available", lambda: True)


def gradients_on_jax(implementation):
    import jax

    def total(arguments):
        output = output_of(arguments, implementation, masks.Lengths(LENGTHS))
        return ops.sum(ops.sin(output))

    return jax.grad(total)


def test_program_of_jax_calls_the_kernel(on_jax):
    import jax

    traced = jax.jit(gradients_on_jax("fused")).trace(tensors())
    program = traced.lower(lowering_platforms=("cuda",)).as_text()
    calls = re.findall(r'name = "(\w+)"', program)
    assert calls == ["forward", "query_gradients", "key_gradients"]
    assert f"@{ptx_program.TARGET}" in program


def test_gradients_on_jax_are_dense(on_jax, monkeypatch):
    import jax

    def on_processor(program, operands):
        shapes = [result.shape for result in program.results]

        def run(*operands):
            operands = map(np.asarray, operands)
            results = ptx_on_processor.run(program.settings, operands, shapes)
            return [result.astype("float32") for result in results]

        kinds = [jax.ShapeDtypeStruct(shape, "float32") for shape in shapes]
        return jax.pure_callback(run, kinds, *operands)

    monkeypatch.setattr(additive_kernel, "_run_on_jax", on_processor)
    wanted = gradients_on_jax("dense")(tensors())
    found = gradients_on_jax("fused")(tensors())
    for name, gradient in wanted.items():
        np.testing.assert_allclose(found[name], gradient, 2e-4, 2e-4)


# --- the kernel itself -------------------------------------------------------


def test_data_is_made_of_the_source():
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    assert len(FILES) == 9
    stale = [x.name for x in FILES if digest not in x.read_text()]
    assert stale == [], "run benchmarks/kernels/make.py"


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_entry_takes_what_xla_passes(file):
    """A pointer for each operand and result, and nothing of Triton's own."""
    entry = re.search(r"\.entry (\w+)\((.*?)\n\)", file.read_text(), re.S)
    name, parameters = entry.groups()
    count = {"forward": 8 + 2}.get(name, 11 + 2)
    assert parameters.count(".param .u64") == parameters.count(".param")
    assert parameters.count(".param") == count


def operands_of(case, generator, heads, width):
    """Returns operands of all three kernels."""
    is_small, scale, causal, window = case
    lengths = [11, 9, 10], LENGTHS

    def draw(*shape):
        return generator.normal(size=shape).astype("float32")

    query = draw(BATCH, QUERIES, heads, width)
    key, value = (draw(BATCH, KEYS, 1, width) for _ in range(2))
    if scale > 1.0:  # sums of large numbers, some of which cancel
        query, key = scale * np.sign(query), scale * np.sign(key) + key
    if is_small:
        query, key = np.exp(2 * query), np.exp(2 * key)
    sizes = [QUERIES, KEYS, heads, 1, causal, window]
    return [
        *(query, key, value, draw(heads, width) / width**0.5),
        *(np.array(x, "int32") for x in (*lengths, [is_small], sizes)),
    ]


def calls_of(case, generator, rows, width, heads):
    """Returns calls of the kernels, and what the oracle answers."""
    blocks = -(-QUERIES // rows)
    of_queries = (BATCH, QUERIES, heads, width)
    of_keys = (BATCH, KEYS, 1, width)
    parts = (BATCH, heads, blocks, width)
    by_queries, by_keys = (blocks, heads, BATCH), (-(-KEYS // rows), 1, BATCH)
    operands = operands_of(case, generator, heads, width)
    calls, wanted = [], []

    def call(name, grid, *shapes):
        results = [np.zeros(shape, "float32") for shape in shapes]
        ptx_on_processor.KERNELS[name](*operands, *results, rows=rows)
        calls.append((name, grid, (rows, width), list(operands), shapes))
        wanted.append(results)
        return results

    output, known = call(
        "forward", by_queries, of_queries, (BATCH, heads, QUERIES)
    )
    upstream = generator.normal(size=of_queries).astype("float32")
    delta = np.sum(upstream * output, axis=3).transpose(0, 2, 1)
    operands += [upstream, known, np.ascontiguousarray(delta)]
    call("query_gradients", by_queries, of_queries, parts)
    call("key_gradients", by_keys, of_keys, of_keys)
    return calls, wanted


@pytest.mark.parametrize(
    "width",
    [
        pytest.param(64, marks=pytest.mark.exhaustive),
        128,
        pytest.param(256, marks=pytest.mark.exhaustive),
    ],
)
def test_data_compute_what_the_kernel_says(width):
    """The PTX that is shipped, run by an emulator."""
    rows = ptx_program.rows_of(f"additive_forward_{width}")
    for case in ((1, 1.0, 1, 3), (0, 50.0, 0, 2**30)):
        generator = np.random.default_rng(width)
        calls, wanted = calls_of(case, generator, rows, width, heads=2)
        for call, answers in zip(calls, wanted, strict=True):
            name, grid, _, operands, shapes = call
            results = [np.full(shape, np.nan, "float32") for shape in shapes]
            text = (DATA / f"additive_{name}_{width}.ptx").read_text()
            ptx_emulator.run(text, grid, [*operands, *results])
            for a, b in zip(results, answers, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@with_triton
@pytest.mark.exhaustive
def test_kernel_is_what_it_says(tmp_path):
    """Without a mask, with a window, at large numbers, with queries left."""
    generator = np.random.default_rng(5)
    calls, wanted = [], []
    for case in (
        (1, 1.0, 0, 2**30),
        (1, 1.0, 1, 3),
        (0, 50.0, 1, 2**30),
        (0, 1.0, 0, 2**30),
    ):
        made, answers = calls_of(case, generator, 4, 8, heads=2)
        calls += made
        wanted += answers
    files = tmp_path / "calls", tmp_path / "results"
    files[0].write_bytes(pickle.dumps(calls))
    interpreter = Path(__file__).parent / "triton_interpreter.py"
    run_fresh(
        *("-W", "ignore", str(interpreter), str(SOURCE), *map(str, files)),
        PYTHONPATH=os.pathsep.join(sys.path),
    )
    found = pickle.loads(files[1].read_bytes())
    for results, answers in zip(found, wanted, strict=True):
        for a, b in zip(results, answers, strict=True):
            np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-5)


@with_triton
@pytest.mark.exhaustive
def test_data_is_what_triton_makes(tmp_path):
    run_fresh(
        *("-W", "ignore", str(ROOT / "benchmarks/kernels/make.py")),
        str(tmp_path),
        PYTHONPATH=os.pathsep.join(sys.path),
        TRITON_CACHE_DIR=str(tmp_path / "cache"),
    )
    for file in FILES:
        assert (tmp_path / file.name).read_text() == file.read_text()
