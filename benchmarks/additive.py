"""Additive attention beside Keras's: time and memory, with all gradients.

python benchmarks/additive.py [--quick] [--lengths 512] [--batches 8]
    [--passes forward,backward] [--rounds 7]

Backward means forward and the gradients of query, key and vector.
"""

import json
import sys

import keras
import measure
import numpy as np
import tensorflow as tf

from keras_attention.functional import AdditiveScore
from keras_attention.functional import attend

UNITS = 256
QUERIES = 16  # that are checked


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


def theirs(query, key, vector):
    """What `keras.layers.AdditiveAttention` computes, its scale given."""
    scores = tf.reduce_sum(
        vector * tf.tanh(query[:, :, None] + key[:, None]), axis=-1
    )
    return tf.matmul(tf.nn.softmax(scores), key)


FUNCTIONS = {
    "Keras": theirs,
    "ours, blockwise": ours("blockwise"),
    "ours, dense": ours("dense"),
}
PATHS = {"graph": False, "XLA": True}


def timed(name, path, passed, tensors):
    """Returns a function of no arguments: one call."""

    @tf.function(jit_compile=PATHS[path], autograph=False)
    def run(*tensors):
        if passed == "forward":
            return FUNCTIONS[name](*tensors)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = FUNCTIONS[name](*tensors)
            loss = tf.reduce_sum(tf.square(output))
        return output, *tape.gradient(loss, tensors)

    return lambda: run(*tensors)


def arrays_of(batch, length):
    generator = np.random.default_rng(0)
    shape = (batch, length, UNITS)
    return [
        generator.normal(size=shape).astype("float32"),
        generator.normal(size=shape).astype("float32"),
        0.1 * generator.normal(size=(UNITS,)).astype("float32"),
    ]


def reference(arrays):
    """Output and query gradient of the first row, first queries."""
    query, key, vector = (x.astype("float64") for x in arrays)
    query, key = query[0, :QUERIES], key[0]
    tanh = np.tanh(query[:, None] + key)
    powers = np.exp(tanh @ vector)
    weights = powers / powers.sum(axis=-1, keepdims=True)
    output = weights @ key
    slopes = 2 * output @ key.T
    slopes -= 2 * np.sum(output * output, axis=-1, keepdims=True)
    scores = weights * slopes
    slopes = np.einsum("ts,tsu->tu", scores, (1 - tanh**2) * vector)
    return output, slopes


def check(functions, passed, arrays):
    layer = keras.layers.AdditiveAttention()
    layer.build([arrays[0].shape, arrays[1].shape])
    layer.set_weights([arrays[2]])
    output, gradient = reference(arrays)
    few = arrays[0][:1, :QUERIES], arrays[1][:1]
    peer = {"keras.layers.AdditiveAttention": lambda: [layer(list(few))[0]]}
    measure.check(peer, [output])

    def cut(result):
        results = result[:2] if passed == "backward" else [result]
        return [measure.view(x)[0, :QUERIES] for x in results]

    expected = [output, gradient] if passed == "backward" else [output]
    measure.check(functions, expected, cut)


def time_case(batch, length, passed, rounds):
    arrays = arrays_of(batch, length)
    tensors = [tf.constant(array) for array in arrays]
    functions = {
        (name, path): timed(name, path, passed, tensors)
        for name in FUNCTIONS
        for path in PATHS
    }
    check(functions, passed, arrays)
    sizes = (passed, batch, length)
    peaks = {
        case: measure.run_cell(sys.argv[0], *case, *sizes) for case in functions
    }
    timings = measure.time_in_turns(functions, rounds)
    peers = [timings["Keras", path].median for path in PATHS]
    rows = [
        [
            ", ".join(case),
            f"{timing.median:.1f}",
            f"{timing.fastest:.1f}",
            *(f"{peer / timing.median:.2f}" for peer in peers),
            "failed" if peaks[case] is None else f"{peaks[case]:.0f}",
        ]
        for case, timing in timings.items()
    ]
    print(f"\n{passed}, batch {batch}, {length} queries and keys\n")
    against = [f"times Keras, {path}" for path in PATHS]
    columns = ["", "median ms", "fastest ms", *against, "peak MiB"]
    measure.print_table(columns, rows)


def cell(name, path, passed, batch, length):
    """Prints by how many MiB one call makes this process grow."""

    def call(batch, length):
        tensors = [tf.constant(array) for array in arrays_of(batch, length)]
        measure.finish(timed(name, path, passed, tensors)())

    call(1, 64)
    print(json.dumps(measure.growth(lambda: call(int(batch), int(length)))))


def main():
    parser = measure.parser_of(
        __doc__,
        lengths=(512,),
        batches=(8,),
        passes=("forward", "backward"),
    )
    parser.add_argument("--cell", nargs=5)
    options = parser.parse_args()
    if options.cell:
        cell(*options.cell)
        return
    if options.quick:
        options.lengths, options.batches = (128,), (2,)
    measure.print_header(f"Additive attention, {UNITS} units")
    for batch in options.batches:
        for length in options.lengths:
            for passed in options.passes:
                time_case(batch, length, passed, options.rounds)


if __name__ == "__main__":
    main()
