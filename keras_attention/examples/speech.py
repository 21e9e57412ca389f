"""Spoken digits, several in a row: speech to text.

    python -m keras_attention.examples.speech --data DIR

Three to eight recordings become text, "three one four", by a `Seq2Seq` whose
decoder attends in one of two ways: `location-sensitive` sees where it attended
to before (Chorowski et al. 2015, arXiv 1506.07503), `monotonic` only moves on
(Raffel et al. 2017, arXiv 1704.00784). Ten to twelve digits are more than they
learn from. The data has the same speakers in training and test.
"""

import sys
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.examples import fitting
from keras_attention.examples import speech_files as files
from keras_attention.examples import task
from keras_attention.examples.speech_encoder import new_encoder

LENGTHS = ((3, 4), (5, 6), (7, 8))  # digits of training, by batch
MEASURED = (("validation", 3, 8), ("test", 3, 8), ("test", 10, 12))
MODELS = ["location-sensitive", "monotonic"]
RECIPE = {
    "models": MODELS,
    "units": 128,
    "num_layers": 2,
    "dropout": 0.2,
    "epochs": 30,
    "steps": 64,  # batches in an epoch
    "learning_rate": 3e-3,
    "tests": 300,  # sequences that are measured, of each kind
}
QUICK = {"models": MODELS[:1], "units": 8, "num_layers": 1, "epochs": 1}
QUICK |= {"steps": 3, "tests": 2}


def run(options: Any) -> Iterator[task.Result]:
    """Trains and measures each model."""
    from keras_attention.training import MaskedCrossentropy

    sides = files.read_sides(options.data)
    for kind in options.models:
        print(f"\n{kind}", flush=True)
        model = new_model(kind, options)
        minutes = fitting.fit_all(
            model,
            batches(sides["training"], model.target_vocabulary, options.seed),
            loss=MaskedCrossentropy(),
            options=options,
            steps=options.steps,
        )
        model.save_folder(options.output / kind, overwrite=True)
        with task.optional_picture():
            draw(model, sides["test"], options.output / f"{kind}.png")
        figures = [measure(model, sides, *x, options.tests) for x in MEASURED]
        numbers = (model.count_params(), minutes, "; ".join(figures), "none")
        yield task.Result(f"speech, {kind}", files.DATA, *numbers)


def new_mechanism(kind: str, units: int) -> Any:
    """Returns an attention mechanism of a kind."""
    import keras_attention as ka

    if kind == "location-sensitive":
        return ka.LocationSensitiveAttention(
            units, filters=16, kernel_size=15, cumulative=True
        )
    # At first a query walks on by e^3 positions, about two digits. So much
    # noise makes its stops all but certain, as they are outside training.
    score = ka.AdditiveAttention(units, normalize=True)
    return ka.MonotonicAttention(score=score, score_bias=-3.0, noise=3.0)


def new_model(kind: str, options: Any) -> Any:
    """Returns a model from samples to words."""
    import keras_attention as ka

    words = ka.Vocabulary.build(files.WORDS, unit="words")
    units, rate = options.units, options.dropout
    decoder = ka.RNNDecoder(
        len(words), units, new_mechanism(kind, units), cell="gru", dropout=rate
    )
    encoder = new_encoder(units, options.num_layers, rate)
    return ka.Seq2Seq(encoder, decoder, 16, target_vocabulary=words)


def batches(recordings: files.Recordings, words: Any, seed: int) -> Any:
    """Yields batches for ever: samples, ids of what is said, and labels."""
    for samples, texts in files.batches(recordings, LENGTHS, seed):
        ids = words.encode(texts).numpy()
        ids = np.pad(ids, ((0, 0), (1, 0)), constant_values=1)  # BOS
        yield {"source": samples, "target": ids[:, :-1]}, ids[:, 1:]


def measure(
    model: Any, sides: dict, side: str, least: int, most: int, tests: int
) -> str:
    """Returns the shares of sequences right, and of digits wrong."""
    from keras_attention import training

    generator = np.random.default_rng(least)
    spoken = [
        files.sequence(sides[side], count, generator)
        for count in generator.integers(least, most + 1, tests)
    ]
    samples, texts = zip(*spoken, strict=True)
    found = model.generate(files.padded(samples)).texts[:, 0]
    right = f"{training.exact_match(texts, found):.1%} right"
    wrong = f"digit error rate {training.error_rate(texts, found, 'words'):.1%}"
    return f"{side} of {least} to {most} digits: {right}, {wrong}"


def draw(model: Any, recordings: files.Recordings, path: Any) -> None:
    """Draws where in a sequence the model found each word."""
    from keras_attention import plots

    samples, _ = files.sequence(recordings, 6, np.random.default_rng(0))
    result = model.generate(files.padded([samples]))
    names = [*result.texts[0, 0].split(), "<eos>"]
    weights = result.alignments[0, 0, : len(names)]  # (T, S)
    figure = plots.plot_alignment(weights, None, names[: len(weights)])
    plots.save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="speech",
        description="Learn to write down spoken digits, several in a row.",
        recipe=RECIPE,
        quick=QUICK,
        source=files.SOURCE,
        write_sample=files.write_sample,
        choices={"models": MODELS},
    )


if __name__ == "__main__":
    sys.exit(main())
