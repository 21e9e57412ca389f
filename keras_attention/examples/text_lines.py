"""The lines of a text, split and joined for a language model."""

import gzip
import pathlib
from typing import Any

import numpy as np

from keras_attention.examples.task import reading
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import PAD_ID

SOURCE = "any text, a file or a folder of files (.txt, .tsv or .gz): of each "
SOURCE += "line what comes before its first tab"
SUFFIXES = (".txt", ".tsv", ".gz")
HELD_OUT = 0.05  # twice: one part chooses the epoch, one is measured


def read_lines(data: pathlib.Path) -> list[str]:
    """Returns the lines of a file or of the files of a folder, each once."""
    paths = [data] if data.is_file() else sorted(data.iterdir())
    lines = []
    for path in paths:
        if path.is_file() and (path == data or path.suffix in SUFFIXES):
            with reading(path, "text in UTF-8"):
                content = path.read_bytes()
                if path.suffix == ".gz":
                    content = gzip.decompress(content)
                lines += content.decode("utf-8").splitlines()
    lines = (line.partition("\t")[0].strip() for line in lines)
    return [line for line in dict.fromkeys(lines) if line]


def split_lines(lines: list[str]) -> list[list[str]]:
    """Returns the lines to train on, to choose by and to test, by a hash."""
    from keras_attention.training.pairs import share_of

    parts = [[], [], []]
    for line in lines:
        share = share_of(line)
        parts[2 if share < HELD_OUT else share < 2 * HELD_OUT].append(line)
    if not all(parts):
        raise ValueError(
            "`--data` must hold enough lines to train on, to choose by and to "
            f"test. Received: {len(lines)} different lines"
        )
    return parts


def rows_of(lines: list[str], vocabulary: Any) -> list[np.ndarray]:
    """Returns the ids of each line: BOS, characters, EOS."""
    ids = np.asarray(vocabulary.encode(lines))  # (lines, longest)
    ids = np.pad(ids, ((0, 0), (1, 0)), constant_values=BOS_ID)
    return [row[row != PAD_ID] for row in ids]


def blocks_of(rows: list[np.ndarray], length: int) -> tuple:
    """Returns inputs and labels (blocks, length) of all lines, joined.

    The rest that fills no block is left out.
    """
    ids = np.concatenate(rows)
    size = (len(ids) - 1) // length * length
    inputs, labels = ids[:size], ids[1 : size + 1]
    return inputs.reshape(-1, length), labels.reshape(-1, length)


def write_sample(folder: pathlib.Path) -> None:
    """Writes lines of a few words in every order."""
    words = ("the cat", "a dog", "one bird", "my horse", "no fish")
    verbs = ("sees", "hears", "likes", "needs")
    lines = [f"{a} {v} {b}." for a in words for v in verbs for b in words]
    (folder / "lines.txt").write_text("\n".join(lines) + "\n")
