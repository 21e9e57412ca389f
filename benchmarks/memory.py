"""Peak memory of one call, each in a fresh process, by length.

python benchmarks/memory.py [--lengths 1024,4096,16384]
"""

import argparse
import json
import sys

import measure

KERNELS = ("dot product", "additive")
IMPLEMENTATIONS = ("dense", "blockwise")


def cell(kernel, implementation, path, length):
    """Prints by how many MiB forward and backward grow this process."""
    import numpy as np
    import tensorflow as tf

    from keras_attention import masks
    from keras_attention.functional import AdditiveScore
    from keras_attention.functional import DotProductScore
    from keras_attention.functional import attend

    additive = kernel == "additive"
    heads, width = (1, 256) if additive else (8, 64)
    score = AdditiveScore(tf.ones(width)) if additive else DotProductScore()

    @tf.function(jit_compile=path == "XLA", reduce_retracing=False)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = attend(
                query=x,
                key=x,
                value=x,
                score=score,
                mask=masks.Causal(),
                implementation=implementation,
            )
            loss = tf.reduce_sum(tf.square(output))
        return tape.gradient(loss, x)

    def call(length):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(1, length, heads, width)).astype("float32")
        return run(tf.constant(x)).numpy()

    call(64)
    print(json.dumps(measure.growth(lambda: call(length))))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", default="1024,4096,16384")
    parser.add_argument("--cell", nargs=4)
    options = parser.parse_args()
    if options.cell:
        *names, length = options.cell
        cell(*names, int(length))
        return
    lengths = [int(length) for length in options.lengths.split(",")]
    measure.print_header("Peak memory, forward+backward, causal, MiB")
    rows = []
    for kernel in KERNELS:
        for implementation in IMPLEMENTATIONS:
            for path in ("graph", "XLA"):
                case = (kernel, implementation, path)
                peaks = [
                    measure.peak_memory(sys.argv[0], *case, length)
                    for length in lengths
                ]
                shown = ["-" if p is None else f"{p:.0f}" for p in peaks]
                rows.append([", ".join(case), *shown])
    measure.print_table(["", *map(str, lengths)], rows)


if __name__ == "__main__":
    main()
