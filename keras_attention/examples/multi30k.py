"""Multi30k: captions of photographs in English and German, and their tokens.

Figures on this data are mostly counted on lower-cased tokens. For German as
it is written, `usual_case` and `written` go the way back.
"""

import gzip
import pathlib
import re
from collections import Counter
from collections.abc import Sequence

from keras_attention.examples import task

SOURCE = (
    "github.com/multi30k/dataset, data/task1/raw: train.en.gz, val.de.gz and "
    "so on; no licence is stated"
)
TESTS = ("test_2016_flickr", "test_2017_flickr")
LANGUAGES = ("en", "de")
# A number, a word, any other character: what Moses makes of most captions.
TOKEN = re.compile(r"\d+(?:[.,]\d+)+|\w+(?:['’-]\w+)*|[^\w\s]")
SAMPLE = (
    ("A man in a red shirt is running.", "Ein Mann im roten Hemd läuft."),
    ("Two dogs play in the snow.", "Zwei Hunde spielen im Schnee."),
    ("A woman reads a book.", "Eine Frau liest ein Buch."),
)


def read_split(folder: pathlib.Path, name: str) -> list[tuple[str, str]]:
    """Returns the (English, German) lines of a part of the data."""
    sides = []
    for language in LANGUAGES:
        path = task.data_file(folder, f"{name}.{language}.gz")
        with (
            task.reading(path, "lines of UTF-8, compressed by gzip"),
            gzip.open(path, "rt", encoding="utf-8", newline="\n") as file,
        ):
            sides.append([line.strip() for line in file])
    numbers = [*map(len, sides)]
    if len(set(numbers)) > 1:
        raise ValueError(
            f"The files of {name!r} must have as many lines in each language. "
            f"Received: {numbers} lines of {LANGUAGES}"
        )
    return list(zip(*sides, strict=True))


def tokenized(text: str, lower: bool = True) -> str:
    """Returns the tokens of a text with spaces between, lower-cased or not.

    >>> tokenized("Ein Mann, 1,80 m groß, steht.")
    'ein mann , 1,80 m groß , steht .'
    """
    return " ".join(TOKEN.findall(text.lower() if lower else text))


def usual_case(texts: Sequence[str]) -> dict[str, str]:
    """Returns how each word is written most often, first words left out."""
    words = (w for t in texts for w in tokenized(t, lower=False).split()[1:])
    found = sorted(Counter(words).items(), key=lambda item: item[1])
    return {word.lower(): word for word, _ in found}


def written(text: str, case: dict[str, str]) -> str:
    """Returns lower-cased tokens as a sentence.

    >>> written("ein mann , der steht .", {"mann": "Mann"})
    'Ein Mann, der steht.'
    """
    words = [case.get(word, word) for word in text.split()]
    text = re.sub(r" (?=[.,!?;:])", "", " ".join(words))
    return text[:1].upper() + text[1:]


def write_sample(folder: pathlib.Path) -> None:
    """Writes a few sentences as files of the data."""
    for name in ("train", "val", *TESTS):
        for side, language in enumerate(LANGUAGES):
            path = folder / f"{name}.{language}.gz"
            with gzip.open(path, "wt", encoding="utf-8") as file:
                file.writelines(f"{pair[side]}\n" for pair in SAMPLE)
