"""How long the first training step of a Transformer takes: Python's tracing.

Before a model learns anything, `fit` traces its training step, and compiles it
if asked to, which is most of the first step's time. A Transformer of 6 + 6
layers, otherwise that of `sequence_models.py`, takes the first step of `fit`:

- lengths known: one batch of fixed shape, as without buckets;
- lengths unknown: the step is traced for lengths that differ from batch to
  batch, as bucketed data makes `fit` do.

Each figure is taken in a fresh process.

    python benchmarks/tracing.py
    python benchmarks/tracing.py --layers 3 --rounds 1 --paths graph,XLA
"""

import statistics
import sys
import time

import measure

SIZES = {"batch": 8, "length": 16}
ROUNDS = 3
# The sinusoids of the plain model need a length.
CELLS = (("Keras", "known"), ("ours", "known"), ("ours", "unknown"))


def first_step(name, layers, lengths, path):
    """Returns the seconds of a model's first training step."""
    import keras
    import sequence_models
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    sizes = {**sequence_models.SIZES, **SIZES, "layers": layers}
    inputs, labels = sequence_models.batch_of(sizes)
    model = sequence_models.MODELS[name](0.1, **sizes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=path == "XLA")
    shape = (None, None) if lengths == "unknown" else labels.shape
    spec = tf.TensorSpec(shape, tf.int32)
    data = tf.data.Dataset.from_generator(
        lambda: [(inputs, labels)],
        output_signature=({"source": spec, "target": spec}, spec),
    )
    start = time.perf_counter()
    model.fit(data, epochs=1, steps_per_epoch=1, verbose=0)
    return time.perf_counter() - start


def main():
    parser = measure.parser_of(__doc__, layers=(6,), paths=("graph",))
    arguments = parser.parse_args()
    layers = 1 if arguments.quick else arguments.layers[0]
    rounds = 1 if arguments.quick else min(arguments.rounds, ROUNDS)
    measure.print_header(
        f"First training step of a {layers} + {layers} Transformer, seconds"
    )
    cells = [(*cell, path) for path in arguments.paths for cell in CELLS]
    times = {cell: [] for cell in cells}
    for _ in range(rounds):
        for (name, lengths, path), found in times.items():
            cell = name, layers, lengths, path
            found.append(measure.run_cell(__file__, *cell))
    rows = [
        [name, f"lengths {lengths}", path, f"{statistics.median(found):.1f}"]
        for (name, lengths, path), found in times.items()
    ]
    measure.print_table(["", "", "", "median s"], rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cell"]:
        name, layers, lengths, path = sys.argv[2:]
        print(first_step(name, int(layers), lengths, path))
    else:
        main()
