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

import argparse
import itertools
import pathlib
import random
import sys
import tempfile

VERBS = ("walk", "look", "run", "jump")
DIRECTIONS = ("left", "right")
MANNERS = ("opposite", "around")
REPEATS = {"twice": 2, "thrice": 3}
LONGEST = 48  # actions
LENGTH_SPLIT = 22  # actions of the longest training target of "length"

# Percent of exact matches, with the best model reported for each split.
PUBLISHED = {
    "simple": "99.8 (LSTM 2x200)",
    "length": "20.8 (GRU with attention 1x50)",
    "addprim_jump": "1.2 (GRU with attention)",
    "turn_left": "90.3 (GRU with attention)",
}


def interpret(command):
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


def all_commands():
    """Returns the 20,910 commands of the language."""
    wheres = [*DIRECTIONS]
    wheres += [" ".join(w) for w in itertools.product(MANNERS, DIRECTIONS)]
    phrases = list(VERBS)
    phrases += [f"{v} {w}" for v in (*VERBS, "turn") for w in wheres]
    phrases += [f"{p} {times}" for p in phrases for times in REPEATS]
    joined = itertools.product(phrases, ("and", "after"), phrases)
    return phrases + [" ".join(parts) for parts in joined]


def all_pairs():
    """Returns the 20,910 pairs (command, actions)."""
    return [(command, interpret(command)) for command in all_commands()]


def split_pairs(split, seed=0):
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


def train_and_measure(train, test, folder, **options):
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


def run(split, models, output, test_pairs, **options):
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


def main(arguments=None):
    """Runs the example from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description="Train on a split of SCAN and count exact matches."
    )
    parser.add_argument("--split", default="simple", choices=list(PUBLISHED))
    parser.add_argument(
        "--model",
        dest="models",
        nargs="+",
        default=["bahdanau"],
        metavar="KIND",
        help="kinds of models, as `build_seq2seq` names them",
    )
    parser.add_argument("--cell", choices=["lstm", "gru", "simple"])
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--num-layers", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--clip-norm", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--test-pairs", type=int, metavar="N", help="measure on N pairs only"
    )
    parser.add_argument("--output", help="keep the models in this folder")
    options = vars(parser.parse_args(arguments))
    if options["cell"] is None:
        del options["cell"]
    with tempfile.TemporaryDirectory() as temporary:
        options["output"] = options["output"] or temporary
        try:
            run(**options)
        except (ValueError, OSError) as error:
            print(f"scan: error: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
