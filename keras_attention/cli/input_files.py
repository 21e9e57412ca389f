"""The files that a command reads: stored ones, pipes and standard input."""

import contextlib
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from keras_attention.cli.terminal import standard_input
from keras_attention.cli.values import STANDARD_INPUT


def bytes_of(name: str) -> bytes:
    """Returns all that a file holds."""
    with opened(name) as file:
        return file.read()


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
