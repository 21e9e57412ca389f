"""Arrays and facts in one file that is whole or absent."""

import itertools
import json
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from keras_attention import files

FACTS = "facts"


def write_archive(path: str | os.PathLike, arrays: list, facts: dict) -> None:
    """Writes a list of arrays and a dict for JSON."""
    named = {f"array_{n}": _plain(array) for n, array in enumerate(arrays)}
    named[FACTS] = np.frombuffer(json.dumps(facts).encode(), "uint8")
    with files.whole_file(path) as file:
        np.savez(file, **named)


def read_archive(path: str | os.PathLike) -> tuple[list, dict]:
    """Returns the arrays and the facts.

    Raises:
        ValueError: if the file is not an archive of `write_archive`, or is
            damaged.
    """
    try:
        with (
            open(path, "rb") as file,
            np.load(file, allow_pickle=False) as archive,
        ):
            facts = json.loads(archive[FACTS].tobytes())
            names = [f"array_{n}" for n in range(len(archive.files) - 1)]
            arrays = [archive[name] for name in names]
    except Exception as error:
        # A flipped bit may raise nearly anything: it may name a compression
        # that does not exist, or ask for a password.
        kind = type(error).__name__
        raise ValueError(
            f"The file {str(path)!r} cannot be read: {kind}: {error}"
        ) from error
    if not isinstance(facts, dict):
        raise ValueError(
            f"The file {str(path)!r} cannot be read: its facts are no dict."
        )
    return arrays, facts


def variable_arrays(variables: Sequence) -> list[np.ndarray]:
    """Returns the values of Keras variables, of a metric that of all replicas.

    Where several workers train together, all of them must call it.
    """
    values = [variable.value for variable in variables]
    return [
        np.asarray(
            tf.convert_to_tensor(value)
            if isinstance(value, tf.distribute.DistributedValues)
            else value
        )
        for value in values
    ]


def assign_arrays(
    variables: Sequence, arrays: list, path: str | os.PathLike
) -> None:
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
        dtype = np.dtype(tf.as_dtype(variable.dtype).as_numpy_dtype)
        variable.assign(array if dtype.kind != "V" else array.view(dtype))


def add_arrays(variables: Sequence, arrays: list) -> None:
    """Adds arrays to Keras variables of these shapes; to others nothing.

    Args:
        variables: list of Keras variables.
        arrays: list of NumPy arrays.
    """
    if [tuple(v.shape) for v in variables] == [a.shape for a in arrays]:
        for variable, array in zip(variables, arrays, strict=True):
            # Not `assign_add`: the replicas of a metric would each add it.
            variable.assign(variable + array)


def _plain(array):
    # bfloat16 and its like are unknown to the file format: keep their bits.
    if array.dtype.kind == "V":
        return array.view(f"uint{8 * array.dtype.itemsize}")
    return array
