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


def check_writable(name: str, data: Any) -> None:
    """Checks that no number in `data` is NaN or infinite.

    Args:
        name: name of the argument that holds `data`, for the error.
        data: nested dicts and lists.

    Raises:
        ValueError: if a number is; the message names the entry.
    """
    entries = [(name, data)]
    while entries:
        place, value = entries.pop()
        if isinstance(value, dict):
            entries += [(f"{place}[{k!r}]", v) for k, v in value.items()]
        elif isinstance(value, (list, tuple)):
            entries += [(f"{place}[{i}]", v) for i, v in enumerate(value)]
        elif isinstance(value, float) and not math.isfinite(value):
            raise validation.invalid(
                name,
                "made of finite numbers, as JSON has no others",
                f"{value!r} at {place}",
                "Leave the entry out, or write None.",
            )


def _unique(pairs):
    data = {}
    for key, value in pairs:
        if key in data:
            raise ValueError(f"the key {key!r} is there twice")
        data[key] = value
    return data


def _refuse_constant(constant):
    raise ValueError(f"{constant} is not a JSON number")
