"""Kernels compiled by themselves: who shares a program, and equal results."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import compiling
from keras_attention.functional import dropout
from keras_attention.functional.blockwise import attend_blockwise
from keras_attention.functional.blockwise import question
from keras_attention.functional.dense import attend_dense

pytestmark = pytest.mark.tensorflow_only

B, T, S, N, K, H, V = 2, 11, 13, 6, 3, 5, 7


@dataclasses.dataclass(frozen=True)
class Pair:
    one: object
    other: object


def counted(kernel):
    """Returns the compiled kernel and the list of what it was traced for."""
    traced = []

    def count(*arguments):
        traced.append(arguments)
        return kernel(*arguments)

    return compiling.separately_compiled(count), traced


def test_one_program_serves_all_calls_of_one_structure():
    add, traced = counted(lambda pair, rest: pair.one * rest[0] + rest[1])
    numbers = np.arange(3.0)
    for scale in (2.0, 5.0):
        found = add(Pair(tf.constant(numbers), None), (scale * numbers, 7.0))
        np.testing.assert_allclose(found, scale * numbers**2 + 7)
    assert len(traced) == 1


def test_numbers_and_structure_tell_programs_apart():
    add, traced = counted(lambda pair: pair.one + (pair.other or 0))
    x = tf.constant([1.0, 2.0])
    assert add(Pair(x, 3)).numpy().tolist() == [4, 5]
    assert add(Pair(x, 4)).numpy().tolist() == [5, 6]
    assert add(Pair(x, None)).numpy().tolist() == [1, 2]
    assert len(traced) == 3


def test_numpy_float_is_a_number_like_any_other():
    # np.float64 is a subclass of float, which no other NumPy number is.
    scale, traced = counted(lambda x, number: x * number)
    for number in (3.0, np.float64(3.0)):
        assert scale(tf.constant(2.0), number).numpy() == 6
    assert len(traced) == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeywordPair:
    one: object
    other: object


def test_dataclass_of_keywords_alone_is_put_together_again():
    subtract, _ = counted(lambda pair: pair.one - pair.other)
    one, other = tf.constant(7.0), tf.constant(5.0)
    assert subtract(KeywordPair(other=other, one=one)).numpy() == 2


def test_what_cannot_be_taken_apart_runs_as_it_is():
    class Opaque:
        scale = 3.0

    given = Opaque()
    scale, traced = counted(lambda x, opaque: x * opaque.scale)
    assert scale(tf.constant(2.0), given).numpy() == 6
    assert traced[0][1] is given


def attention(attend):
    """A question with everything in it, of one of the two functions."""

    def run(query, key, value, bias, sink):
        return attend(
            query,
            key,
            value,
            functional.DotProductScore(),
            masks.Causal(2) & masks.Lengths(np.array([0, S])),
            functional.DistanceBias(bias, zero=4),
            2.0,
            sink,
            functional.Dropout(0.3, seed=7),
        )

    return run


def output_and_gradients(function, tensors):
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        output = function(*tensors)
        loss = tf.reduce_sum(output * tf.cos(output))
    return output, *tape.gradient(loss, tensors)


@pytest.mark.parametrize("path", ["eager", "graph"])
def test_long_attention_is_one_program_and_equals_dense(path, monkeypatch):
    monkeypatch.setattr(question, "PAIRS_TO_COMPILE", 1)
    monkeypatch.setattr(dropout, "LEAST_COMPILED", 1)
    generator = np.random.default_rng(3)
    shapes = (B, T, N, H), (B, S, K, H), (B, S, K, V), (N, 9), (N,)
    tensors = [tf.constant(generator.normal(size=x), "float32") for x in shapes]
    blockwise = attention(
        lambda *arguments: attend_blockwise(*arguments, block_sizes=(4, 5))
    )
    dense = attention(lambda *arguments: attend_dense(*arguments)[0])

    def run(*tensors):
        return output_and_gradients(blockwise, tensors)

    if path == "graph":
        run = tf.function(run, autograph=False)
        graph = run.get_concrete_function(*tensors).graph
        kinds = [operation.type for operation in graph.get_operations()]
        assert not any("While" in kind for kind in kinds)
        assert sum("Call" in kind for kind in kinds) == 2  # and backward
    found = run(*tensors)
    expected = output_and_gradients(dense, tensors)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


def test_mask_of_a_callers_own_is_attended_to(monkeypatch):
    monkeypatch.setattr(question, "PAIRS_TO_COMPILE", 1)

    class Even(masks.Mask):
        def block(self, query_start, query_length, key_start, key_length):
            query = query_start + tf.range(query_length)[:, None]
            key = key_start + tf.range(key_length)
            return (query + key) % 2 == 0

    x = np.random.default_rng(5).normal(size=(B, T, N, H)).astype("float32")
    arguments = (x, x, x, functional.DotProductScore(), Even())
    found = attend_blockwise(*map(as_tensor, arguments), block_sizes=(4, 5))
    even = np.add.outer(np.arange(T), np.arange(T)) % 2 == 0
    expected = functional.attend(query=x, key=x, value=x, mask=even)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)


def as_tensor(value):
    return tf.constant(value) if isinstance(value, np.ndarray) else value


def test_portable_leaves_long_attention_uncompiled(monkeypatch):
    monkeypatch.setattr(question, "PAIRS_TO_COMPILE", 1)

    @tf.function(autograph=False)
    def run(x):
        return attend_blockwise(x, x, x, functional.DotProductScore())

    with functional.portable():
        graph = run.get_concrete_function(tf.zeros((B, T, N, H))).graph
    assert "_XlaMustCompile" not in str(graph.as_graph_def())
