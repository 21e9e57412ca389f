"""What the values of options may be: each function reads one text.

All are made for `type=` of argparse: they return the value, or raise an
`ArgumentTypeError` that says what was expected.
"""

import functools
import math
import os
import pathlib
import stat
import tempfile
from argparse import ArgumentTypeError
from collections.abc import Callable
from collections.abc import Collection

from keras_attention.cli.parser import with_hint

STANDARD_INPUT = "-"
LARGEST = 2**31 - 1  # of the integers that TensorFlow counts with


def integer(at_least: int) -> Callable[[str], int]:
    """Returns the reader of integers of at least so much."""

    def read(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not at_least <= value <= LARGEST:
            raise ArgumentTypeError(
                f"must be an integer from {at_least} to {LARGEST}, not {text!r}"
            )
        return value

    return read


def number(
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> Callable[[str], float]:
    """Returns the reader of finite numbers of a range."""
    words = {"above": above, "at least": at_least}
    words |= {"below": below, "at most": at_most}
    ranges = [f"{word} {n}" for word, n in words.items() if n is not None]

    def read(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        is_inside = (
            math.isfinite(value)
            and (above is None or value > above)
            and (at_least is None or value >= at_least)
            and (below is None or value < below)
            and (at_most is None or value <= at_most)
        )
        if not is_inside:
            expected = f"must be a number {' and '.join(ranges)}"
            raise ArgumentTypeError(f"{expected}, not {text!r}")
        return value

    return read


def choice(names: Collection[str]) -> Callable[[str], str]:
    """Returns the reader of one of some names, its attribute `names`."""

    def read(text):
        if text not in names:
            listed = ", ".join(names)
            raise ArgumentTypeError(
                f"must be one of {listed}, not {with_hint(text, names)}"
            )
        return text

    read.names = tuple(names)
    return read


def columns(text: str) -> tuple[int, ...] | tuple[str, ...]:
    """Two numbers from 1 as two from 0, or two names."""
    parts = tuple(text.split(","))
    are_numbers = [part.isdecimal() and int(part) > 0 for part in parts]
    if len(parts) == 2 and all(are_numbers):
        return tuple(int(part) - 1 for part in parts)
    if len(parts) == 2 and all(parts) and not any(map(_is_number, parts)):
        return parts
    raise ArgumentTypeError(
        f"must be two numbers from 1, such as 1,3, or two names, such as "
        f"en,fr, not {text!r}"
    )


def _is_number(text):
    return text.lstrip("-").isdecimal()


def _of_path(read):
    """Turns the errors of the system into those of argparse."""

    @functools.wraps(read)
    def careful(text):
        try:
            return read(text)
        except OSError as error:
            reason = error.strerror or error
            raise ArgumentTypeError(f"{text!r}: {reason}") from error

    return careful


@_of_path
def model_folder(text: str) -> str:
    """An existing folder."""
    if not pathlib.Path(text).is_dir():
        kind = "is a file" if os.path.exists(text) else "does not exist"
        raise ArgumentTypeError(f"{text!r} {kind}: name the folder of a model")
    return text


@_of_path
def existing_path(text: str) -> str:
    """A folder or a file that is there."""
    if not os.path.exists(text):
        raise ArgumentTypeError(f"{text!r} does not exist")
    return text


@_of_path
def input_file(text: str) -> str:
    """A file to read once, or - for standard input."""
    if text != STANDARD_INPUT:
        if stat.S_ISDIR(os.stat(text).st_mode):
            raise ArgumentTypeError(f"{text!r} is a folder: name a file")
    return text


@_of_path
def output_file(text: str) -> str:
    """A file that can be written."""
    path = pathlib.Path(text)
    if path.is_dir():
        raise ArgumentTypeError(f"{text!r} is a folder: name a file")
    if path.exists() and not path.is_file():
        raise ArgumentTypeError(f"{text!r} is a device or a pipe: name a file")
    if not path.parent.is_dir():
        raise ArgumentTypeError(f"there is no folder {str(path.parent)!r}")
    _check_writable(path.parent)
    return text


def output_file_in(suffixes: Collection[str]) -> Callable[[str], str]:
    """Returns the reader of files that can be written, with these suffixes."""

    def read(text):
        if pathlib.Path(text).suffix.lower() not in suffixes:
            raise ArgumentTypeError(
                f"must end in {', '.join(suffixes)}, not {text!r}"
            )
        return output_file(text)

    return read


@_of_path
def output_folder(text: str) -> str:
    """A folder that exists or can be made."""
    if not text:
        raise ArgumentTypeError("is empty: name a folder")
    folder = pathlib.Path(os.path.realpath(text))
    if os.path.ismount(folder):
        raise ArgumentTypeError(
            f"{text!r} is the root of a file system: name a folder inside it"
        )
    if folder.exists() and not folder.is_dir():
        raise ArgumentTypeError(f"{text!r} is a file: name a folder")
    parent = folder.parent  # where the folder is made, or replaced as a whole
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise ArgumentTypeError(f"{str(parent)!r} is a file, not a folder")
    _check_writable(parent)
    return text


def _check_writable(folder):
    """Tries it: what permissions say is not all, and root has them all."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArgumentTypeError(
            f"cannot write to {str(folder)!r} ({error.strerror})"
        ) from error
