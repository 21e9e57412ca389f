"""JSON of other people: bounded, an object, each key once."""

import json
import math
import pathlib
from typing import Any

from keras_attention import validation

# Some twenty times as many bytes of memory may be needed to parse it.
MAX_BYTES = 64 * 2**20


def read_object(path: pathlib.Path, allow_nan: bool = False) -> dict[str, Any]:
    """Reads a file that holds a JSON object.

    Args:
        path: `pathlib.Path` of the file.
        allow_nan: whether NaN and Infinity, which are not JSON, may occur.

    Returns:
        A dict.

    Raises:
        ValueError: if the file is larger than `MAX_BYTES`, or holds anything
            else than one JSON object.
    """
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    return parse_object(content, allow_nan)


def parse_object(content: bytes, allow_nan: bool = False) -> dict[str, Any]:
    """Parses bytes that hold a JSON object; see `read_object`.

    Example:

    >>> parse_object(b'{"units": 5}')
    {'units': 5}
    >>> parse_object(b'{"units": 5, "units": 7}')
    Traceback (most recent call last):
    ...
    ValueError: the key 'units' is there twice
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes of JSON")
    try:
        data = json.loads(
            content,
            object_pairs_hook=_unique,
            parse_constant=None if allow_nan else _refuse_constant,
        )
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    if not isinstance(data, dict):
        raise ValueError(
            f"a JSON object was expected, not a {type(data).__name__}"
        )
    return data


def as_writable(name: str, data: Any, place: str = "") -> Any:
    """Returns `data` as JSON can hold it: NumPy's numbers become Python's.

    Args:
        name: name of the argument that holds `data`, for the error.
        data: nested dicts and lists of text, numbers, booleans and None.
        place: where in the argument `data` stands, for the error.

    Raises:
        ValueError: if a number is NaN or infinite, or JSON has no form for
            an entry; the message names it.

    Example:

    >>> import numpy as np
    >>> as_writable("card", {"words": np.int64(5), "names": ("a", "b")})
    {'words': 5, 'names': ['a', 'b']}
    """
    if isinstance(data, dict):
        return {
            validation.without_numpy(key): as_writable(
                name, value, f"{place}[{key!r}]"
            )
            for key, value in data.items()
        }
    if isinstance(data, (list, tuple)):
        return [
            as_writable(name, value, f"{place}[{i}]")
            for i, value in enumerate(data)
        ]
    data = validation.without_numpy(data)
    if isinstance(data, float) and not math.isfinite(data):
        raise validation.invalid(
            name,
            "made of finite numbers, as JSON has no others",
            f"{data!r} at {name}{place}",
            "Leave the entry out, or write None.",
        )
    if data is not None and not isinstance(data, (str, int, float)):
        raise validation.invalid(
            name,
            "made of dicts, lists, text, numbers, booleans and None",
            f"a {type(data).__name__} at {name}{place}",
        )
    return data


def _unique(pairs):
    data = {}
    for key, value in pairs:
        if key in data:
            raise ValueError(f"the key {key!r} is there twice")
        data[key] = value
    return data


def _refuse_constant(constant):
    raise ValueError(f"{constant} is not a JSON number")
