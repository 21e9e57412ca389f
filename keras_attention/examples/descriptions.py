"""Descriptions of Debian's packages: a long text, and a line that sums it up.

Files of the form `Package: ...`, `Description-en: LINE`, then the long text in
lines that begin with a space, are on each machine with Debian's apt:
`dists/STABLE/main/i18n/Translation-en` of a mirror.
"""

import bz2
import gzip
import hashlib
import lzma
import pathlib
import re

FILE = "Translation-en"
SOURCE = (
    f"{FILE} (.gz, .bz2, .xz or unpacked) from dists/bookworm/main/i18n of a "
    "Debian mirror; the descriptions are free, under their packages' licences"
)
OPENERS = {"": open, ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
ENTRY = re.compile(r"^Description(?:-en)?: (.+)\n((?: .*\n?)+)", re.MULTILINE)
FAMILY = 8  # first words, which packages of one source have in common
SAMPLE = (
    ("puzzle game", "Slide tiles with numbers until two of them are equal."),
    ("small text editor", "A text editor that needs little memory."),
    ("text editor (docs)", "This package has the manual of an editor."),
    ("image viewer", "It shows pictures, one after the other."),
    ("fonts for Greek", "Some fonts that have the letters of Greek."),
    ("web server", "A server that hands out files over HTTP."),
    ("chess program", "It plays chess against you, or against itself."),
    ("mail reader", "Reads mail from a server and shows it."),
)


def read(folder: pathlib.Path) -> list[tuple[str, str]]:
    """Returns (long, short) descriptions, each long one once."""
    for suffix, opener in OPENERS.items():
        path = folder / f"{FILE}{suffix}"
        if path.is_file():
            with opener(path, "rt", encoding="utf-8") as file:
                return parsed(file.read())
    raise ValueError(
        f"`--data` must name a folder that holds {FILE}, or that with .gz, "
        f".bz2 or .xz. Received: {str(folder)!r}, which does not"
    )


def parsed(text: str) -> list[tuple[str, str]]:
    """Returns the (long, short) descriptions of the text of a file."""
    found = {}
    for entry in text.split("\n\n"):
        if match := ENTRY.search(entry):
            lines = match[2].splitlines()
            long = " ".join(line.strip() for line in lines if line != " .")
            found.setdefault(long, match[1].strip())
    return list(found.items())


def part_of(long: str) -> str:
    """Returns "train", "dev" or "test": a hash of the first words decides.

    Packages of one source begin alike, and so come into one part.
    """
    first = " ".join(long.split()[:FAMILY])
    number = int(hashlib.sha256(first.encode()).hexdigest()[:8], 16) % 100
    return {0: "dev", 1: "dev", 2: "test", 3: "test"}.get(number, "train")


def write_sample(folder: pathlib.Path) -> None:
    """Writes some descriptions as a file of the data."""
    entries = [
        f"Package: p{number}\nDescription-en: {short}\n Number {number}. "
        f"{long}\n .\n And a second paragraph.\n\n"
        for number, (short, long) in enumerate(SAMPLE * 12)
    ]
    text = "".join(entries)
    (folder / FILE).write_text(text, encoding="utf-8")
