"""Layers at the lengths of sentences, a training step, and the import.

python benchmarks/layers.py [--quick] [--rounds 7]
    [--parts multi-head,single-head,seq2seq,import] [--lengths 32,128,512]
    [--passes forward,backward] [--rates 0.0,0.1] [--paths graph,XLA]

Backward means forward, backward and the gradient of every weight; a rate is
that of dropout, on in both passes. The training step is that of a model of
3 + 3 layers, made of this package and of plain layers of Keras.
"""

import subprocess
import sys

import keras
import measure
import numpy as np
import sequence_models
import tensorflow as tf

import keras_attention as ka
from keras_attention.training.kept_memory import keep_memory

BATCH, WIDTH, HEADS = 16, 256, 4
IMPORTS = 7


def numbers(*shape):
    generator = np.random.default_rng(0)
    return generator.normal(size=shape).astype("float32")


def timed(layer, call, tensors, passed, path):
    """Returns a function of no arguments that runs the layer."""

    @tf.function(jit_compile=path == "XLA", autograph=False)
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = call(layer, *tensors)
            loss = tf.reduce_sum(tf.square(output))
        if passed == "forward":
            return output
        weights = [weight.value for weight in layer.trainable_variables]
        return output, *tape.gradient(loss, [*tensors, *weights])

    return lambda: run(*tensors)


def compare(title, layers, call, arrays, options, reference=None):
    """Times layers of one result, each on every path.

    Args:
        title: what the layers are.
        layers: dict from name to layer; those whose name begins with "ours"
            are compared with the rest.
        call: function of a layer and tensors.
        arrays: what to call it with.
        options: the options of the script.
        reference: function of float64 arrays; None checks nothing, as where
            dropout draws other bits.
    """
    tensors = [tf.constant(array) for array in arrays]
    for passed in options.passes:
        functions = {
            f"{name}, {path}": timed(layer, call, tensors, passed, path)
            for name, layer in layers.items()
            for path in options.paths
        }
        if reference is not None:
            expected = reference(*(x.astype("float64") for x in arrays))

            def cut(result):
                return [result if hasattr(result, "shape") else result[0]]

            measure.check(functions, [expected], cut)
        timings = measure.time_in_turns(functions, options.rounds)
        names = {name for name in functions if name.startswith("ours")}
        measure.print_timings(f"{title}, {passed}", timings, names)


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def multi_head_reference(weights):
    """The definition in float64, without dropout."""
    query_kernel, query_bias, key_kernel, key_bias = weights[:4]
    value_kernel, value_bias, output_kernel, output_bias = weights[4:]

    def attention(x):
        query = np.einsum("btd,dnh->btnh", x, query_kernel) + query_bias
        key = np.einsum("btd,dnh->btnh", x, key_kernel) + key_bias
        value = np.einsum("btd,dnh->btnh", x, value_kernel) + value_bias
        scores = np.einsum("btnh,bsnh->bnts", query, key)
        weights = softmax(scores / np.sqrt(query.shape[-1]))
        heads = np.einsum("bnts,bsnh->btnh", weights, value)
        return np.einsum("btnh,nhd->btd", heads, output_kernel) + output_bias

    return attention


def multi_head(options):
    for length in options.lengths:
        arrays = [numbers(BATCH, length, WIDTH)]
        for rate in options.rates:
            layers = {
                "Keras": keras.layers.MultiHeadAttention(
                    HEADS, WIDTH // HEADS, dropout=rate
                ),
                "ours": ka.MultiHeadAttention(
                    HEADS, WIDTH // HEADS, dropout=rate
                ),
            }
            for layer in layers.values():
                layer.build(arrays[0].shape, arrays[0].shape)
            weights = layers["ours"].get_weights()[:8]
            for layer in layers.values():
                layer.set_weights([*weights, *layer.get_weights()[8:]])
            compare(
                f"MultiHeadAttention, batch {BATCH}, length {length}, "
                f"dropout {rate}",
                layers,
                lambda layer, x: layer(x, x, training=True),
                arrays,
                options,
                None if rate else multi_head_reference(weights),
            )


class Projected(keras.layers.Layer):
    """Keras's additive attention, with the projections that ours has."""

    def __init__(self, units):
        super().__init__()
        self.query_dense = keras.layers.Dense(units, use_bias=False)
        self.key_dense = keras.layers.Dense(units, use_bias=False)
        self.attention = keras.layers.AdditiveAttention()

    def build(self, query_shape, value_shape):
        self.query_dense.build(query_shape)
        self.key_dense.build(value_shape)
        shape = (*query_shape[:-1], self.query_dense.units)
        self.attention.build([shape, shape, shape])

    def call(self, query, value):
        query, key = self.query_dense(query), self.key_dense(value)
        return self.attention([query, value, key])


