"""The language of SCAN: its commands, what they mean, and its splits.

Lake & Baroni 2018, arXiv 1711.00350: figure 1 and the rules of the appendix.
There is no data to fetch: the grammar makes all 20,910 commands.
"""

import itertools
import random

SPLITS = ("simple", "length", "turn_left", "addprim_jump")
# Percent of exact matches, means of five: the best model of the paper for
# each split.
PUBLISHED = {
    "simple": "99.8 (LSTM 2x200)",
    "length": "20.8 (GRU with attention 1x50)",
    "addprim_jump": "1.2 (GRU with attention)",
    "turn_left": "90.3 (GRU with attention)",
}
VERBS = ("walk", "look", "run", "jump")
DIRECTIONS = ("left", "right")
MANNERS = ("opposite", "around")
REPEATS = {"twice": 2, "thrice": 3}
LONGEST = 48  # actions
LENGTH_SPLIT = 22  # actions of the longest training target of "length"


def interpret(command: str) -> str:
    """Returns the actions that a command means, as one string.

    Example:

    >>> from keras_attention.examples.scan_grammar import interpret
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
