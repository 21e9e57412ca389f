"""Promise 3: nothing quadratic that nobody asked to see.

Programs are read as XLA sees them; memory is measured in fresh processes.
Only the public API is used, at lengths of many blocks.
"""

import os
import subprocess
import sys

import pytest
import tensorflow as tf
from programs import largest_tensor
from programs import lowered
from programs import tensor_shapes

from keras_attention import functional
from keras_attention import layers
from keras_attention import masks
from keras_attention.functional import attend

QUERIES, KEYS, UNITS, VALUE_DIM = 8009, 9001, 61, 53
OPTIONS = ["plain", "all options"]


def tensors_of(score, queries=QUERIES, keys=KEYS):
    heads = 2 if score == "dot product" else 1
    return {
        "query": tf.zeros((1, queries, heads, UNITS)),
        "key": tf.zeros((1, keys, 1, UNITS)),
        "value": tf.zeros((1, keys, 1, VALUE_DIM)),
        "vector": tf.zeros((UNITS,)),
        "distances": tf.zeros((heads, 17)),
        "sink": tf.zeros((heads,)),
    }


def attention(score, options, implementation):
    """Returns a function of a dict of tensors."""

    def call(tensors):
        tensors = dict(tensors)
        vector, distances = tensors.pop("vector"), tensors.pop("distances")
        arguments = {"implementation": implementation}
        if score == "additive":
            arguments["score"] = functional.AdditiveScore(vector)
        if options == "plain":
            del tensors["sink"]
        else:
            arguments.update(
                mask=masks.Causal(1000) & masks.Lengths(tf.constant([8501])),
                bias=functional.DistanceBias(distances, zero=8),
                logit_soft_cap=3.0,
                dropout=functional.Dropout(0.1, seed=7),
            )
        return attend(**tensors, **arguments)

    return call


