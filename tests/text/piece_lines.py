"""Lines that try vocabularies of pieces, and what learns from them."""

import io
import random

import sentencepiece

SYLLABLES = "ba be ko ki ly mo na or pe qui ra sto th un ver we".split()
CHARACTERS = "aab  .!'\té中🙂\u00a0\u3000\u2581<"
# What NFKC composes and takes apart; zero bytes and controls.
COMPOSED = "aeu \u0301\u0308\u0323ﬁ①½Ａ\u1100\u1161\u11a8\u00a8\0\x01 "


def lines_of(count, seed=0):
    """Sentences of words that share parts, some frequent and some rare."""
    source = random.Random(seed)
    words = [
        "".join(source.choices(SYLLABLES, k=source.randint(1, 4)))
        for _ in range(97)
    ]
    weights = [1 / (number + 1) for number in range(len(words))]
    lines = [
        " ".join(source.choices(words, weights, k=source.randint(1, 13)))
        for _ in range(count)
    ]
    return [f"{line.capitalize()}{source.choice('.!?')}" for line in lines]


def odd_lines(count, seed=1):
    """Few characters, so that ways tie; spaces, marks, unknown characters."""
    source = random.Random(seed)
    lengths = [source.randint(0, 43) for _ in range(count)]
    short = ["".join(source.choices(CHARACTERS, k=n)) for n in lengths]
    composed = ["".join(source.choices(COMPOSED, k=n)) for n in lengths]
    return [
        *short,
        *composed,
        "ab" * 61 + "a",
        "a" * 203,
        "",
        " ",
        "\u2581",
        "<eos> a",
    ]


def model_of(lines, **options):
    """Returns the bytes of the model that SentencePiece learns from lines."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        num_threads=1,
        minloglevel=2,
        **{"normalization_rule_name": "identity", **options},
    )
    return written.getvalue()


def ids_of_reference(vocabulary, names, unknown):
    """Returns our ids of the pieces that a reference named, with an end."""
    first = len("pad bos eos unknown".split())
    ids = {
        name: number
        for number, name in enumerate(vocabulary.tokens)
        if number >= first
    }
    return [
        [*(3 if name == unknown else ids[name] for name in row), 2]
        for row in names
    ]
