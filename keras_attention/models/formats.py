"""Formats of the model folder, and how those of before are read.

0  version 0.1: the card names no format
1  the card names it, under "format"

Keras finds weights by the attributes that lead to them and arguments by their
names: who moves or renames one adds a line to `CHANGES`, and a file of any
format before is loaded through a copy that has the names of today.
"""

import contextlib
import dataclasses
import json
import pathlib
import tempfile
import typing
import zipfile

from keras_attention.models import archive
from keras_attention.models.weights_file import check_weights

KEY = "format"


@dataclasses.dataclass(frozen=True)
class Change:
    """What a format names otherwise than the one before it.

    Args:
        paths: pairs of paths in the file of weights, before and after, such
            as ("decoder/blocks", "decoder/stack/blocks"). Where a model has
            no such part, nothing is moved.
        arguments: {class name: {name before: name after}} of constructors.
    """

    paths: tuple = ()
    arguments: dict = dataclasses.field(default_factory=dict)


CHANGES = {1: Change()}
FORMAT = max(CHANGES)


def format_of(card: dict) -> int:
    """Returns the format that a card names; 0 where it names none.

    Raises:
        ValueError: if it is one that only a newer version can read.
    """
    found = card.get(KEY)
    if type(found) is not int:  # an entry of the user's own, of before
        return 0
    if not 0 <= found <= FORMAT:
        raise ValueError(
            f"its format is {found}, and this version of keras_attention "
            f"reads those up to {FORMAT}. Install a newer version"
        )
    return found


@contextlib.contextmanager
def translated(
    path: pathlib.Path, written: int
) -> typing.Iterator[pathlib.Path]:
    """Gives a `.keras` file that has the names of today.

    That is `path` itself where no name has changed since. Nothing of the
    file is trusted: it is read in bounds, and its copy is still to be checked.

    Args:
        path: path of a `.keras` file.
        written: the format it was written in.
    """
    changes = [CHANGES[number] for number in range(written + 1, FORMAT + 1)]
    if not any(change.paths or change.arguments for change in changes):
        yield path
        return
    contents = archive.read_archive(path)
    check_weights(contents.weights)
    for change in changes:
        _rename_arguments(contents.config, change.arguments)
        _move_weights(contents.weights, change.paths)
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / path.name
        with zipfile.ZipFile(copy, "w") as file:
            file.writestr(archive.CONFIG, json.dumps(contents.config))
            file.writestr(archive.WEIGHTS, contents.weights.getvalue())
        yield copy


def _rename_arguments(config, arguments):
    """Renames arguments in the configuration of each object in `config`."""
    pending = [config]
    while pending:
        entry = pending.pop()
        if isinstance(entry, list):
            pending += entry
        if not isinstance(entry, dict):
            continue
        pending += entry.values()
        inner = entry.get("config")
        names = arguments.get(str(entry.get("class_name")), {})
        for old, new in names.items() if isinstance(inner, dict) else ():
            if old in inner and new not in inner:
                inner[new] = inner.pop(old)


def _move_weights(file, paths):
    # Here and not above: Keras loads it late, too.
    import h5py

    with h5py.File(file, "r+") as weights:
        for old, new in paths:
            if old in weights and new not in weights:
                weights.move(old, new)
