"""A parser whose errors are one line, with a suggestion where it has one."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

from keras_attention.cli.terminal import escaped


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that takes no abbreviations and tells in one line.

    Args:
        **options: those of `argparse.ArgumentParser`.

    Attributes:
        arguments: dict of what may be said, `argparse.Action` by name.
        commands: dict of the parsers of its commands, by name.
    """

    def __init__(self, **options: Any):
        self.arguments = {}
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )
        self._option_names = ["-h", "--help"]
        self.commands = {}

    def add_option(
        self,
        name: str,
        *,
        default: Any = None,
        group: Any = None,
        help: str,
        **options: Any,
    ) -> None:
        """Adds `--name`; its help ends with the default.

        Args:
            name: name of the option, dashes included.
            default: what to show. The value is None where the option is not
                given, so that a function can have the default.
            group: an argument group of this parser, or None.
            help: what the option is for.
            **options: those of `add_argument`.
        """
        self._option_names.append(name)
        if options.get("action") is argparse.BooleanOptionalAction:
            self._option_names.append(f"--no-{name[2:]}")
        if default is not None:
            help = f"{help} (default: {default})"  # noqa: A001
        options.setdefault("default", None)
        action = (group or self).add_argument(name, help=help, **options)
        self.arguments[action.dest] = action

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self.arguments[action.dest] = action
        return action

    def add_commands(self) -> Any:
        """Returns where to add the parsers of commands."""
        added = self.add_subparsers(
            required=True, metavar="COMMAND", title="commands"
        )
        self.commands = added.choices
        return added

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        args = sys.argv[1:] if args is None else list(args)
        self._check_words(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the program with one line and status 2."""
        message = escaped(" ".join(message.split()))
        end = "" if message.endswith(("?", ".")) else "."
        self.exit(
            2, f"{self.prog}: error: {message}{end} See {self.prog} --help.\n"
        )

    def _check_words(self, words):
        """Complains of a misspelt word before anything that is missing."""
        for word in words:
            if word == "--":
                return
            if _is_option(word):
                name = word.partition("=")[0]
                if name not in self._option_names:
                    names = self._option_names
                    self.error(f"there is no option {with_hint(name, names)}")
            elif self.commands:
                if word not in self.commands:
                    word = with_hint(word, self.commands)
                    self.error(f"there is no command {word}")
                return


def with_hint(word: str, names: Iterable[str]) -> str:
    """Returns the word in quotes, and a question if it is near a name.

    >>> with_hint("trian", ["train", "export"])
    "'trian'. Did you mean train?"
    """
    near = difflib.get_close_matches(word, list(names), n=1)
    return f"{word!r}. Did you mean {near[0]}?" if near else repr(word)


def _is_option(word):
    # As argparse sees it: not "-", a negative number or a text with spaces.
    return bool(re.match(r"-(?!\d|\.\d)\S", word)) and " " not in word
