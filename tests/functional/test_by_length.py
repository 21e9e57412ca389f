"""Lengths that a graph does not know: each call picks dense or blockwise."""

import gc
import re

import numpy as np
import pytest
import tensorflow as tf
from programs import largest_tensor
from programs import lowered
from test_blockwise import BIASES
from test_blockwise import MASKS
from test_blockwise import B
from test_blockwise import H
from test_blockwise import K
from test_blockwise import S
from test_blockwise import T
from test_blockwise import V
from test_blockwise import arrays_of
from test_blockwise import flags
from test_blockwise import numbers
from test_blockwise import sorted_ids

from keras_attention import functional
from keras_attention import layers
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional import attention
from keras_attention.functional import by_length
from keras_attention.functional import compiling

pytestmark = pytest.mark.tensorflow_only

# name: mask, bias, soft cap, sink, dropout rate, additive score, group size.
CASES = {
    "plain": ("none", "none", None, False, 0.0, False, 1),
    "all options": ("and", "full", 2.0, True, 0.3, False, 2),
    "distances": ("window", "distance", 1.5, True, 0.0, False, 1),
    "relative keys": (
        "padding",
        "by query, by rows",
        None,
        False,
        0.0,
        False,
        2,
    ),
    "additive": ("padding", "per key", None, False, 0.0, True, 2),
    "additive, an empty row": (
        "lengths with an empty row",
        "distance from an end",
        2.0,
        True,
        0.3,
        True,
        2,
    ),
}


INPUTS = ("query", "key", "value")


