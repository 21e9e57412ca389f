"""SCAN: commands in a small language, to be turned into actions.

    python -m keras_attention.examples.scan --split simple --model bahdanau

trains a model on a split of SCAN (Lake & Baroni 2018, arXiv 1711.00350) and
reports the share of commands whose actions are all right. There is no data
to fetch: the grammar makes all 20,910 commands, `interpret` says what they
mean. Several models side by side, here a plain recurrent network with and
without attention:

    python -m keras_attention.examples.scan --model rnn-bahdanau rnn-rnn \\
        --cell simple
"""

import itertools
import pathlib
import random
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from keras_attention.choices import CELLS
from keras_attention.choices import KINDS
from keras_attention.cli import values
from keras_attention.cli.outcome import exit_status_of
from keras_attention.cli.parser import Parser
from keras_attention.cli.startup import import_tensorflow

VERBS = ("walk", "look", "run", "jump")
DIRECTIONS = ("left", "right")
MANNERS = ("opposite", "around")
REPEATS = {"twice": 2, "thrice": 3}
LONGEST = 48  # actions
LENGTH_SPLIT = 22  # actions of the longest training target of "length"

# What the command line trains with.
DEFAULTS = {
    "split": "simple",
    "models": ["bahdanau"],
    "units": 128,
    "num_layers": 1,
    "dropout": 0.1,
    "epochs": 6,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "clip_norm": 5.0,
    "seed": 0,
    "test_pairs": None,
}
# Percent of exact matches, with the best model reported for each split.
PUBLISHED = {
    "simple": "99.8 (LSTM 2x200)",
    "length": "20.8 (GRU with attention 1x50)",
    "addprim_jump": "1.2 (GRU with attention)",
    "turn_left": "90.3 (GRU with attention)",
}


def interpret(command: str) -> str:
    """Returns the actions that a command means, as one string.

    Example:

    >>> from keras_attention.examples.scan import interpret
    >>> interpret("turn left after jump twice")
    'I_JUMP I_JUMP I_TURN_LEFT'
    """
    return " ".join(_actions(command.split()))


def _actions(words):
    # "and" and "after" bind least, then "twice" and "thrice".
    if "and" in words:
        middle = words.index("and")
        return _actions(words[:middle]) + _actions(words[middle + 1 :])
    if "after" in words:
        middle = words.index("after")
        return _actions(words[middle + 1 :]) + _actions(words[:middle])
    if words[-1] in REPEATS:
        return _actions(words[:-1]) * REPEATS[words[-1]]
    verb, *where = words
    act = [] if verb == "turn" else [f"I_{verb.upper()}"]
    if not where:
        return act
    turn = [f"I_TURN_{where[-1].upper()}"]
    if where[0] == "around":
        return (turn + act) * 4
    if where[0] == "opposite":
        return turn * 2 + act
    return turn + act


def all_commands() -> list[str]:
    """Returns the 20,910 commands of the language."""
    wheres = [*DIRECTIONS]
    wheres += [" ".join(w) for w in itertools.product(MANNERS, DIRECTIONS)]
    phrases = list(VERBS)
    phrases += [f"{v} {w}" for v in (*VERBS, "turn") for w in wheres]
    phrases += [f"{p} {times}" for p in phrases for times in REPEATS]
    joined = itertools.product(phrases, ("and", "after"), phrases)
    return phrases + [" ".join(parts) for parts in joined]


def all_pairs() -> list[tuple[str, str]]:
    """Returns the 20,910 pairs (command, actions)."""
    return [(command, interpret(command)) for command in all_commands()]


