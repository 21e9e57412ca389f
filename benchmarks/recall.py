"""Associative recall: one layer of attention guesses, two layers know.

python benchmarks/recall.py [--steps 5000] [--only "1 layer;2 layers"]

A sequence names pairs of a key and a value, then each key again in another
order; what follows a key is its value. One layer can attend to the key or to
the value after it, not to one by way of the other (Olsson et al. 2022, arXiv
2209.11895). With a window of w positions, n layers see n * w positions back.
The second layer learns late and all at once; without warm-up, or with dropout,
it did not in as many steps.
"""

import argparse
import time

import keras
import numpy as np

import keras_attention as ka

PAIRS, KEYS, VALUES, BATCH, UNITS = 8, 16, 16, 64, 64
FIRST_VALUE, IDS = 4 + KEYS, 4 + KEYS + VALUES

MODELS = {
    "1 layer": {"num_layers": 1},
    "2 layers": {"num_layers": 2},
    "2 layers, window of 4": {
        "num_layers": 2,
        "attention_options": ka.layers.AttentionOptions(sliding_window=4),
    },
    "2 layers, ALiBi": {"num_layers": 2, "position": ka.AlibiBias(2)},
}


def sequences(number, generator):
    """Returns ids (number, 4 * PAIRS), each pair named twice."""
    keys = np.argsort(generator.random((number, KEYS)), axis=1)[:, :PAIRS]
    values = generator.integers(0, VALUES, (number, PAIRS))
    pairs = np.stack([keys + 4, values + FIRST_VALUE], axis=-1)
    order = np.argsort(generator.random((number, PAIRS)), axis=1)
    again = np.take_along_axis(pairs, order[..., None], axis=1)
    return np.concatenate([pairs, again], axis=1).reshape(number, -1)


def batches(steps):
    generator = np.random.default_rng(0)
    for _ in range(steps):
        ids = sequences(BATCH, generator)
        asked = np.zeros((BATCH, 4 * PAIRS - 1), "float32")
        asked[:, 2 * PAIRS :: 2] = 1  # what follows a key named again
        yield ids[:, :-1], ids[:, 1:], asked


def share_right(model):
    """Returns the share of values that are recalled, in per cent."""
    ids = sequences(512, np.random.default_rng(1))
    logits = model.predict(ids[:, :-1], verbose=0)
    right = logits.argmax(axis=-1) == ids[:, 1:]
    return 100 * right[:, 2 * PAIRS :: 2].mean()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--only", help="models, with semicolons between")
    options = parser.parse_args()
    names = options.only.split(";") if options.only else list(MODELS)
    print("| model | values recalled, % | seconds |\n|---|---|---|")
    for name in names:
        keras.utils.set_random_seed(0)
        decoder = ka.DecoderOnlyTransformer(
            IDS, UNITS, num_heads=2, dropout=0.0, **MODELS[name]
        )
        ids = keras.Input((None,), dtype="int32")
        model = keras.Model(ids, decoder(ids))
        rates = keras.optimizers.schedules.CosineDecay(
            0.0, options.steps, warmup_target=1e-3, warmup_steps=500
        )
        model.compile(
            keras.optimizers.Adam(rates),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=True,
        )
        start = time.perf_counter()
        model.fit(
            batches(options.steps), steps_per_epoch=options.steps, verbose=0
        )
        seconds = time.perf_counter() - start
        print(
            f"| {name} | {share_right(model):.1f} | {seconds:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
