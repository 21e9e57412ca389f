"""The options of `generate`."""

from typing import Any

from keras_attention.cli import values
from keras_attention.cli.shared_options import add_command
from keras_attention.cli.shared_options import add_folder
from keras_attention.cli.shared_options import add_search
from keras_attention.cli.values import integer
from keras_attention.cli.values import number

OUTPUT_HELP = """\
A language model goes on with each line, and what follows it is printed.

Each answer is one line, printed at once. On a terminal control
characters are shown as Python writes them (\\x1b); files and pipes get the text
unchanged, except that line ends in it are escaped, and tabs where fields come
before it."""


def add_generate(commands: Any) -> None:
    parser = add_command(
        commands,
        "generate",
        "generation",
        "print the target of each line, or what follows it",
        check=_check_generate,
        epilog=OUTPUT_HELP,
    )
    add_folder(parser)
    parser.add_argument(
        "texts",
        nargs="?",
        metavar="TEXTS",
        default=values.STANDARD_INPUT,
        type=values.input_file,
        help="file of lines, packed as .gz or not (default: -, standard input)",
    )
    output = parser.add_argument_group("output")
    parser.add_option(
        "--n-best",
        type=integer(at_least=1),
        metavar="N",
        default=1,
        group=output,
        help="answers for each line; more than one are numbered, tab, text",
    )
    parser.add_option(
        "--scores",
        action="store_true",
        group=output,
        help="print the score and a tab before each text",
    )
    parser.add_option(
        "--json",
        action="store_true",
        group=output,
        help="print a JSON object for each line: source or prompt, hypotheses "
        "with text and score",
    )
    parser.add_option(
        "--alignments",
        action="store_true",
        group=output,
        help="with --json: weights of the source tokens for each target token",
    )
    search = add_search(parser)
    parser.add_option(
        "--prefix",
        metavar="TEXT",
        group=search,
        help="what every target begins with",
    )
    _add_sampling(parser)


def _add_sampling(parser):
    group = parser.add_argument_group("sampling")
    parser.add_option(
        "--sample",
        action="store_true",
        group=group,
        help="draw tokens at random instead of searching for the best",
    )
    parser.add_option(
        "--temperature",
        type=number(above=0),
        metavar="T",
        default=1.0,
        group=group,
        help="below 1 keeps to likely tokens, above 1 draws others more often",
    )
    parser.add_option(
        "--top-k",
        type=integer(at_least=1),
        metavar="K",
        default="all",
        group=group,
        help="draw from the K likeliest tokens",
    )
    share = number(above=0, at_most=1)
    parser.add_option(
        "--top-p",
        type=share,
        metavar="P",
        default=1,
        group=group,
        help="draw from the likeliest tokens that make up this probability",
    )
    parser.add_option(
        "--min-p",
        type=share,
        metavar="P",
        default="all",
        group=group,
        help="draw from tokens at least P times as likely as the likeliest",
    )
    parser.add_option(
        "--seed",
        type=integer(at_least=0),
        metavar="N",
        default=0,
        group=group,
        help="the same seed draws the same targets of the same lines",
    )


def _check_generate(options):
    if options.alignments and not options.json:
        raise ValueError("--alignments needs --json")
    if options.json and options.scores:
        raise ValueError("--json has the scores: leave --scores out")
    if options.sample:
        given, other = ("beam", "length_penalty"), "no use with --sample"
    else:
        given = ("temperature", "top_k", "top_p", "min_p", "seed")
        other = "no use without --sample"
    for name in given:
        if getattr(options, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of {other}")
    count = options.n_best or 1
    if options.beam is not None and options.beam < count:
        raise ValueError(f"--n-best {count} needs a --beam of at least as many")