def split_pairs(
    split: str, seed: int = 0
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Returns the training pairs and the test pairs of a split.

    Args:
        split: "simple" (80% of the commands at random), "length" (training
            targets of at most 22 actions), "addprim_jump" ("jump" is only
            ever seen alone) or "turn_left" ("turn left" only alone). In the
            last two the lone command fills a tenth of the training pairs.
        seed: integer, for the random order and the random split.
    """
    pairs = all_pairs()
    random.Random(seed).shuffle(pairs)
    if split == "simple":
        size = round(0.8 * len(pairs))
        return pairs[:size], pairs[size:]
    if split == "length":

        def is_test(pair):
            return len(pair[1].split()) > LENGTH_SPLIT
    else:
        alone = {"addprim_jump": "jump", "turn_left": "turn left"}[split]

        def is_test(pair):
            return f" {alone} " in f" {pair[0]} "

    train = [pair for pair in pairs if not is_test(pair)]
    test = [pair for pair in pairs if is_test(pair)]
    if split == "length":
        return train, test
    train += [(alone, interpret(alone))] * (len(train) // 9)
    random.Random(seed).shuffle(train)
    return train, [pair for pair in test if pair[0] != alone]


def train_and_measure(
    train: list[tuple[str, str]],
    test: list[tuple[str, str]],
    folder: str | pathlib.Path,
    **options: Any,
) -> tuple[Any, float]:
    """Trains a model and returns it with its share of exact matches.

    Args:
        train: pairs to train on.
        test: pairs to measure on.
        folder: where the model goes.
        **options: of `training.train`, those of the model included.
    """
    from keras_attention import training

    # The epoch is chosen by pairs that were trained on, never by the test.
    model, _ = training.train(
        train,
        folder,
        validation_pairs=train[:256],
        monitor="loss",
        source_unit="words",
        target_unit="symbols",
        **options,
    )
    sources, targets = zip(*test, strict=True)
    found = model.generate(
        list(sources), max_length=LONGEST + 1, batch_size=512
    )
    return model, training.exact_match(list(targets), list(found.texts[:, 0]))


def run(
    split: str,
    models: Sequence[str],
    output: str | pathlib.Path,
    test_pairs: int | None,
    **options: Any,
) -> dict[str, float]:
    """Trains each kind of model on a split and prints a table."""
    train, test = split_pairs(split, options["seed"])
    test = test[:test_pairs]
    rates = {}
    for kind in models:
        print(f"\n{kind}: {len(train)} pairs to train on, {len(test)} to test")
        folder = pathlib.Path(output) / f"{split}-{kind}"
        _, rates[kind] = train_and_measure(
            train, test, folder, kind=kind, overwrite=True, **options
        )
    width = max(len(kind) for kind in rates)
    print(f"\n{'model':{width}}  exact match on {split}")
    for kind, rate in rates.items():
        print(f"{kind:{width}}  {rate:.1%}")
    print(f"Lake & Baroni 2018: {PUBLISHED[split]}")
    return rates


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    options = vars(_parser().parse_args(arguments))
    given = {name: v for name, v in options.items() if v is not None}
    options = {**DEFAULTS, **given}

    def work():
        import_tensorflow()
        with tempfile.TemporaryDirectory() as temporary:
            run(**{"output": temporary, **options})

    return exit_status_of(work, "scan")


def _parser():
    parser = Parser(
        prog="scan",
        description="Train on a split of SCAN and count exact matches.",
    )

    def add(name, read, help, metavar="N", **options):
        default = DEFAULTS.get(options.get("dest", name))
        if isinstance(default, list):
            default = " ".join(default)
        parser.add_option(
            f"--{name.replace('_', '-')}",
            type=read,
            metavar=metavar,
            default=default,
            help=help,
            **options,
        )

    splits = ", ".join(PUBLISHED)
    positive = values.integer(at_least=1)
    add("split", values.choice(PUBLISHED), f"data: {splits}", "NAME")
    add(
        "model",
        values.choice(KINDS),
        "kinds of models, as `build_seq2seq` names them",
        "KIND",
        dest="models",
        nargs="+",
    )
    add(
        "cell",
        values.choice(CELLS),
        f"recurrent models: {', '.join(CELLS)}; the model's own if not given",
        "NAME",
    )
    add("units", positive, "width of the model")
    add("num_layers", positive, "layers of encoder and decoder")
    add("dropout", values.number(at_least=0, below=1), "rate of dropouts")
    add("epochs", positive, "passes over the pairs")
    add("batch_size", positive, "pairs in a step")
    add("learning_rate", values.number(above=0), "highest learning rate")
    add("clip_norm", values.number(above=0), "largest norm of all gradients")
    add("seed", values.integer(at_least=0), "of weights and order")
    add("test_pairs", positive, "measure on so many pairs; on all if not given")
    add("output", values.output_folder, "keep the models there", "DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
