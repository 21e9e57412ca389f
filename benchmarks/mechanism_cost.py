"""Time and memory of attention as lengths grow, one kind after the other.

python benchmarks/mechanism_cost.py [--lengths 128,512,2048]
    [--kinds mechanisms,sequences] [--rounds 5] [--quick]

A target of so many queries against as many keys, forward and backward, graph
mode, batch 1, width 64. `mechanisms` are those of decoders; what remembers
goes through its queries in a loop. `sequences` are the layers of whole
sequences, with 4 heads. Memory is that of a fresh process.
"""

import json
import sys

import measure
from mechanism_kinds import mechanisms

WIDTH, HEADS = 64, 4
WARM = 16  # length of the call before, which pays for all but the length
ROUNDS = 5
LENGTHS = {"mechanisms": (128, 512, 2048), "sequences": (512, 2048, 8192)}


def sequences():
    import keras_attention as ka

    size = {"num_heads": HEADS, "key_dim": WIDTH // HEADS}
    return {
        "MultiHeadAttention": lambda: ka.MultiHeadAttention(**size),
        "... window of 64": lambda: ka.MultiHeadAttention(
            **size, sliding_window=64
        ),
        "LinearAttention": lambda: ka.LinearAttention(**size),
        "LowRankAttention, 64": lambda: ka.LowRankAttention(
            **size, rank=64, max_length=max(LENGTHS["sequences"])
        ),
        "PooledAttention, 8": lambda: ka.PooledAttention(**size, pool_size=8),
    }


def kinds_of(kind):
    return mechanisms(WIDTH) if kind == "mechanisms" else sequences()


def step_of(layer):
    import tensorflow as tf

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x, x, training=True)))
        return tape.gradient(loss, [x, *layer.trainable_variables])

    return step


def cell(kind, name, length):
    """Prints milliseconds and MiB of one layer at one length."""
    import numpy as np
    import tensorflow as tf

    layer = kinds_of(kind)[name]()
    generator = np.random.default_rng(0)

    def example(length):
        x = generator.normal(size=(1, length, WIDTH)).astype("float32")
        return tf.constant(x)

    step = step_of(layer)
    measure.finish(step(example(WARM)))
    x = example(length)
    grown = measure.growth(lambda: measure.finish(step(x)))
    timing = measure.time_in_turns({name: lambda: step(x)}, ROUNDS)[name]
    print(json.dumps([timing.median, grown]))


def main():
    parser = measure.parser_of(
        __doc__, kinds=("mechanisms", "sequences"), lengths=(0,)
    )
    options = parser.parse_args()
    for kind in options.kinds:
        lengths = LENGTHS[kind] if options.lengths == (0,) else options.lengths
        lengths = lengths[:1] if options.quick else lengths
        measure.print_header(f"Cost of {kind}: ms and MiB, forward + backward")
        rows = []
        for name in kinds_of(kind):
            row = [name]
            for length in lengths:
                found = measure.run_cell(__file__, kind, name, length)
                row.append(
                    "-" if found is None else f"{found[0]:.1f}, {found[1]:.0f}"
                )
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
        measure.print_table(["", *map(str, lengths)], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cell"]:
        cell(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
