"""Additive attention beside Keras's: time, forward and with all gradients.

python benchmarks/additive.py [--length 512] [--batch 8] [--rounds 7]
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from measure import ROUNDS
from measure import print_header
from measure import print_table
from measure import rows_of
from measure import time_in_turns

from keras_attention.functional import AdditiveScore
from keras_attention.functional import attend

UNITS = 256


def ours(implementation):
    def run(query, key, vector):
        return attend(
            query=query[:, :, None],
            key=key[:, :, None],
            value=key[:, :, None],
            score=AdditiveScore(vector),
            implementation=implementation,
        )[:, :, 0]

    return run


def keras_peer(query, key, vector):
    """What `keras.layers.AdditiveAttention` computes, its scale given."""
    scores = tf.reduce_sum(
        vector * tf.tanh(query[:, :, None] + key[:, None]), axis=-1
    )
    return tf.matmul(tf.nn.softmax(scores), key)


def check(arrays):
    """The result before the speed: ours, the formula and Keras agree."""
    query, key, vector = (x.astype("float64") for x in arrays)
    query = query[:1, :16]
    pairs = np.tanh(query[:, :, None] + key[:1, None])
    powers = np.exp((pairs * vector).sum(axis=-1))
    weights = powers / powers.sum(axis=-1, keepdims=True)
    expected = weights @ key[:1]
    for run in (ours("blockwise"), ours("dense"), keras_peer):
        output = run(*map(tf.constant, arrays))[:1, :16]
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-4)
    layer = keras.layers.AdditiveAttention()
    layer.build([arrays[0].shape, arrays[1].shape])
    layer.set_weights([arrays[2]])
    np.testing.assert_allclose(
        layer([arrays[0], arrays[1]])[:1, :16], expected, rtol=0, atol=1e-4
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    shape = (options.batch, options.length, UNITS)
    arrays = [
        generator.normal(size=shape).astype("float32"),
        generator.normal(size=shape).astype("float32"),
        0.1 * generator.normal(size=(UNITS,)).astype("float32"),
    ]
    check(arrays)
    tensors = [tf.constant(array) for array in arrays]
    print_header(f"Additive attention, {shape}, milliseconds")
    for backward in (False, True):
        functions = {}
        for name, function in (
            ("Keras", keras_peer),
            ("ours, blockwise", ours("blockwise")),
            ("ours, dense", ours("dense")),
        ):
            for path, jit_compile in (("graph", False), ("XLA", True)):
                run = timed(function, backward, jit_compile, tensors)
                functions[f"{name}, {path}"] = run
        timings = time_in_turns(functions, options.rounds)
        print(f"\n{'forward+backward' if backward else 'forward'}\n")
        print_table(
            ["", "median", "fastest", "times the best peer"],
            rows_of(timings, {n for n in functions if "ours" in n}),
        )


def timed(function, backward, jit_compile, tensors):
    @tf.function(jit_compile=jit_compile)
    def run(*tensors):
        if not backward:
            return function(*tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(tf.square(function(*tensors)))
        return tape.gradient(loss, tensors)

    return lambda: [x.numpy() for x in tf.nest.flatten(run(*tensors))]


if __name__ == "__main__":
    main()
