"""The files that a command reads: stored ones, pipes and standard input."""

import codecs
import contextlib
import gzip
import pathlib
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any
from typing import BinaryIO

from keras_attention.cli.terminal import standard_input
from keras_attention.cli.values import STANDARD_INPUT

GZIP = ".gz"


def bytes_of(name: str) -> bytes:
    """Returns all that a file of text holds, without a byte order mark."""
    with opened_text(name) as file:
        return without_mark(file.read())


def without_mark(data: bytes) -> bytes:
    """Returns the beginning of a text without a byte order mark."""
    return data.removeprefix(codecs.BOM_UTF8)


@contextlib.contextmanager
def opened_text(name: str) -> Iterator[BinaryIO]:
    """Yields a file as `opened`, unpacked where its name ends in `.gz`."""
    with opened(name) as file:
        if not name.lower().endswith(GZIP):
            yield file
            return
        try:
            yield gzip.GzipFile(fileobj=file)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{name!r}: the gzip archive is broken ({error})"
            ) from error


def opened(name: str) -> Any:
    """Returns a context whose value is the binary file."""
    if name == STANDARD_INPUT:
        return contextlib.nullcontext(standard_input())
    return open(name, "rb")


@contextlib.contextmanager
def stored_files(names: Sequence[str] | None) -> Iterator[Sequence | None]:
    """Yields the names as files that can be read again and again.

    Standard input and pipes are copied to files in a temporary folder.
    """
    if names is None or all(map(_is_stored, names)):
        yield names
        return
    with tempfile.TemporaryDirectory(prefix="keras-attention-") as folder:
        paths = []
        for number, name in enumerate(names, start=1):
            if _is_stored(name):
                paths.append(name)
                continue
            is_input = name == STANDARD_INPUT
            label = "standard-input" if is_input else pathlib.Path(name).name
            path = pathlib.Path(folder) / str(number) / label
            path.parent.mkdir()
            with open(path, "wb") as copy:
                with opened(name) as file:
                    shutil.copyfileobj(file, copy)
            paths.append(path)
        yield paths


def _is_stored(name):
    if name == STANDARD_INPUT:
        return False
    return stat.S_ISREG(pathlib.Path(name).stat().st_mode)
