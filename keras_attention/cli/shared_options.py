"""Options that several commands have."""

import argparse
import importlib
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from keras_attention.cli import values
from keras_attention.cli.parser import Parser
from keras_attention.cli.values import integer
from keras_attention.cli.values import number

BEAM = 4


def add_command(
    commands: Any,
    name: str,
    module: str,
    summary: str,
    check: Callable[[argparse.Namespace], None] | None = None,
    epilog: str | None = None,
) -> Parser:
    """Adds a command, which the function of its name in a module runs.

    Args:
        commands: what `Parser.add_commands` returned.
        name: name of the command, and of the function.
        module: name of the module in this package; imported to run it.
        summary: what the command does, in a few words.
        check: function that raises a ValueError for options that do not go
            together.
        epilog: last lines of its help.

    Returns:
        The `Parser` of the command.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=epilog,
    )

    def run(options):
        module_path = f"{__package__}.{module}"
        return getattr(importlib.import_module(module_path), name)(options)

    parser.set_defaults(
        run=run, parser=parser, check=check, if_interrupted=None
    )
    parser.add_option(
        "--quiet",
        action="store_true",
        default=None,
        help="print results alone: no progress, no warnings",
    )
    return parser


def add_folder(parser: Parser) -> None:
    parser.add_argument(
        "folder",
        type=values.model_folder,
        metavar="MODEL",
        help="folder of the model",
    )


def add_pairs(
    parser: Parser,
    nargs: str = "+",
    help: str = "files of pairs",  # noqa: A002
) -> None:
    parser.add_argument(
        "pairs",
        nargs=nargs,
        type=values.input_file,
        metavar="PAIRS",
        help=help,
    )


def check_standard_input(names: Sequence[str | None]) -> None:
    """Raises a ValueError where standard input is more than one file."""
    if names.count(values.STANDARD_INPUT) > 1:
        raise ValueError("- can stand for one file only")


def add_columns(parser: Parser, group: Any = None) -> None:
    parser.add_option(
        "--columns",
        type=values.columns,
        metavar="SOURCE,TARGET",
        default="the only two",
        group=group,
        help="which columns of the files: 1,2 or names of the first line or "
        "of JSON keys",
    )


def add_search(parser: Parser) -> Any:
    group = parser.add_argument_group("search")
    parser.add_option(
        "--beam",
        type=integer(at_least=1),
        metavar="N",
        default=BEAM,
        group=group,
        help="beam width; 1 is greedy",
    )
    parser.add_option(
        "--length-penalty",
        type=number(at_least=0),
        metavar="P",
        default=1.0,
        group=group,
        help="0 favours short targets, more than 1 long ones",
    )
    parser.add_option(
        "--max-length",
        type=integer(at_least=1),
        metavar="N",
        default="that of the model",
        group=group,
        help="longest target, in tokens with the end",
    )
    return group
