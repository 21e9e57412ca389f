"""Spoken digits, one at a time: which is it?

    python -m keras_attention.examples.spoken_words --data DIR

Samples go in: the first layer makes mel energies of them, two bidirectional
LSTMs read those, and attention pooling makes one vector of the whole. The
speakers of the test are those of the training, as the data has it.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.examples import speech_files as files
from keras_attention.examples import task
from keras_attention.examples.fitting import fit_all
from keras_attention.examples.speech_encoder import new_encoder
from keras_attention.examples.task import Result

RECIPE = {
    "units": 128,
    "num_layers": 2,
    "dropout": 0.2,
    "epochs": 30,
    "steps": 64,  # batches in an epoch
    "learning_rate": 3e-3,
}
QUICK = {"units": 8, "num_layers": 1, "epochs": 1, "steps": 2}


def run(options: Any) -> Result:
    """Trains a model, and measures it on the official test."""
    import keras

    sides = files.read_sides(options.data)
    model = new_model(options)
    minutes = fit_all(
        model,
        batches(sides["training"], options.seed),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        options=options,
        steps=options.steps,
    )
    model.save(options.output / "spoken_words.keras")
    figures = [
        f"{accuracy(model, sides[side]):.2%} of {side}"
        for side in ("validation", "test")
    ]
    return Result(
        task="spoken digits, one at a time",
        data=files.DATA,
        parameters=model.count_params(),
        minutes=minutes,
        figure=", ".join(figures),
        published="none",
    )


def new_model(options: Any) -> Any:
    """Returns a model from samples to the logits of ten digits."""
    import keras

    import keras_attention as ka

    encoder = new_encoder(options.units, options.num_layers, options.dropout)
    attention = ka.AdditiveAttention(options.units)
    x = ka.AttentionPooling(attention=attention)(encoder.output)  # (B, units)
    return keras.Model(encoder.input, keras.layers.Dense(10)(x))


def batches(recordings: files.Recordings, seed: int) -> Any:
    """Yields samples and digits for ever."""
    for samples, texts in files.batches(recordings, [[1]], seed):
        yield samples, np.array([files.WORDS.index(text) for text in texts])


def accuracy(model: Any, recordings: files.Recordings) -> float:
    """Returns the share of recordings that are understood."""
    generator = np.random.default_rng(0)
    rows = [files.said([x], generator) for takes in recordings for x in takes]
    digits = np.repeat(np.arange(10), [len(takes) for takes in recordings])
    found = model.predict(files.padded(rows), verbose=0).argmax(axis=-1)
    return np.mean(found == digits)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="spoken_words",
        description="Learn to understand spoken digits, one at a time.",
        recipe=RECIPE,
        quick=QUICK,
        source=files.SOURCE,
        write_sample=files.write_sample,
    )


if __name__ == "__main__":
    sys.exit(main())