def answer(case, implementation):
    """Returns a function of tensors by name: the output and its gradients."""
    mask, bias, cap, has_sink, rate, is_additive, _ = CASES[case]

    def call(tensors):
        tensors = dict(tensors)
        bias_tensor, sink = tensors.pop("bias"), tensors.pop("sink")
        vector = tensors.pop("vector")
        score = functional.DotProductScore()
        if is_additive:
            score = functional.AdditiveScore(vector)
        return attend(
            **tensors,
            score=score,
            mask=MASKS[mask](),
            bias=BIASES[bias][1](bias_tensor),
            logit_soft_cap=cap,
            sink=sink if has_sink else None,
            dropout=functional.Dropout(rate, seed=7) if rate else None,
            implementation=implementation,
        )

    def run(tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = call(tensors)
            loss = tf.reduce_sum(tf.sin(output) * output)
        gradients = tape.gradient(
            loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return {"output": output, **gradients}

    return run


def without_lengths(function, tensors, **settings):
    """Returns the function traced for unknown batch and lengths."""

    def shape(name, tensor):
        is_long = name in INPUTS
        return (None, None, *tensor.shape[2:]) if is_long else tensor.shape

    signature = {
        name: tf.TensorSpec(shape(name, tensor), tensor.dtype)
        for name, tensor in tensors.items()
    }
    return tf.function(
        function, input_signature=[signature], autograph=False, **settings
    )


@pytest.mark.parametrize("path", ["graph", "xla"])
@pytest.mark.parametrize("largest_dense", [1, 10**6], ids=["long", "short"])
@pytest.mark.parametrize(
    "case",
    [
        # "additive" has few options, and takes half the time of this one.
        pytest.param(name, marks=[pytest.mark.exhaustive] * ("empty" in name))
        for name in CASES
    ],
)
def test_either_branch_is_dense(case, largest_dense, path, monkeypatch):
    monkeypatch.setattr(attention, "LARGEST_DENSE", largest_dense)
    arrays = arrays_of(CASES[case][1], CASES[case][-1])
    arrays["vector"] = numbers(H, seed=8)
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    found = without_lengths(
        answer(case, "auto"), tensors, jit_compile=path == "xla"
    )(tensors)
    for name, expected in answer(case, "dense")(tensors).items():
        np.testing.assert_allclose(
            found[name], expected, rtol=0, atol=3e-5, err_msg=name
        )


def self_attention(implementation="auto", **settings):
    def run(tensors):
        x = tensors["query"]
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = attend(
                query=x,
                key=x,
                value=x,
                implementation=implementation,
                **settings,
            )
            loss = tf.reduce_sum(output * output)
        return output, tape.gradient(loss, x)

    return run


def program(length):
    """What XLA is given for a batch of this length, traced for any length."""
    tensors = {"query": tf.zeros((1, length, 2, 3))}
    traced = without_lengths(self_attention(), tensors)
    return lowered(traced, tensors)


def test_xla_compiles_only_the_branch_that_is_taken():
    short, long = program(31), program(2503)
    assert "while(" not in short
    assert "while(" in long
    assert largest_tensor(long) < 2503 * 2503 / 4
    branches = re.findall(r"branch_computations=\{(.*?)\}", short)
    assert len(branches) == 2  # forward and backward, of one branch each
    assert not any("," in branch for branch in branches)


@pytest.mark.parametrize("path", ["graph", "xla"])
@pytest.mark.parametrize("lengths", [(0, S), (T, 0), (0, 0)], ids=str)
def test_explicit_blockwise_of_no_position(lengths, path):
    queries, keys = lengths
    tensors = {
        "query": tf.zeros((B, queries, K, H)),
        "key": tf.zeros((B, keys, K, H)),
        "value": tf.zeros((B, keys, K, V)),
    }

    def run(tensors):
        query_mask, key_mask = (
            tf.ones(tf.shape(tensors[name])[:2], "bool")
            for name in ("query", "key")
        )
        mask = masks.QueryPadding(query_mask) & masks.Padding(key_mask)
        bias = tf.ones((tf.shape(query_mask)[1], tf.shape(key_mask)[1]))
        return attend(
            **tensors, mask=mask, bias=bias, implementation="blockwise"
        )

    run = without_lengths(run, tensors, jit_compile=path == "xla")
    output = run(tensors).numpy()
    assert output.shape == (B, queries, K, V)
    assert not output.any()


WRONG_SIZES = {
    "mask too large": {"mask": masks.Array(np.ones((7, 5), bool))},
    "mask too small": {"mask": np.ones((5, 3), bool)},
    "joined": {"mask": masks.Causal() & np.ones((2, 5, 3), bool)},
    "either": {"mask": masks.Causal() | masks.Padding(np.ones((2, 3), bool))},
    "rows": {"mask": masks.Causal(np.array([5, 3, 2]))},
    "bias": {"bias": np.zeros((3, 3), "float32")},
    "rows of a bias": {
        "bias": functional.LinearDistanceBias(tf.ones(1), np.array([1, 2, 3]))
    },
}


@pytest.mark.parametrize("wrong", WRONG_SIZES)
def test_a_size_that_does_not_fit_is_an_error_of_the_call(wrong):
    options = {**WRONG_SIZES[wrong], "implementation": "blockwise"}
    tensors = dict.fromkeys(INPUTS, tf.ones((2, 5, 1, 3)))
    function = without_lengths(lambda x: attend(**x, **options), tensors)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="(?s)whose size is [37] where the .* stands.*must broadcast",
    ):
        function(tensors)


@pytest.mark.parametrize("implementation", ["blockwise", "auto"])
def test_known_sizes_that_fit_are_no_error(implementation):
    options = {
        "mask": np.tri(5, dtype=bool)[None] & masks.Lengths(np.array([5, 3])),
        "bias": numbers(1, 5, seed=3),
        "implementation": implementation,
    }
    x = tf.constant(numbers(2, 5, 1, 3, seed=1))
    tensors = dict.fromkeys(INPUTS, x)
    function = without_lengths(lambda x: attend(**x, **options), tensors)
    np.testing.assert_allclose(
        function(tensors), attend(**tensors, **options), atol=1e-5
    )


def test_layers_that_ask_alike_share_one_trace(monkeypatch):
    traced = []

    def counted(name):
        programs = compiling._Programs(getattr(by_length, name).__wrapped__, 0)
        trace = programs._trace
        programs._trace = lambda *key: traced.append(name) or trace(*key)
        relax = by_length._unknown_lengths
        monkeypatch.setattr(
            by_length, name, lambda *arguments: programs(arguments, relax)
        )

    counted("forward")
    counted("backward")
    tensors = {"query": tf.zeros((B, T, K, H))}

    def run(tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors["query"])
            x = tensors["query"]
            for offset in (0, 2, 5):
                mask = masks.Causal(offset)
                x = attend(query=x, key=x, value=x, mask=mask)
            loss = tf.reduce_sum(x)
        return tape.gradient(loss, tensors["query"])

    without_lengths(run, tensors).get_concrete_function()
    assert traced == ["forward", "backward"]


def test_portable_graph_asks_for_no_compiler():
    tensors = {"query": tf.zeros((B, T, K, H))}
    run = without_lengths(self_attention(mask=masks.Causal()), tensors)
    with functional.portable():
        graph = run.get_concrete_function().graph.as_graph_def()
    assert "Case" in str(graph)
    for function in graph.library.function:
        assert not function.attr["_XlaMustCompile"].b


def test_program_outlives_its_place_in_the_cache(monkeypatch):
    monkeypatch.setattr(compiling, "MOST_PROGRAMS", 1)
    traced = []

    @compiling.traced_once(lambda position, shape: shape)
    def add(x, number):
        traced.append(number)
        return x + number

    @tf.function(autograph=False)
    def run(x):
        return add(x, 2) * add(x, 3)

    x = tf.constant([5.0])
    assert run(x).numpy().tolist() == [56.0]
    add(x, 4)
    gc.collect()
    assert run(x).numpy().tolist() == [56.0]
    add(x, 2)
    assert traced == [2, 3, 4, 2]


def test_second_derivative_is_refused():
    def second(tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors["query"])
            _, gradient = self_attention()(tensors)
            loss = tf.reduce_sum(gradient)
        return tape.gradient(loss, tensors["query"])

    tensors = {"query": tf.zeros((B, T, K, H))}
    run = without_lengths(second, tensors)
    with pytest.raises(ValueError, match="must be 'dense' where second"):
        run.get_concrete_function()


@pytest.mark.parametrize("is_additive", [False, True])
def test_a_graph_to_be_served_has_no_gradient_by_hand(is_additive):
    # TensorFlow warns of each one where the SavedModel is loaded.
    score = functional.DotProductScore()
    if is_additive:
        score = functional.AdditiveScore(tf.ones(H))

    def graph():
        heads = tf.TensorSpec((None, None, K, H), tf.float32)
        function = tf.function(
            lambda x: attend(query=x, key=x, value=x, score=score),
            input_signature=[heads],
            autograph=False,
        )
        graph = function.get_concrete_function().graph
        return graph.as_graph_def().SerializeToString()

    with compiling.forward_only():
        assert b"_gradient_op_type" not in graph()
    assert b"_gradient_op_type" in graph()


# The tensors of a mask, and the mask made of them.
MASKS_OF_TENSORS = {
    "padding": ([flags(B, S)], masks.Padding),
    "lengths": ([np.array([6, 11])], masks.Lengths),
    "segments": ([sorted_ids(B, T), sorted_ids(B, S)], masks.Segments),
    "causal offset per row": ([np.array([2, -3])], masks.Causal),
    "prefix": ([np.array([3, 7])], masks.PrefixLM),
    "array and padding": (
        [flags(B, T, S), flags(B, S)],
        lambda array, mask: masks.Array(array) & masks.Padding(mask),
    ),
}


@pytest.mark.parametrize("implementation", ["auto", "blockwise"])
@pytest.mark.parametrize("mask", MASKS_OF_TENSORS)
def test_one_program_serves_all_values_of_a_mask(mask, implementation):
    """What a slice or a size follows from, XLA makes part of the program."""
    arrays, mask_of = MASKS_OF_TENSORS[mask]
    query, key, value = (
        numbers(B, length, 2, H, seed=seed)
        for seed, length in enumerate((T, S, S))
    )

    def step(query, key, value, *tensors):
        inputs = (query, key, value)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = attend(
                query=query,
                key=key,
                value=value,
                mask=mask_of(*tensors),
                implementation=implementation,
            )
        return output, tape.gradient(output, inputs)

    arguments = [tf.constant(x) for x in (query, key, value, *arrays)]
    unknown = [
        tf.TensorSpec(
            (None,) * len(x.shape)
            if len(x.shape) < 4
            else (None, None, *x.shape[2:]),
            x.dtype,
        )
        for x in arguments
    ]
    step = tf.function(step, input_signature=unknown, autograph=False)
    entry = lowered(step, *arguments).split("ENTRY")[1]
    assert len(re.findall(r" parameter\(\d+\)", entry)) == len(arguments)


def _operations(graph):
    """Returns the types of all operations of a graph and of its functions."""
    definition = graph.as_graph_def()
    nodes = [*definition.node]
    for function in definition.library.function:
        nodes += function.node_def
    return {node.op for node in nodes}


@pytest.mark.parametrize("length", [S, 5000], ids=["short", "long"])
def test_declared_short_lengths_leave_one_way(length):
    """The graph then holds no choice; what it returns is the same."""
    case = "all options"
    arrays = arrays_of(CASES[case][1], CASES[case][-1])
    arrays["vector"] = numbers(H, seed=8)
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    step = without_lengths(answer(case, "auto"), tensors)
    with functional.declared_batches([(B, T, length)]):
        found = step(tensors)
        program = step.get_concrete_function(tensors)
    has_choice = "StatelessCase" in _operations(program.graph)
    assert has_choice == (length > S)
    for name, expected in answer(case, "dense")(tensors).items():
        np.testing.assert_allclose(
            found[name], expected, rtol=1e-4, atol=1e-4, err_msg=name
        )


@pytest.mark.parametrize("of", ["MultiHeadAttention", "LatentAttention"])
def test_a_mask_of_another_size_is_an_error_of_a_layer_too(of):
    layer = {
        "MultiHeadAttention": lambda: layers.MultiHeadAttention(2, 4),
        "LatentAttention": lambda: layers.LatentAttention(2, 4, latent_dim=6),
    }[of]()
    for size in (3, 10):
        mask = np.ones((size, size), bool)
        function = tf.function(
            lambda x, mask=mask: layer(x, x, attention_mask=mask),
            input_signature=[tf.TensorSpec((None, None, 8))],
            autograph=False,
        )
        function(tf.ones((1, size, 8)))
        with pytest.raises(tf.errors.InvalidArgumentError, match="broadcast"):
            function(tf.ones((1, 7, 8)))
