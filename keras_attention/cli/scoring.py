"""`score`: pairs or lines in, their log probabilities out."""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator
from typing import Any

from keras_attention.cli.input_files import opened_text
from keras_attention.cli.input_files import stored_files
from keras_attention.cli.input_files import without_mark
from keras_attention.cli.models import TEXTS_AT_ONCE
from keras_attention.cli.models import given
from keras_attention.cli.models import is_language_model
from keras_attention.cli.models import load_any
from keras_attention.cli.terminal import json_text
from keras_attention.cli.terminal import shown_fields

LARGEST_EXPONENT = 700  # of what a float can hold
COLUMNS_OF_LINES = "--columns is for pairs, and a language model scores lines"


def score(options: argparse.Namespace) -> None:
    """Prints the log probability of each pair or line, and of all."""
    model = load_any(options.folder)
    is_of_pairs = not is_language_model(model)
    if not is_of_pairs and options.columns is not None:
        raise ValueError(COLUMNS_OF_LINES)
    total = _Total("pairs" if is_of_pairs else "lines")
    read = _pairs if is_of_pairs else _lines
    chosen = given(options, ["batch_size"])
    for texts in read(options):
        found = model.score(*zip(*texts, strict=True), **chosen)
        for row in zip(
            texts, found.log_probabilities, found.lengths, strict=True
        ):
            total.add(*row[1:])
            if not options.total:
                _write(*row, options)
        sys.stdout.flush()
    if options.total:
        print(json.dumps(total.facts(), indent=2))
    elif not options.quiet:
        print(total.line(), file=sys.stderr)


def _pairs(options) -> Iterator[list]:
    """Yields lists of (source, target)."""
    from keras_attention import training

    with stored_files(options.pairs) as files:
        pairs = iter(training.read_pairs(files, options.columns))
        while some := list(itertools.islice(pairs, TEXTS_AT_ONCE)):
            yield some


def _lines(options) -> Iterator[list]:
    """Yields lists of (line,)."""
    for name in options.pairs:
        number = 0
        with opened_text(name) as file:
            while lines := list(itertools.islice(file, TEXTS_AT_ONCE)):
                if not number:
                    lines[0] = without_mark(lines[0])
                number += len(lines)
                yield [(_without_end(line),) for line in lines]
        if not number:
            raise ValueError(f"{name!r} is empty: it has no line to score")


def _without_end(line):
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _write(texts, log_probability, length, options):
    texts = [
        text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        for text in texts
    ]
    if options.json:
        names = ("source", "target") if len(texts) == 2 else ("text",)
        facts = {
            **dict(zip(names, texts, strict=True)),
            "log_probability": round(float(log_probability), 6),
            "tokens": int(length),
        }
        print(json_text(facts))
        return
    per_token = log_probability / length
    numbers = (f"{log_probability:.4f}", f"{per_token:.4f}")
    print(shown_fields([*numbers, *texts]))


class _Total:
    """The log probability of all sequences together."""

    def __init__(self, of: str):
        self._of = of
        self._log_probabilities = []
        self._tokens = 0

    def add(self, log_probability: float, length: int) -> None:
        self._log_probabilities.append(log_probability)
        self._tokens += int(length)

    def facts(self) -> dict[str, Any]:
        total = math.fsum(self._log_probabilities)
        per_token = total / self._tokens
        return {
            self._of: len(self._log_probabilities),
            "tokens": self._tokens,
            "log_probability": total,
            "log_probability_per_token": per_token,
            "perplexity": math.exp(min(-per_token, LARGEST_EXPONENT)),
        }

    def line(self) -> str:
        found = self.facts()
        return (
            f"{found[self._of]} {self._of}, {self._tokens} tokens: log "
            f"probability {found['log_probability']:.4f}, "
            f"{found['log_probability_per_token']:.4f} a token, perplexity "
            f"{found['perplexity']:.4f}"
        )
