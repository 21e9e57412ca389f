"""`completion`: the script by which a shell completes the command line."""

import argparse
import logging
from collections.abc import Iterator

from keras_attention.cli.parser import Parser

# What the values of options are called in their help.
FILES = {"FILE", "PAIRS", "TEXTS"}
FOLDERS = {"DIR", "EXPORTED", "MODEL"}


def completion(options: argparse.Namespace) -> None:
    """Prints the script for one shell."""
    # Here, since it is this module that the options of a command lead to.
    from keras_attention.cli.options import make_parser

    print(script(make_parser(), options.shell), end="")


def script(parser: Parser, shell: str) -> str:
    """Returns the script; the parser is of no other use afterwards.

    Args:
        parser: that of the whole command line.
        shell: one of `choices.SHELLS`.

    Raises:
        ImportError: if `shtab` is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise ImportError(
            "The scripts of shells are written by the `shtab` package: "
            "pip install shtab"
        ) from error
    logging.getLogger("shtab").setLevel(logging.ERROR)
    for action in _actions(parser):
        names = getattr(action.type, "names", None)
        if names is not None:
            action.choices = names
        elif action.metavar in FILES:
            action.complete = shtab.FILE
        elif action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY
    text = shtab.complete(parser, shell)
    return text.rstrip("\n") + "\n"


def _actions(parser: Parser) -> Iterator[argparse.Action]:
    yield from parser.arguments.values()
    for command in parser.commands.values():
        yield from _actions(command)
