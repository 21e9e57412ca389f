"""One file of pairs, row by row: tab-separated, CSV or JSON, or gzip of them.

The end of the name says which: `.csv` has commas and quotes, `.jsonl` and
`.ndjson` one JSON object or array a line, everything else tabs. `.gz` after
it is a gzip archive.
"""

import csv
import gzip
import json
import pathlib
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

from keras_attention import validation

BYTE_ORDER_MARK = "\ufeff"
GZIP = ".gz"
JSON_LINES = (".jsonl", ".ndjson")
NAMES = ("source", "target")
MOST_SHOWN = 20  # columns that an error lists
# First lines that name the columns, and are no pair.
HEADERS = {NAMES, ("src", "tgt"), ("src", "trg"), ("input", "output")}


def check_columns(columns: Any) -> tuple | None:
    """Returns `columns` as a tuple of two int or two str, or None."""
    if columns is None:
        return None
    chosen = tuple(columns) if isinstance(columns, (list, tuple)) else ()
    kinds = {type(column) for column in chosen}
    is_numbers = kinds == {int} and min(chosen) >= 0
    if len(chosen) != 2 or not (kinds == {str} or is_numbers):
        raise validation.invalid(
            "columns",
            "two numbers from 0, such as (0, 2), or two names, such as "
            "('en', 'fr')",
            repr(columns),
        )
    return chosen


def read_file(
    path: pathlib.Path, columns: tuple | None = None
) -> Iterator[tuple[str, str]]:
    """Yields the (source, target) of one file; see `read_pairs`."""
    is_json = _suffixes(path)[0] in JSON_LINES
    found = False
    for where, pair in (_from_json if is_json else _from_table)(path, columns):
        found = True
        yield with_both_sides(*pair, where)
    if not found:
        raise broken(str(path), "the file is empty")


def with_both_sides(source: str, target: str, where: str) -> tuple[str, str]:
    """Returns the pair if neither side is blank."""
    for name, side in zip(NAMES, (source, target), strict=True):
        if not side.strip():
            raise broken(where, f"the {name} is empty")
    return source, target


def broken(where: str, fault: str, fix: str = "") -> ValueError:
    """Returns the `ValueError` for what was read at `where`."""
    message = f"`pairs` must be pairs of source and target. {where}: {fault}."
    return ValueError(f"{message} {fix}".rstrip())


def _suffixes(path):
    """The suffix that tells the format, and whether `.gz` follows it."""
    is_packed = path.suffix.lower() == GZIP
    path = path.with_suffix("") if is_packed else path
    return path.suffix.lower(), is_packed


def _lines(path):
    """Yields (where, line) of a file, line ends included."""
    opener = gzip.open if _suffixes(path)[1] else open
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                where = f"{path}, line {number}"
                text = _decoded(line, where)
                is_first = number == 1
                yield (
                    where,
                    text.removeprefix(BYTE_ORDER_MARK) if is_first else text,
                )
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        where = f"{path}, line {number + 1}"
        raise broken(where, f"the gzip archive is broken ({error})") from error


def _decoded(line, where):
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        fault = f"byte {error.start + 1} is not UTF-8"
        raise broken(where, fault, "Save the file as UTF-8.") from error


def _from_json(path, columns):
    for where, line in _lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise broken(where, f"the line is not JSON ({error})") from error
        yield where, _texts_of(row, columns, where)


def _texts_of(row, columns, where):
    """The two texts of a JSON object, by its keys, or of an array."""
    if isinstance(row, list):
        texts = _chosen(row, columns, where)
    elif isinstance(row, dict):
        keys = columns or NAMES
        _check_present(keys, list(row), where)
        texts = [row[key] for key in keys]
    else:
        raise broken(where, "the line is no JSON object or array")
    for text in texts:
        if not isinstance(text, str):
            raise broken(where, f"{text!r:.40} is not a text")
    return texts


def _from_table(path, columns):
    is_first = True
    for where, row in _rows(path):
        if not any(cell.strip() for cell in row):
            continue
        if is_first:
            is_first = False
            if columns is not None and isinstance(columns[0], str):
                columns = _places(columns, row, where)
                continue
            if _is_header(row, columns):
                warnings.warn(
                    f"{where}: {' and '.join(row)!r} names the columns and "
                    "is left out.",
                    stacklevel=2,
                )
                continue
        yield where, _chosen(row, columns, where)


def _rows(path):
    """Yields (where, list of cells) of a tab-separated or CSV file."""
    lines = _lines(path)
    if _suffixes(path)[0] != ".csv":
        for where, line in lines:
            yield where, line.rstrip("\r\n").split("\t")
        return
    reader = csv.reader((line for _, line in lines), strict=True)
    while True:
        where = f"{path}, line {reader.line_num + 1}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fix = "Is a quote not closed, or not doubled inside a text?"
            raise broken(where, f"the CSV is broken ({error})", fix) from error
        yield where, row


def _is_header(row, columns):
    first, second = columns or (0, 1)
    if max(first, second) >= len(row):
        return False
    return (row[first].strip().lower(), row[second].strip().lower()) in HEADERS


def _places(names, header, where):
    cells = [cell.strip() for cell in header]
    _check_present(names, cells, where, "The first line names the columns.")
    return [cells.index(name) for name in names]


def _chosen(cells, columns, where):
    """The two of a row of cells, which has no others if none were chosen."""
    if columns is None:
        if len(cells) != 2:
            raise _other_than_two(cells, where)
        return cells
    _check_present(columns, range(len(cells)), where)
    return [cells[column] for column in columns]


def _other_than_two(cells, where):
    fault = f"the number of columns is {len(cells)}, not 2"
    if len(cells) > 2:
        fix = "Choose two with columns=(0, 1) (--columns 1,2)."
    elif "," in cells[0]:
        fix = (
            "Separate source and target by one tab; for commas, let the name "
            "of the file end in .csv."
        )
    else:
        fix = "Separate source and target by one tab."
    return broken(where, fault, fix)


def _check_present(columns, present, where, fix=""):
    """Checks that a row, or a header, has the columns that were chosen."""
    for column in columns:
        if column not in present:
            there = ", ".join(map(_shown, present[:MOST_SHOWN]))
            there += ", ..." if len(present) > MOST_SHOWN else ""
            fix = f"{fix} Choose two of these with columns= (--columns)."
            fault = f"there is no column {_shown(column)}, but {there}"
            raise broken(where, fault, fix.lstrip())


def _shown(column):
    """A name in quotes; a number counted from 1, as on the command line."""
    return f"{column!r:.40}" if isinstance(column, str) else str(column + 1)
