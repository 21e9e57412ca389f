"""Arrays and facts in one file that is either whole or not there."""

import itertools
import json
import os
import pathlib
import zipfile

import numpy as np

FACTS = "facts"


def write_archive(path, arrays, facts):
    """Writes a list of arrays and a dict for JSON; a crash leaves no half."""
    path = pathlib.Path(path)
    beside = path.with_name(f".{path.name}.tmp")
    named = {f"array_{n}": _plain(array) for n, array in enumerate(arrays)}
    named[FACTS] = np.frombuffer(json.dumps(facts).encode(), "uint8")
    with open(beside, "wb") as file:
        np.savez(file, **named)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    _sync_folder(path.parent)


def read_archive(path):
    """Returns the arrays and the facts.

    Raises:
        ValueError: if the file is no archive of `write_archive`, or broken.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            facts = json.loads(archive[FACTS].tobytes())
            names = [f"array_{n}" for n in range(len(archive.files) - 1)]
            return [archive[name] for name in names], facts
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as e:
        raise ValueError(f"The file {str(path)!r} cannot be read: {e}") from e


def variable_arrays(variables):
    """Returns the values of Keras variables."""
    return [np.asarray(variable.value) for variable in variables]


def assign_arrays(variables, arrays, path):
    """Sets Keras variables to arrays that were read from `path`.

    Raises:
        ValueError: if numbers or shapes differ; then nothing is set.
    """
    ours = [tuple(variable.shape) for variable in variables]
    theirs = [array.shape for array in arrays]
    if ours != theirs:
        pairs = itertools.zip_longest(ours, theirs)
        number, (our, their) = next(
            item for item in enumerate(pairs) if len({*item[1]}) > 1
        )
        raise ValueError(
            f"The file {str(path)!r} must hold the {len(ours)} variables of "
            f"this model. Received: {len(theirs)} arrays; number {number} is "
            f"{their}, not {our}. Was it written by another model?"
        )
    for variable, array in zip(variables, arrays, strict=True):
        dtype = np.asarray(variable.value).dtype
        variable.assign(array if dtype.kind != "V" else array.view(dtype))


def _plain(array):
    # bfloat16 and its like are unknown to the file format: keep their bits.
    if array.dtype.kind == "V":
        return array.view(f"uint{8 * array.dtype.itemsize}")
    return array


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
