"""`generate`: lines in, answers out, each printed at once.

The lines are the sources of a `Seq2Seq`, or the prompts of a `LanguageModel`.
"""

import argparse
import contextlib
import io
import math
import sys
from collections.abc import Callable
from collections.abc import Iterator

from keras_attention.cli.input_files import opened_text
from keras_attention.cli.input_files import without_mark
from keras_attention.cli.models import answers
from keras_attention.cli.models import is_language_model
from keras_attention.cli.models import load_any
from keras_attention.cli.models import search_of
from keras_attention.cli.terminal import json_text
from keras_attention.cli.terminal import shown_fields
from keras_attention.cli.terminal import standard_input
from keras_attention.cli.values import STANDARD_INPUT

BYTES_AT_ONCE = 1 << 16
PROMPT = "> "


def generate(options: argparse.Namespace) -> None:
    """Prints the target of each line, or what follows it."""
    model = load_any(options.folder)
    if is_language_model(model):
        _check_of_language_model(options)
    constraints = ()
    if options.prefix:
        from keras_attention.cli.prefix import prefix_of

        constraints = (prefix_of(options.prefix, model, options.max_length),)
    search = search_of(options, constraints)
    write = _write_json if options.json else _write_text
    first = 0
    with _input(options) as (file, prompt):
        for lines in batches_of_lines(file, prompt):
            found = answers(model, lines, search, options, first)
            first += len(lines)
            for line, answer in zip(lines, found, strict=True):
                write(line, answer, options, model)
            sys.stdout.flush()


def _check_of_language_model(options):
    if options.prefix:
        raise ValueError(
            "--prefix is for targets, and a language model goes on with what "
            "a line begins: put it into the line"
        )
    if options.alignments:
        raise ValueError(
            "--alignments are with a source, which a language model has not"
        )


def batches_of_lines(
    file: io.BufferedIOBase, prompt: Callable[[], None] | None = None
) -> Iterator[list[bytes]]:
    """Yields lists of lines: those that have come, without waiting for more.

    Args:
        file: binary file with `read1`.
        prompt: function to call before each reading, or None.
    """
    begun = []  # parts of a line that has not ended
    is_first = True  # which may begin with a byte order mark
    while True:
        if prompt is not None:
            prompt()
        chunk = file.read1(BYTES_AT_ONCE)
        if not chunk:
            break
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*begun, lines[0]])
            if is_first:
                lines[0] = without_mark(lines[0])
            begun, is_first = [], False
            yield [line.removesuffix(b"\r") for line in lines]
        begun.append(rest)
    last = b"".join(begun)
    if is_first:
        last = without_mark(last)
    if last:
        yield [last]


@contextlib.contextmanager
def _input(options):
    """Yields the file of lines, and what shows a prompt at a terminal."""
    if options.texts != STANDARD_INPUT:
        with opened_text(options.texts) as file:
            yield file, None
        return
    file = standard_input()
    if not sys.stdin.isatty() or options.quiet:
        yield file, None
        return
    yield file, _show_prompt
    print(file=sys.stderr)  # after Ctrl-D


def _show_prompt():
    print(PROMPT, end="", file=sys.stderr, flush=True)


def _write_text(line, answer, options, model):
    texts, scores, _ = answer
    for number, (text, score) in enumerate(
        zip(texts, scores, strict=True), start=1
    ):
        fields = [str(number)] if len(texts) > 1 else []
        if options.scores:
            fields.append(f"{score:.4f}")
        print(shown_fields([*fields, text]))


def _write_json(line, answer, options, model):
    hypotheses = []
    if options.alignments:
        length = _count_tokens(model.source_vocabulary, line)
    for text, score, alignment in zip(*answer, strict=True):
        # What a beam did not find has the score -inf, which JSON has not.
        known = round(float(score), 6) if math.isfinite(score) else None
        hypotheses.append({"text": text, "score": known})
        if options.alignments:
            rows = [row[:length].tolist() for row in alignment.round(4)]
            hypotheses[-1]["alignment"] = [
                [round(weight, 4) for weight in row] for row in rows
            ]
    name = "prompt" if is_language_model(model) else "source"
    facts = {name: line.decode("utf-8", "replace"), "hypotheses": hypotheses}
    print(json_text(facts))


def _count_tokens(vocabulary, line):
    """The ids of a source, with the end."""
    return vocabulary.encode([line]).shape[1]
