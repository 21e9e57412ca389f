"""Digests tell whether files of a model folder were saved together."""

import hashlib
import pathlib

CHUNK = 2**20


def digest_of(path: pathlib.Path) -> str | None:
    """Returns the SHA-256 of a file in hexadecimal; None if there is none."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_digest(path: pathlib.Path, recorded: str | None) -> None:
    """Checks that a file is the one that was saved.

    Args:
        path: `pathlib.Path` of the file.
        recorded: its `digest_of` when it was saved.

    Raises:
        ValueError: if the file is missing, was added or has other content.
    """
    found = digest_of(path)
    if found == recorded:
        return
    if found is None:
        raise ValueError("it is missing")
    raise ValueError(
        "it is not the file that was saved with this model, by its SHA-256. "
        "Is it of another model, or damaged? Take the whole folder again "
        "from where it came. Where the change is meant, remove 'sha256' from "
        "card.json."
    )
