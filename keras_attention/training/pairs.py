"""Reading pairs: one "source<TAB>target" a line, checked as it is read."""

import dataclasses
import gzip
import hashlib
import os
import pathlib
import zlib

from keras_attention import validation

BYTE_ORDER_MARK = "\ufeff"


def read_pairs(pairs):
    """Reads pairs one by one, each checked; never a whole file at once.

    A file holds one pair a line, UTF-8, `source<TAB>target`; its name ends
    in `.gz` if it is compressed. Line ends of any system and a byte order
    mark are left out.

    Args:
        pairs: path of a file, list of paths, or list of (source, target).

    Returns:
        Iterator of (source, target), both str.

    Raises:
        ValueError: at once if a file is missing; while reading, with file and
            line: a file without a line, not exactly two columns, an empty
            side, bytes that are not UTF-8, a broken archive.

    Example:

    >>> from keras_attention.training import read_pairs
    >>> list(read_pairs([("hello", "HH AH L OW")]))
    [('hello', 'HH AH L OW')]
    """
    paths = as_paths(pairs)
    if paths is None:
        return _checked(pairs)
    for path in paths:
        if not path.is_file():
            raise validation.invalid(
                "pairs", "files that exist", repr(str(path))
            )
    return (pair for path in paths for pair in _read_file(path))


def as_paths(pairs):
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

    Example:

    >>> from keras_attention.training import Pairs
    >>> train, held_out = Pairs([("a", "A"), ("b", "B")]).split(0.5)
    >>> len(list(train)) + len(list(held_out))
    2
    """

    data: object
    low: float = 0.0
    high: float = 1.0

    def __iter__(self):
        everything = (self.low, self.high) == (0.0, 1.0)
        for source, target in read_pairs(self.data):
            if everything or self.low <= share_of(source) < self.high:
                yield source, target

    def split(self, share):
        """Returns the pairs without a share of them, and that share."""
        rest = dataclasses.replace(self, low=share)
        return rest, dataclasses.replace(self, high=share)


def share_of(source):
    """Returns a number in [0, 1) that depends on the text alone."""
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _checked(pairs):
    for number, pair in enumerate(pairs, start=1):
        where = f"pair {number} of the list"
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(side, str) for side in pair):
            raise _broken(where, f"{pair!r} is not a pair of two str")
        yield _with_both_sides(*pair, where)


def _read_file(path):
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                yield _parsed(line, f"{path}, line {number}", number == 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        where = f"{path}, line {number + 1}"
        raise _broken(where, f"the gzip archive is broken ({error})") from error
    if not number:
        raise _broken(str(path), "the file is empty")


def _parsed(line, where, is_first):
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        fault = f"byte {error.start + 1} is not UTF-8"
        raise _broken(where, fault, "Save the file as UTF-8.") from error
    if is_first:
        text = text.removeprefix(BYTE_ORDER_MARK)
    columns = text.rstrip("\r\n").split("\t")
    if len(columns) != 2:
        fault = f"the number of columns is {len(columns)}, not 2"
        raise _broken(where, fault, "Separate source and target by one tab.")
    return _with_both_sides(*columns, where)


def _with_both_sides(source, target, where):
    for name, side in (("source", source), ("target", target)):
        if not side.strip():
            raise _broken(where, f"the {name} is empty")
    return source, target


def _broken(where, fault, fix=""):
    message = f"`pairs` must be lines of source<TAB>target. {where}: {fault}."
    return ValueError(f"{message} {fix}".rstrip())
