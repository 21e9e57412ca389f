"""Recordings of spoken digits: read, said one after the other, in batches."""

import pathlib
import wave
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np

from keras_attention.examples.task import reading

DATA = "Free Spoken Digit Dataset"
SOURCE = (
    f"the {DATA} (CC BY-SA 4.0), "
    "github.com/Jakobovski/free-spoken-digit-dataset, its folder `recordings`"
)
RATE = 8000
WORDS = "zero one two three four five six seven eight nine".split()
# The indices of the recordings of each digit and speaker. Those of the test
# are the official ones.
SIDES = {"training": range(10, 50), "validation": range(5, 10)}
SIDES["test"] = range(5)
WINDOW, HOP = 256, 128  # samples of a spectrum, and from one to the next
STACKED = 4  # spectra in a position: 64 ms
DIGIT = 5000  # samples that a digit gets in training, with its silence
BATCH = 64
Recordings = list[list[np.ndarray]]


def read_recordings(folder: pathlib.Path, indices: Sequence[int]) -> Recordings:
    """Returns the recordings of each digit, in units of 16 bits.

    Args:
        folder: has files `{digit}_{speaker}_{index}.wav` of 8 kHz, 16 bits.
        indices: which to read.
    """
    recordings = [[] for _ in WORDS]
    for path in sorted(folder.glob("[0-9]_*_*.wav")):
        digit, _, index = path.stem.rsplit("_", 2)
        if index.isdecimal() and int(index) in indices:
            expected = "samples of 16 bits, 8 kHz, one channel"
            with reading(path, expected), wave.open(str(path)) as file:
                if file.getparams()[:3] != (1, 2, RATE):
                    raise ValueError(str(file.getparams()))
                samples = np.frombuffer(file.readframes(-1), "<i2")
            recordings[int(digit)].append(samples.astype("float32"))
    if not all(recordings):
        raise ValueError(
            "`--data` must name a folder that holds recordings such as "
            f"'0_george_{indices[0]}.wav', of each digit. Received: "
            f"{str(folder)!r}, which does not. They are {SOURCE}"
        )
    return recordings


def read_sides(folder: pathlib.Path) -> dict[str, Recordings]:
    """Returns the recordings of training, validation and test."""
    return {
        side: read_recordings(folder, indices)
        for side, indices in SIDES.items()
    }


def write_sample(folder: pathlib.Path) -> None:
    """Writes a few recordings, in which each digit is a tone."""
    for digit in range(10):
        for index in (0, 5, 10, 11):
            times = np.arange(1200 + 100 * index) / RATE
            tone = 4000 * np.sin(2 * np.pi * 300 * (digit + 1) * times)
            name = f"{digit}_generated_{index}.wav"
            with wave.open(str(folder / name), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", None))
                file.writeframes(tone.astype("<i2").tobytes())


def said(
    takes: Sequence[np.ndarray],
    generator: np.random.Generator,
    vary: bool = False,
) -> np.ndarray:
    """Returns recordings one after the other, a silence around each.

    Args:
        takes: the recordings.
        generator: draws silences and noise.
        vary: whether to change the speed and the loudness of each recording,
            and how much noise there is, as training does.
    """
    parts = [np.zeros(generator.integers(RATE // 8))]
    for samples in takes:
        if vary:
            speed, gain = np.exp(generator.uniform([-0.1, -0.7], [0.1, 0.7]))
            times = np.arange(0, len(samples) - 1, speed)
            samples = np.interp(times, np.arange(len(samples)), samples) * gain
        parts += [samples, np.zeros(generator.integers(RATE // 8))]
    samples = np.concatenate(parts)
    noise = np.exp(generator.uniform(-1, 4)) if vary else 1.0
    samples += noise * generator.standard_normal(len(samples))
    return samples.astype("float32")


def sequence(
    recordings: Recordings,
    count: int,
    generator: np.random.Generator,
    vary: bool = False,
) -> tuple[np.ndarray, str]:
    """Returns so many digits said one after the other, and their words."""
    digits = generator.integers(10, size=count)
    takes = [
        recordings[d][generator.integers(len(recordings[d]))] for d in digits
    ]
    text = " ".join(WORDS[digit] for digit in digits)
    return said(takes, generator, vary), text


def padded(rows: Sequence[np.ndarray], samples: int = 0) -> np.ndarray:
    """Returns rows ended by zeros, (number, whole positions), float32."""
    # One window more: a spectrogram mirrors the end.
    samples = max(samples, max(map(len, rows)) + WINDOW)
    samples += -samples % (HOP * STACKED)
    return np.stack([np.pad(row, (0, samples - len(row))) for row in rows])


def batches(
    recordings: Recordings,
    buckets: Sequence[Sequence[int]],
    seed: int,
) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yields samples and texts for ever, in few shapes.

    Args:
        recordings: those of each digit.
        buckets: the numbers of digits that share a batch, one batch after
            the other.
        seed: of all that is drawn.
    """
    generator = np.random.default_rng(seed)
    while True:
        for bucket in buckets:
            rows, texts = [], []
            longest = (max(bucket) + 1) * DIGIT
            while len(rows) < BATCH:
                count = bucket[len(rows) % len(bucket)]
                row, text = sequence(recordings, count, generator, vary=True)
                if len(row) <= longest:
                    rows.append(row)
                    texts.append(text)
            yield padded(rows, longest + WINDOW), texts
