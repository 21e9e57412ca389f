"""What is written to the terminal, and what must not reach it raw."""

import codecs
import json
import re
import sys
from collections.abc import Sequence
from typing import Any
from typing import BinaryIO

# Control characters but the tab (an ESC begins a command to the terminal), what
# turns the direction of writing, line separators, halves of surrogate pairs.
UNSAFE = re.compile(
    "[\x00-\x08\n-\x1f\x7f-\x9f"
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
# What a line of a file cannot hold, and what a field cannot, between tabs.
NOT_IN_A_LINE = re.compile("[\n\r\ud800-\udfff]")
NOT_IN_A_FIELD = re.compile("[\t\n\r\ud800-\udfff]")


def escaped(text: str, pattern: re.Pattern[str] = UNSAFE) -> str:
    r"""Returns the text with unsafe characters as Python writes them.

    >>> print(escaped("a\x1b[2J"))
    a\x1b[2J
    """
    return pattern.sub(_escape, text)


def standard_input() -> BinaryIO:
    """Returns the standard input, a binary file."""
    if sys.stdin is None:
        raise ValueError("standard input is closed")
    return sys.stdin.buffer


def shown(text: str) -> str:
    """Returns a text for standard output, on one line.

    A terminal gets no unsafe character; a file or a pipe gets the text as it
    is, but for line ends inside it.
    """
    return escaped(text, UNSAFE if sys.stdout.isatty() else NOT_IN_A_LINE)


def shown_fields(fields: Sequence[str]) -> str:
    """Returns `shown` texts on one line, with tabs between them alone.

    A text that is the only field keeps its tabs.
    """
    if len(fields) == 1:
        return shown(fields[0])
    return "\t".join(escaped(shown(text), NOT_IN_A_FIELD) for text in fields)


def json_text(value: Any) -> str:
    """Returns JSON on one line, safe for a terminal and without loss.

    Standard output that is not UTF-8 gets ASCII, which any encoding holds.
    """
    encoding = codecs.lookup(sys.stdout.encoding or "ascii").name
    text = json.dumps(value, ensure_ascii=encoding != "utf-8", allow_nan=False)
    return UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Complaints:
    """Lines on standard error, each `program: kind: message`."""

    def __init__(self, program: str):
        self._program = program
        self._shown_warnings = set()

    def tell(self, kind: str, message: Any = None) -> None:
        """Writes one line, without unsafe characters."""
        words = kind if message is None else f"{kind}: {message}"
        line = escaped(" ".join(words.split()))
        print(f"{self._program}: {line}", file=sys.stderr)

    def show_warning(self, message: Warning | str, *_: Any, **__: Any) -> None:
        """Shows each warning once; for `warnings.showwarning`."""
        if str(message) not in self._shown_warnings:
            self._shown_warnings.add(str(message))
            self.tell("warning", message)


def _escape(match):
    return match[0].encode("unicode_escape").decode("ascii")
