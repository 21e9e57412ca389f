"""Spelling to phonemes on the CMU Pronouncing Dictionary, end to end.

    python -m keras_attention.examples.g2p --output saved_models/demo

trains a model on about 110,000 words, counts its errors on words it has not
seen, exports a SavedModel, and asks that SavedModel, in a process without
Keras and without this package, how a few words are spoken:

    DIR/model/          the Keras model, its vocabularies and its card
    DIR/1/              the SavedModel, in the layout of TensorFlow Serving
    DIR/alignment.png   which letters each phoneme was read from
    DIR/README.md       what the model is, how good, and how to use it

With `--data DIR` the words are those of g014b2b. Several kinds of attention
get equal minutes of processor time, and a row each, by

    python -m keras_attention.examples.g2p --data DIR --preset table \\
        --kind global local-m local-p monotonic transformer --minutes 45

`--preset best` trains the model of `saved_models/g2p`, and `--preset long` a
larger one, over hours: what was cut short goes on with `--resume` (and the same
`--output`).
"""

import sys
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from keras_attention.choices import KINDS
from keras_attention.cli import values
from keras_attention.cli.parser import Parser
from keras_attention.examples import pronunciations
from keras_attention.examples import task
from keras_attention.examples.g2p_card import check_licence
from keras_attention.examples.g2p_card import export_and_describe
from keras_attention.examples.g2p_card import save_with_results
from keras_attention.examples.g2p_training import ATTENTION
from keras_attention.examples.g2p_training import PRESETS
from keras_attention.examples.g2p_training import SEARCHES
from keras_attention.examples.g2p_training import measure
from keras_attention.examples.g2p_training import settings_of
from keras_attention.examples.g2p_training import train

RECIPE = {"preset": "demo", "kind": None, "resume": False}
QUICK = {"units": 8, "epochs": 1, "batch_size": 16}


def run(options: Any) -> Iterator[task.Result]:
    """Trains each kind, counts its errors; describes and exports a single one.

    Args:
        options: those of the command line; what an earlier run left in
            `output` is replaced, or gone on with.
    """
    if options.resume and "output" not in options.given:
        raise ValueError("`--resume` needs the `--output` of the run before")
    kinds = options.kind or [PRESETS[options.preset]["kind"]]
    describes = len(kinds) == 1 and not options.quick
    if describes:
        check_licence()
    dictionary = pronunciations.read_dictionary(options.data)
    for kind in kinds:
        output = options.output / kind if len(kinds) > 1 else options.output
        result, model, card = _result(kind, dictionary, output, options)
        yield result
    if describes:
        export_and_describe(model, card, options.output)


def _result(kind, dictionary, output, options):
    folder = output / "model"
    model, card = train(dictionary, folder, **settings_of(kind, options))
    test = dictionary.splits["test"]
    print(f"\nSpeaking {len(test):,} {dictionary.measured} ...")
    results = {"dictionary": dictionary.name, "test": measure(model, test)}
    card = save_with_results(model, folder, {**card, **results})
    figures = ", ".join(
        "{} WER {:.1%} PER {:.2%}".format(name, *card["test"][name].values())
        for name in SEARCHES
    )
    result = task.Result(
        task=f"spelling to phonemes, {kind}",
        data=f"{dictionary.name}, {len(test):,} {dictionary.measured}",
        parameters=card["weights"],
        minutes=card["training"]["minutes"],
        figure=figures,
        published=dictionary.published,
    )
    return result, model, card


def add_options(parser: Parser) -> None:
    """Adds the options of this example; the preset has their defaults."""
    parser.add_option(
        "--kind",
        type=values.choice((*ATTENTION, *KINDS)),
        metavar="KIND",
        nargs="+",
        help="kinds of attention or of models, one row each; by default that "
        "of the preset, whose settings the following replace",
    )
    for name, read in (
        ("units", values.integer(at_least=1)),
        ("num_layers", values.integer(at_least=1)),
        ("epochs", values.integer(at_least=1)),
        ("batch_size", values.integer(at_least=1)),
        ("dropout", values.number(at_least=0, below=1)),
        ("learning_rate", values.number(above=0)),
        ("minutes", values.number(above=0)),
    ):
        parser.add_option(
            f"--{name.replace('_', '-')}",
            type=read,
            metavar="N",
            default="that of the preset",
            help=f"{name} of the training",
        )
    parser.add_option(
        "--resume", action="store_true", help="go on where a run was cut short"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="g2p",
        description=__doc__,
        recipe=RECIPE,
        quick=QUICK,
        source=pronunciations.SOURCE,
        needs_data=False,
        write_sample=pronunciations.write_sample,
        choices={"preset": PRESETS},
        add_options=add_options,
    )


if __name__ == "__main__":
    sys.exit(main())
