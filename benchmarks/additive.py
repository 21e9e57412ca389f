"""Additive attention beside Keras's: time and memory, with all gradients.

python benchmarks/additive.py [--length 512] [--batch 8] [--rounds 7]
"""

import argparse
import json
import sys

import keras
import numpy as np
import tensorflow as tf
from measure import ROUNDS
from measure import growth
from measure import peak_memory
from measure import print_header
from measure import print_table
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


FUNCTIONS = {
    "Keras": keras_peer,
    "ours, blockwise": ours("blockwise"),
    "ours, dense": ours("dense"),
}
PATHS = {"graph": False, "XLA": True}


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


def arrays_of(batch, length):
    generator = np.random.default_rng(0)
    shape = (batch, length, UNITS)
    return [
        generator.normal(size=shape).astype("float32"),
        generator.normal(size=shape).astype("float32"),
        0.1 * generator.normal(size=(UNITS,)).astype("float32"),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cell", nargs=5)
    options = parser.parse_args()
    if options.cell:
        name, path, direction, *sizes = options.cell
        cell(name, path, direction == "forward+backward", *map(int, sizes))
        return
    sizes = (options.batch, options.length)
    arrays = arrays_of(*sizes)
    check(arrays)
    tensors = [tf.constant(array) for array in arrays]
    print_header(f"Additive attention, {(*sizes, UNITS)}, milliseconds and MiB")
    for direction in ("forward", "forward+backward"):
        functions = {
            (name, path): timed(name, path, "backward" in direction, tensors)
            for name in FUNCTIONS
            for path in PATHS
        }
        peaks = {
            case: peak_memory(sys.argv[0], *case, direction, *sizes)
            for case in functions
        }
        timings = time_in_turns(functions, options.rounds)
        print_against_each_peer(direction, timings, peaks)


def print_against_each_peer(direction, timings, peaks):
    peers = [("Keras", path) for path in PATHS]
    rows = []
    for case, timing in timings.items():
        rows.append(
            [
                ", ".join(case),
                f"{timing.median:.0f}",
                f"{timing.fastest:.0f}",
                *(f"{timings[p].median / timing.median:.2f}" for p in peers),
                "-" if peaks[case] is None else f"{peaks[case]:.0f}",
            ]
        )
    print(f"\n{direction}\n")
    against = [f"times {', '.join(peer)}" for peer in peers]
    print_table(["", "median", "fastest", *against, "peak MiB"], rows)


def timed(name, path, backward, tensors):
    """Returns a function that runs once, and is done when it returns."""

    @tf.function(jit_compile=PATHS[path])
    def run(*tensors):
        if not backward:
            return FUNCTIONS[name](*tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(tf.square(FUNCTIONS[name](*tensors)))
        return tape.gradient(loss, tensors)

    return lambda: [x.numpy() for x in tf.nest.flatten(run(*tensors))]


def cell(name, path, backward, batch, length):
    """Prints by how many MiB one call grows this process."""

    def call(batch, length):
        tensors = [tf.constant(array) for array in arrays_of(batch, length)]
        timed(name, path, backward, tensors)()

    call(1, 64)
    print(json.dumps(growth(lambda: call(batch, length))))


if __name__ == "__main__":
    main()
