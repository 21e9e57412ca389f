"""Summaries: what is a package for? From its description, in one line.

    python -m keras_attention.examples.summaries --data debian \\
        --output summaries

trains a Transformer on about 58,000 descriptions of Debian packages, long to
short, and compares it with the first words of the long one, as many as do best
on the validation part. Descriptions that begin alike are in one part. Names of
packages and programs that the vocabulary lacks are lost: nothing is copied.
"""

import sys
import types
from collections.abc import Sequence

from keras_attention.cli import values
from keras_attention.cli.parser import Parser
from keras_attention.examples import descriptions
from keras_attention.examples import task
from keras_attention.examples import text_to_text

LEADS = range(3, 13)  # words
SHOWN = 5
METRICS = ("rouge_1", "rouge_l", "chrf")
RECIPE = {
    "unit": "pieces",
    "vocabulary_size": 8_000,
    "source_words": 60,
    "units": 128,
    "feed_forward_units": 512,
    "num_heads": 4,
    "num_layers": 3,
    "dropout": 0.2,
    "attention_dropout": 0.1,
    "label_smoothing": 0.1,
    "epochs": 12,
    "batch_tokens": 6144,
    "learning_rate": 3e-3,
    "warmup_steps": 1000,
    "average": 3,
    "beam": 4,
}
QUICK = {"units": 8, "feed_forward_units": 8, "num_layers": 1, "epochs": 1}
QUICK |= {"unit": "words", "batch_tokens": 512, "warmup_steps": 0, "beam": 2}


def lead(text: str, words: int) -> str:
    """Returns the first words of a text."""
    return " ".join(text.split()[:words])


def figure_of(scores: dict[str, float]) -> str:
    """Returns the metrics in one line."""
    return "{rouge_1:.1f} ROUGE-1, {rouge_l:.1f} -L, {chrf:.1f} chrF".format(
        **scores
    )


def run(options: types.SimpleNamespace) -> list[task.Result]:
    """Trains, and measures the model and the baseline on the test part."""
    from keras_attention import Beam
    from keras_attention.training import measure_texts
    from keras_attention.training import rouge_l

    parts = {"train": [], "dev": [], "test": []}
    for long, short in descriptions.read(options.data):
        pair = lead(long, options.source_words), short
        parts[descriptions.part_of(long)].append(pair)
    (dev, dev_lines), (test, test_lines) = (
        zip(*parts[name], strict=True) for name in ("dev", "test")
    )
    recipe = [name for name in RECIPE if name != "source_words"]
    model, minutes = text_to_text.train(
        options,
        recipe,
        parts["train"],
        parts["dev"],
        source_unit=options.unit,
        target_unit=options.unit,
        shared_vocabulary=True,
        share_embeddings=True,
        tie_embeddings=True,
        monitor="rouge_l",
    )
    best = max(
        LEADS, key=lambda n: rouge_l(dev_lines, [lead(t, n) for t in dev])
    )
    found = text_to_text.generate(model, test, Beam(options.beam))
    for long, line, text in zip(
        test[:SHOWN], test_lines[:SHOWN], found[:SHOWN], strict=True
    ):
        print(f"{long}\n  wanted:    {line}\n  generated: {text}")
    leads = [lead(text, best) for text in test]
    data = f"Debian's descriptions, {len(test):,} held out"
    ours, theirs = (
        figure_of(measure_texts(list(test_lines), texts, METRICS))
        for texts in (found, leads)
    )
    return [
        task.Result(
            f"one-line summary, {options.unit}, beam {options.beam}",
            data,
            model.count_params(),
            minutes,
            ours,
            f"{theirs} (the first {best} words)",
        )
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="summaries",
        description="Sum up the descriptions of Debian's packages.",
        recipe=RECIPE,
        quick=QUICK,
        source=descriptions.SOURCE,
        write_sample=descriptions.write_sample,
        add_options=_add_unit,
    )


def _add_unit(parser: Parser) -> None:
    parser.add_option(
        "--unit",
        type=values.choice(["pieces", "words"]),
        metavar="NAME",
        default=RECIPE["unit"],
        help="what both sides are cut into: pieces, words",
    )


if __name__ == "__main__":
    sys.exit(main())