def additive_reference(query_kernel, key_kernel, vector):
    def attention(query, value):
        pairs = (query @ query_kernel)[:, :, None] + (value @ key_kernel)[
            :, None
        ]
        return softmax(np.tanh(pairs) @ vector) @ value

    return attention


def dot_reference(query, value):
    scores = query @ np.swapaxes(value, 1, 2) / np.sqrt(query.shape[-1])
    return softmax(scores) @ value


def single_head(options):
    for length in options.lengths:
        arrays = [numbers(BATCH, length, WIDTH) for _ in range(2)]
        shapes = [array.shape for array in arrays]
        layers = {
            "Keras": Projected(WIDTH),
            "ours": ka.AdditiveAttention(WIDTH),
        }
        for layer in layers.values():
            layer.build(*shapes)
        weights = layers["ours"].get_weights()
        layers["Keras"].set_weights(weights)
        compare(
            f"AdditiveAttention({WIDTH}), batch {BATCH}, length {length}",
            layers,
            lambda layer, *x: layer(*x),
            arrays,
            options,
            additive_reference(*weights),
        )
        theirs = keras.layers.Attention(use_scale=True)
        theirs.build([*shapes, shapes[1]])
        theirs.set_weights([np.array(WIDTH**-0.5)])
        compare(
            f"DotProductAttention, batch {BATCH}, length {length}",
            {"Keras": theirs, "ours": ka.DotProductAttention("scaled")},
            of_one_list,
            arrays,
            options,
            dot_reference,
        )


def of_one_list(layer, *tensors):
    """Calls a layer of either kind: Keras's takes its tensors in a list."""
    if isinstance(layer, keras.layers.Attention):
        return layer(list(tensors))
    return layer(*tensors)


def seq2seq(options):
    """A training step of both models, uncompiled and compiled."""
    sizes = sequence_models.SMALL if options.quick else sequence_models.SIZES
    batch = sequence_models.batch_of(sizes)
    tokens = sizes["batch"] * sizes["length"]
    keep_memory()  # for all models alike, as the command line does
    for rate in options.rates:
        steps = {
            f"{name}, {path}": sequence_models.training_step(
                make(rate, **sizes), batch, path == "XLA"
            )
            for name, make in sequence_models.MODELS.items()
            for path in options.paths
        }
        for name, step in steps.items():
            first, *_, last = (float(step()) for _ in range(5))
            if not last < first < 1.5 * np.log(sizes["vocabulary"]):
                raise ValueError(f"{name} does not learn: {first}, {last}")
        timings = measure.time_in_turns(steps, options.rounds)
        names = {name for name in steps if name.startswith("ours")}
        measure.print_timings(f"Training step, dropout {rate}", timings, names)
        rates = [
            f"{name} {1000 * tokens / timing.median:.0f}"
            for name, timing in timings.items()
        ]
        print(f"\nTarget tokens per second: {'; '.join(rates)}.", flush=True)


def import_time(options):
    """Time of the imports, each in a fresh process, in turns."""

    def process(module):
        code = (
            "import time; start = time.perf_counter(); import keras; "
            "middle = time.perf_counter(); "
            f"import {module}; end = time.perf_counter(); "
            "print(middle - start, end - middle)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
        )
        return [1000 * float(x) for x in done.stdout.split()]

    process("keras_attention")  # compiles to bytecode, fills the file cache
    count = 3 if options.quick else IMPORTS
    of_keras, of_ours = np.median(
        [process("keras_attention") for _ in range(count)], axis=0
    )
    measure.print_table(
        ["import", "median ms"],
        [
            ["keras", f"{of_keras:.0f}"],
            ["keras_attention, after keras", f"{of_ours:.0f}"],
        ],
    )


PARTS = {
    "multi-head": multi_head,
    "single-head": single_head,
    "seq2seq": seq2seq,
    "import": import_time,
}


def main():
    parser = measure.parser_of(
        __doc__,
        parts=tuple(PARTS),
        lengths=(32, 128, 512),
        passes=("forward", "backward"),
        rates=(0.0, 0.1),
        paths=("graph", "XLA"),
    )
    options = parser.parse_args()
    if options.quick:
        options.lengths = (32,)
    measure.print_header("Layers")
    for part in options.parts:
        PARTS[part](options)


if __name__ == "__main__":
    main()
