"""Spoken digits joined, on recordings longer than any of the training.

python benchmarks/joined_digits.py --data FOLDER [--epochs 16]
    [--only "monotonic,location-sensitive"]

FOLDER holds the Free Spoken Digit Dataset: `{digit}_{speaker}_{index}.wav`,
8 kHz. Recordings 0 to 4 of each digit and speaker, the official test, are not
trained on. A decoder with each mechanism learns from one to eight digits said
one after the other, and writes down up to five times as many: what content
alone finds again and again, a mechanism that remembers where it was finds once
(Chorowski et al. 2015, arXiv 1506.07503, figure 3).
"""

import argparse
import pathlib
import time

import keras
import numpy as np
from mechanism_kinds import mechanisms

import keras_attention as ka
from keras_attention.examples.speech_files import RATE
from keras_attention.examples.speech_files import read_recordings

WINDOW, HOP = 200, 160  # samples
BANDS, STACKED = 20, 3  # mel bands of a frame, frames of a position
TRAINED, TESTED = range(1, 9), (8, 16, 24, 40)
SEQUENCES, TESTS, BATCH = 4096, 100, 64
UNITS = 64


def features(folder, indices):
    """Returns the features of each digit's recordings, a list of lists."""
    recordings = read_recordings(pathlib.Path(folder), indices)
    return [[features_of(take) for take in takes] for takes in recordings]


def features_of(samples):
    """Returns log mel energies, (positions, BANDS * STACKED)."""
    samples = samples / np.float32(2**15)
    samples = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), 256)) ** 2
    energies = np.log(spectrum @ mel_bands() + 1e-6)  # (frames, BANDS)
    energies = np.pad(energies, ((0, -len(energies) % STACKED), (0, 0)), "edge")
    return energies.reshape(-1, BANDS * STACKED).astype("float32")


def mel_bands():
    """Returns triangles that are even on the mel scale, (129, BANDS)."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    hertz = np.linspace(0, RATE / 2, 129)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def joined(side, counts, number, generator):
    """Returns features, padded with zeros, and the digits as ids."""
    sources, targets = [], []
    for _ in range(number):
        digits = generator.integers(0, 10, generator.choice(counts))
        parts = [side[d][generator.integers(len(side[d]))] for d in digits]
        sources.append(np.concatenate(parts))
        targets.append([1, *(digits + 4), 2])  # BOS ... EOS
    longest = [max(map(len, rows)) for rows in (sources, targets)]
    source = np.zeros((number, longest[0], BANDS * STACKED), "float32")
    target = np.zeros((number, longest[1]), "int32")
    for row, (one, ids) in enumerate(zip(sources, targets, strict=True)):
        source[row, : len(one)] = one
        target[row, : len(ids)] = ids
    return source, target


def new_model(mechanism):
    frames = keras.Input((None, BANDS * STACKED))
    x = keras.layers.Masking()(frames)
    x = keras.layers.Dense(UNITS, activation="relu")(x)
    x = keras.layers.Bidirectional(
        keras.layers.GRU(UNITS // 2, return_sequences=True, use_cudnn=False)
    )(x)
    decoder = ka.RNNDecoder(14, UNITS, mechanism, cell="gru")
    return ka.Seq2Seq(keras.Model(frames, x), decoder, max_length=48)


def error_rate(model, source, target):
    """Returns edits per digit, in per cent, of greedy answers."""
    edits = digits = 0
    tokens = model.generate(source, max_length=2 * target.shape[1]).tokens
    for found, wanted in zip(tokens[:, 0], target, strict=True):
        found, wanted = (row[row > 3].tolist() for row in (found, wanted))
        edits += ka.training.edit_distance(found, wanted)
        digits += len(wanted)
    return 100 * edits / digits


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="folder of recordings")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--only", help="mechanisms, with commas between")
    options = parser.parse_args()
    kinds = mechanisms(UNITS // 2)
    names = options.only.split(",") if options.only else list(kinds)
    trained = features(options.data, range(5, 50))
    tested = features(options.data, range(5))
    generator = np.random.default_rng(0)
    source, target = joined(trained, TRAINED, SEQUENCES, generator)
    mean, deviation = (
        f(source[source[..., 0] != 0]) for f in (np.mean, np.std)
    )

    def scaled(source):
        real = np.any(source != 0, axis=-1, keepdims=True)
        return np.where(real, (source - mean) / deviation, 0).astype("float32")

    tests = [
        joined(tested, [n], TESTS, np.random.default_rng(n)) for n in TESTED
    ]
    heads = " | ".join(f"{n} digits" for n in TESTED)
    print(f"| mechanism | {heads} | seconds an epoch |")
    print("|---" * (len(TESTED) + 2) + "|", flush=True)
    for name in names:
        keras.utils.set_random_seed(0)
        model = new_model(kinds[name]())
        model.compile(
            keras.optimizers.Adam(2e-3, global_clipnorm=5.0),
            ka.training.MaskedCrossentropy(),
            jit_compile=True,
        )
        inputs = {"source": scaled(source), "target": target[:, :-1]}
        start = time.perf_counter()
        model.fit(
            inputs,
            target[:, 1:],
            batch_size=BATCH,
            epochs=options.epochs,
            verbose=0,
        )
        seconds = (time.perf_counter() - start) / options.epochs
        rates = [error_rate(model, scaled(s), t) for s, t in tests]
        cells = " | ".join(f"{rate:.1f}" for rate in rates)
        print(f"| {name} | {cells} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
