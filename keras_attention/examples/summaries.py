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
FIGURE = "{rouge_1:.1f} ROUGE-1, {rouge_l:.1f} ROUGE-L, {chrf:.1f} chrF"
RECIPE = {
    "unit": "pieces",
    "vocabulary_size": 8_000,
    "source_words": 60,
    "max_source_length": 128,  # pieces; few have more, and take much room
    "max_target_length": 32,
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


def best_lead(pairs: Sequence[tuple[str, str]]) -> int:
    """Returns how many first words have the best ROUGE-L."""
    from keras_attention.training import rouge_l

    long, short = zip(*pairs, strict=True)
    scores = {n: rouge_l(short, [lead(t, n) for t in long]) for n in LEADS}
    return max(scores, key=scores.get)


def run(options: types.SimpleNamespace) -> task.Result:
    """Trains, and measures the model and the baseline on the test part."""
    from keras_attention import Beam
    from keras_attention.training import measure_texts
    from keras_attention.training.text_metrics import check_metrics

    check_metrics(METRICS)  # before the training
    parts = {"train": [], "dev": [], "test": []}
    for long, short in descriptions.read(options.data):
        pair = lead(long, options.source_words), short
        parts[descriptions.part_of(long)].append(pair)
    pairs, size = parts["train"], options.vocabulary_size
    model, minutes = text_to_text.train(
        options,
        [name for name in RECIPE if name != "source_words"],
        pairs,
        parts["dev"],
        share_embeddings=True,
        tie_embeddings=True,
        monitor="rouge_l",
        **text_to_text.one_vocabulary(options.unit, size, pairs),
    )
    words = best_lead(parts["dev"])
    test, wanted = zip(*parts["test"], strict=True)
    found = text_to_text.generate(model, test, Beam(options.beam))
    for texts in list(zip(test, wanted, found, strict=True))[:SHOWN]:
        print("{}\n  wanted:    {}\n  generated: {}".format(*texts))
    ours, theirs = (
        FIGURE.format(**measure_texts(wanted, texts, METRICS))
        for texts in (found, [lead(text, words) for text in test])
    )
    return task.Result(
        task=f"one-line summary, {options.unit}, beam {options.beam}",
        data=f"Debian's descriptions, {len(test):,} held out",
        parameters=model.count_params(),
        minutes=minutes,
        figure=f"{ours}; the first {words} words: {theirs}",
        published="none",
    )


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
