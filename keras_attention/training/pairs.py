"""Pairs of texts, from files or lists, checked as they are read."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from keras_attention import validation
from keras_attention.training.pair_files import broken
from keras_attention.training.pair_files import check_columns
from keras_attention.training.pair_files import read_file
from keras_attention.training.pair_files import with_both_sides


def read_pairs(pairs: Any, columns: Sequence | None = None) -> Iterator:
    """Reads pairs one by one, each checked; never a whole file at once.

    A file is UTF-8 and has one pair a line. The end of its name says how:

    - `.csv`: `source,target`, with quotes as spreadsheets write them.
    - `.jsonl`, `.ndjson`: `{"source": ..., "target": ...}` or an array.
    - any other, such as `.tsv` and `.txt`: `source<TAB>target`.

    `.gz` after it is a gzip archive of the same. Blank lines, line ends
    (`\\n` or `\\r\\n`) and a byte order mark are left out, and so is, with a
    warning, a first line that says "source" and "target" (or src and tgt,
    input and output).

    Args:
        pairs: path of a file, list of paths, or list of (source, target).
        columns: which two columns of the files are source and target, where
            there are more: numbers from 0, such as `(0, 2)`, or names from
            the first line (for JSON objects: keys), such as `("en", "fr")`.

    Returns:
        Iterator of (source, target), both str.

    Raises:
        ValueError: at once if a file is missing; while reading, with file and
            line: a file without a pair, not exactly two columns where none
            are chosen, a chosen one missing, an empty side, bytes that are
            not UTF-8, broken CSV, JSON or gzip.

    Example:

    >>> from keras_attention.training import read_pairs
    >>> list(read_pairs([("hello", "HH AH L OW")]))
    [('hello', 'HH AH L OW')]
    """
    columns = check_columns(columns)
    paths = as_paths(pairs)
    if paths is None:
        if columns is not None:
            raise validation.invalid(
                "columns", "None for a list of (source, target)", repr(columns)
            )
        return _checked(pairs)
    for path in paths:
        if not path.is_file():
            raise validation.invalid(
                "pairs", "files that exist", repr(str(path))
            )
    return (pair for path in paths for pair in read_file(path, columns))


def as_paths(pairs: Any) -> list[pathlib.Path] | None:
    """Returns the paths among the kinds of `pairs`, or None for a list."""
    if isinstance(pairs, (str, os.PathLike)):
        return [pathlib.Path(pairs)]
    if not isinstance(pairs, (list, tuple)) or not pairs:
        raise validation.invalid(
            "pairs",
            "a path, a list of paths or a list of (source, target), not empty",
            repr(pairs)[:80],
        )
    if all(isinstance(item, (str, os.PathLike)) for item in pairs):
        return [pathlib.Path(path) for path in pairs]
    return None


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs that can be read again and again, or a share of them.

    The share of a pair depends on its source alone, so all targets of one
    source are on one side.

    Args:
        data: what `read_pairs` takes.
        low, high: the range of shares, within [0, 1), that is read.
        columns: as for `read_pairs`.

    Example:

    >>> from keras_attention.training import Pairs
    >>> train, held_out = Pairs([("a", "A"), ("b", "B")]).split(0.5)
    >>> len(list(train)) + len(list(held_out))
    2
    """

    data: Any
    low: float = 0.0
    high: float = 1.0
    columns: tuple | None = None

    def __iter__(self):
        everything = (self.low, self.high) == (0.0, 1.0)
        for source, target in read_pairs(self.data, self.columns):
            if everything or self.low <= share_of(source) < self.high:
                yield source, target

    def split(self, share: float) -> tuple["Pairs", "Pairs"]:
        """Returns the pairs without a share of them, and that share."""
        rest = dataclasses.replace(self, low=share)
        return rest, dataclasses.replace(self, high=share)


def share_of(source: str) -> float:
    """Returns a number in [0, 1) that depends on the text alone."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _checked(pairs):
    for number, pair in enumerate(pairs, start=1):
        where = f"pair {number} of the list"
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(side, str) for side in pair):
            raise broken(where, f"{pair!r} is not a pair of two str")
        yield with_both_sides(*pair, where)