def with_gradients(function):
    def run(tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(tf.square(function(tensors)))
        return loss, tape.gradient(loss, tensors)

    return run


def test_dense_attention_has_a_matrix():
    function = with_gradients(attention("dot product", "plain", "dense"))
    program = lowered(function, tensors_of("dot product"))
    assert (1, 2, QUERIES, KEYS) in tensor_shapes(program)
    assert largest_tensor(program) >= QUERIES * KEYS


@pytest.mark.parametrize("implementation", ["auto", "blockwise"])
@pytest.mark.parametrize("options", OPTIONS)
def test_dot_product_program_has_no_matrix(options, implementation):
    function = attention("dot product", options, implementation)
    tensors = tensors_of("dot product")
    program = lowered(with_gradients(function), tensors)
    # Forward and backward hold what grows with the length, and blocks.
    assert largest_tensor(program) < 4 * KEYS * 2 * UNITS


@pytest.mark.parametrize(
    ("score", "options", "most"),
    # Few large steps hold more at once: still blocks of 512 keys, so that it
    # grows with one length alone. The last is inside of sums, see
    # functional/test_accelerator.py.
    [
        ("dot product", "all options", 2 * QUERIES * 800),
        pytest.param(
            *("additive", "plain", QUERIES * 550 * UNITS),
            marks=pytest.mark.exhaustive,
        ),
    ],
)
def test_program_for_a_gpu_has_no_matrix(score, options, most):
    function = with_gradients(attention(score, options, "auto"))
    with functional.target_device("gpu"):
        program = lowered(function, tensors_of(score), platform="GPU")
    assert largest_tensor(program) < most


@pytest.mark.parametrize("options", OPTIONS)
def test_additive_program_has_no_matrix_and_no_units(options):
    function = attention("additive", options, "auto")
    program = lowered(with_gradients(function), tensors_of("additive"))
    # Less than a block of queries by one of keys, by units.
    assert largest_tensor(program) < 4 * KEYS * UNITS


def test_dense_additive_program_has_no_units():
    # Long enough that dense takes the kernel that is never without a matrix.
    queries, keys = 1201, 1301
    function = attention("additive", "all options", "dense")
    tensors = tensors_of("additive", queries, keys)
    program = lowered(with_gradients(function), tensors)
    shapes = tensor_shapes(program)
    assert (1, 1, queries, keys) in shapes
    assert largest_tensor(program) < 4 * queries * keys


@pytest.mark.parametrize("score", ["dot product", "additive"])
def test_compiler_adds_no_matrix(score):
    queries, keys = 2503, 3001
    function = attention(score, "all options", "blockwise")
    tensors = tensors_of(score, queries, keys)
    program = lowered(with_gradients(function), tensors, stage="optimized_hlo")
    assert largest_tensor(program) < queries * keys


@pytest.mark.parametrize("training", [False, True], ids=["", "training"])
def test_layer_with_dropout_has_no_matrix(training):
    layer = layers.MultiHeadAttention(2, 3, dropout=0.1)
    layer.build((1, QUERIES, 5), (1, KEYS, 7))
    trainable, state = (
        [tf.constant(variable.numpy()) for variable in variables]
        for variables in (
            layer.trainable_variables,
            layer.non_trainable_variables,
        )
    )

    def call(tensors):
        return layer.stateless_call(
            tensors["weights"],
            state,
            tensors["query"],
            tensors["value"],
            training=training,
        )[0]

    tensors = {
        "weights": trainable,
        "query": tf.zeros((1, QUERIES, 5)),
        "value": tf.zeros((1, KEYS, 7)),
    }
    program = lowered(with_gradients(call), tensors)
    assert largest_tensor(program) < QUERIES * KEYS / 8
    assert ("xor" in program) is training  # the hash that draws the bits


@pytest.mark.parametrize(
    "position",
    [layers.AlibiBias(2), layers.ShawRelativePosition(16)],
    ids=["alibi", "relative keys"],
)
def test_position_has_no_matrix(position):
    layer = layers.MultiHeadAttention(2, 3, position=position)
    layer.build((1, QUERIES, 5), (1, KEYS, 7))

    def call(tensors):
        output, _ = layer.stateless_call(
            tensors["weights"], [], tensors["query"], tensors["value"]
        )
        return output

    tensors = {
        "weights": [tf.constant(v.numpy()) for v in layer.weights],
        "query": tf.zeros((1, QUERIES, 5)),
        "value": tf.zeros((1, KEYS, 7)),
    }
    program = lowered(with_gradients(call), tensors)
    # The largest is the score of each query and distance that is told apart.
    assert largest_tensor(program) < QUERIES * KEYS / 8


def test_short_sequences_do_not_pay_for_blocks():
    tensors = tensors_of("dot product", 32, 64)
    auto, dense, blockwise = (
        lowered(attention("dot product", "plain", implementation), tensors)
        for implementation in ("auto", "dense", "blockwise")
    )
    assert "while(" in blockwise
    assert "while(" not in auto
    assert tensor_shapes(auto) == tensor_shapes(dense)


def test_weights_asked_for_are_those_of_dense():
    def weights(implementation):
        def call(tensors):
            return attend(
                query=tensors["query"],
                key=tensors["key"],
                value=tensors["value"],
                return_weights=True,
                implementation=implementation,
            )

        return lowered(call, tensors_of("dot product", 1201, 1301))

    assert tensor_shapes(weights("auto")) == tensor_shapes(weights("dense"))
    assert "while(" not in weights("auto")


# Keys and values of 8192 positions take 2 MiB here, the weights of one head
# 256 MiB; forward and backward hold several such matrices at once.
LENGTH, HEADS = 8192, 4
MATRIX = LENGTH * LENGTH * 4 / 2**20  # MiB, of one head
MEMORY = """
import sys
import numpy as np
import tensorflow as tf
from keras_attention import functional, masks

def peak():  # unlike ru_maxrss, not inherited from the process before
    lines = open("/proc/self/status").read().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1])

score, path, implementation, length, heads = sys.argv[1:]
length, heads = int(length), int(heads)

def run(x, vector, distances):
    with tf.GradientTape() as tape:
        tape.watch([x, vector, distances])
        output = functional.attend(
            query=x, key=x, value=x,
            score=functional.AdditiveScore(vector) if score == "additive"
            else functional.DotProductScore(),
            mask=masks.SlidingWindow(255, 0) & masks.Lengths([8101]),
            bias=functional.DistanceBias(distances, zero=16),
            dropout=functional.Dropout(0.1, seed=7),
            implementation=implementation)
        loss = tf.reduce_sum(output ** 2)
    return tape.gradient(loss, [x, vector, distances])

if path != "eager":
    run = tf.function(run, jit_compile=path == "xla", autograph=False)

def call(length):
    x = np.random.default_rng(0).normal(size=(1, length, heads, 16))
    run(*map(tf.constant, (x.astype("float32"), np.ones(16, "float32"),
        np.ones((heads, 17), "float32"))))

call(600)
before = peak()
call(length)
print(peak() - before)
"""


def peak_memory(score, path, implementation, length, heads):
    """Returns by how many MiB a fresh process grows."""
    arguments = score, path, implementation, str(length), str(heads)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 1024


@pytest.mark.parametrize(
    "path",
    [
        *(
            pytest.param(p, marks=pytest.mark.exhaustive)
            for p in ("eager", "xla")
        ),
        "graph",
    ],
)
def test_peak_memory_stays_below_one_matrix_of_one_head(path):
    peak = peak_memory("dot product", path, "blockwise", LENGTH, HEADS)
    assert peak < MATRIX


@pytest.mark.exhaustive  # `test_compiler_adds_no_matrix` has it
def test_peak_memory_of_additive_attention_stays_below_one_matrix():
    peak = peak_memory("additive", "graph", "blockwise", LENGTH, 1)
    assert peak < MATRIX


@pytest.mark.exhaustive
def test_peak_memory_of_dense_attention_is_seen():
    length = LENGTH // 4
    matrix = HEADS * length * length * 4 / 2**20
    peak = peak_memory("dot product", "graph", "dense", length, HEADS)
    assert peak > matrix
