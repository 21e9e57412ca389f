"""A language model of characters, against n-grams of the same lines.

    python -m keras_attention.examples.characters --data FILE

trains a small Transformer on the lines of a text, and measures it on lines that
it has not seen: bits per character, the end of a line counted as one. The same
of a 6-gram model stands beside it. Then it writes a few lines of its own.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.examples import task
from keras_attention.examples.fitting import fit
from keras_attention.examples.ngrams import WittenBellModel
from keras_attention.examples.text_lines import SOURCE
from keras_attention.examples.text_lines import blocks_of
from keras_attention.examples.text_lines import read_lines
from keras_attention.examples.text_lines import rows_of
from keras_attention.examples.text_lines import split_lines
from keras_attention.examples.text_lines import write_sample

RECIPE = {
    "units": 128,
    "num_layers": 3,
    "num_heads": 4,
    "dropout": 0.1,
    "length": 128,
    "order": 6,
    "epochs": 20,
    "batch_size": 16,
    "learning_rate": 2e-3,
}
QUICK = {"units": 8, "num_layers": 1, "epochs": 1, "length": 16, "order": 3}


def bits_per_character(model: Any, rows: list[np.ndarray]) -> float:
    """Returns the mean bits of the characters and ends of lines."""
    import keras

    longest = max(map(len, rows))
    padded = np.array([np.pad(row, (0, longest - len(row))) for row in rows])
    total = count = 0.0
    for start in range(0, len(padded), 50):
        part = padded[start : start + 50]
        logits = model.predict_on_batch(part[:, :-1])  # (lines, length, size)
        labels = part[:, 1:]
        surprise = keras.losses.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )  # (lines, length), in nats
        total += np.sum(np.asarray(surprise) * (labels != 0))
        count += np.sum(labels != 0)
    return total / count / np.log(2.0)


def run(options: Any) -> task.Result:
    """Trains the model, measures it, and lets it write."""
    import keras_attention as ka

    parts = split_lines(read_lines(options.data))
    vocabulary = ka.Vocabulary.build(parts[0], "characters")
    rows = [rows_of(part, vocabulary) for part in parts]
    model = ka.LanguageModel(
        ka.DecoderOnlyTransformer(
            len(vocabulary),
            options.units,
            num_layers=options.num_layers,
            num_heads=options.num_heads,
            dropout=options.dropout,
            position=ka.RotaryEmbedding(),
        ),
        vocabulary=vocabulary,
    )
    minutes = fit(
        model,
        blocks_of(rows[0], options.length),
        blocks_of(rows[1], options.length),
        options,
        loss=ka.training.MaskedCrossentropy(),
        monitor="val_loss",
    )
    bits = bits_per_character(model, rows[2])
    ngrams = WittenBellModel(
        (row.tolist() for row in rows[0]), options.order, len(vocabulary)
    )
    baseline = ngrams.bits(row.tolist() for row in rows[2])
    search = ka.Sample(temperature=0.8, seed=options.seed)
    print("\nIt writes:")
    for text in model.generate([""] * 5, search).texts[:, 0]:
        print(f"  {text}")
    return task.Result(
        task=f"language model of characters, {options.num_layers} layers",
        data=f"{len(parts[0]):,} lines, {len(parts[2]):,} to test",
        parameters=model.count_params(),
        minutes=minutes,
        figure=f"{bits:.3f} bits a character ({options.order}-grams: "
        f"{baseline:.3f})",
        published="none",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="characters",
        description=__doc__,
        recipe=RECIPE,
        quick=QUICK,
        source=SOURCE,
        write_sample=write_sample,
    )


if __name__ == "__main__":
    sys.exit(main())
