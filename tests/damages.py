"""Damaged copies of a file, and what reading them may end in."""

import random
import typing
from collections.abc import Callable
from collections.abc import Iterator

Damage = tuple[str, bytes]


def damages_of(content: bytes, count: int, draw: random.Random) -> list:
    """Returns damaged contents: (what was done, bytes), half of them flips."""
    kinds = [_flipped, _flipped, _flipped, _cut, _zeroed, _swapped]
    found = [("emptied", b""), ("cut by one byte", content[:-1])]
    while len(found) < count:
        found.append(kinds[len(found) % len(kinds)](content, draw))
    return found


def _flipped(content, draw):
    place, bit = draw.randrange(len(content)), draw.randrange(8)
    flipped = bytes([content[place] ^ 1 << bit])
    what = f"bit {bit} of byte {place} flipped"
    return what, content[:place] + flipped + content[place + 1 :]


def _cut(content, draw):
    place = draw.randrange(len(content))
    return f"cut at byte {place}", content[:place]


def _zeroed(content, draw):
    begin, size = draw.randrange(len(content)), draw.randrange(1, 600)
    size = len(content[begin : begin + size])
    what = f"{size} bytes zero from {begin} on"
    return what, content[:begin] + bytes(size) + content[begin + size :]


def _swapped(content, draw):
    """Two parts change their places, as blocks of a disk may."""
    one, middle, other = sorted(draw.randrange(len(content)) for _ in "123")
    what = f"{one}:{middle} and {middle}:{other} swapped"
    parts = content[:one], content[middle:other], content[one:middle]
    return what, b"".join([*parts, content[other:]])


class Outcomes(typing.NamedTuple):
    """How many damaged files were read how."""

    refused: int
    unchanged: int
    changed: int  # read as what another file could hold


def try_all(
    path: typing.Any,
    read: Callable,
    damages: Iterator[Damage],
    detected: bool,
    same: Callable = lambda one, other: one == other,
) -> Outcomes:
    """Reads each damaged file; what is no ValueError with its path fails.

    Args:
        path: `pathlib.Path` of the whole file, which is put back at the end.
        read: function from the path to what is in the file.
        damages: (what was done, content) pairs.
        detected: whether no damage may change what is read.
        same: whether two results of `read` are equal.
    """
    whole, wanted = path.read_bytes(), read(path)
    refused = unchanged = changed = 0
    for what, content in damages:
        path.write_bytes(content)
        try:
            found = read(path)
        except ValueError as error:
            if str(path) not in str(error):
                raise AssertionError(f"{what}: {error!r}") from error
            refused += 1
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error
        else:
            if same(found, wanted):
                unchanged += 1
            elif detected:
                raise AssertionError(f"{what}: nobody notices")
            else:
                changed += 1
    path.write_bytes(whole)
    return Outcomes(refused, unchanged, changed)
