"""The options of `score`."""

from typing import Any

from keras_attention.cli.shared_options import add_columns
from keras_attention.cli.shared_options import add_command
from keras_attention.cli.shared_options import add_folder
from keras_attention.cli.shared_options import add_pairs
from keras_attention.cli.shared_options import check_standard_input
from keras_attention.cli.values import integer

SCORE_HELP = """\
A line for each pair: the log probability of the target, the same for each of
its tokens (the end counted), source and target, with tabs between them; tabs in
texts are escaped. All pairs together are told on standard error.

A model of pairs reads files as train does; a language model scores each line
of them, and unpacks .gz, too. - is standard input."""


def add_score(commands: Any) -> None:
    parser = add_command(
        commands,
        "score",
        "scoring",
        "print how likely the model finds given pairs, or lines",
        check=_check_score,
        epilog=SCORE_HELP,
    )
    add_folder(parser)
    add_pairs(parser, help="files of pairs; of lines for a language model")
    add_columns(parser)
    parser.add_option(
        "--batch-size",
        type=integer(at_least=1),
        metavar="N",
        default=64,
        help="pairs that are scored at once",
    )
    parser.add_option(
        "--json",
        action="store_true",
        help="print a JSON object for each pair",
    )
    parser.add_option(
        "--total",
        action="store_true",
        help="print one JSON object of all pairs together, with the "
        "perplexity, and nothing of each",
    )


def _check_score(options):
    if options.json and options.total:
        raise ValueError("--total is JSON already: leave --json out")
    check_standard_input(options.pairs)
