"""Pictures as files."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from keras_attention import files
from keras_attention import validation
from keras_attention.choices import PICTURE_SUFFIXES


def save_figure(
    figure: Any, path: str | pathlib.Path, dpi: float = 150
) -> pathlib.Path:
    """Writes a figure as PNG, PDF or SVG, as the end of its name says.

    A crash leaves the old file or the new one.

    Args:
        figure: matplotlib `Figure`.
        path: name of the file, in a folder that exists; see `check_path`.
        dpi: pixels per inch of a PNG.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        ValueError: `path` is not the name of a picture that can be written.

    Example:

    >>> import tempfile
    >>> from keras_attention.plots import plot_mask
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/causal.png"
    ...     save_figure(plot_mask([[True, False], [True, True]]), path).name
    'causal.png'
    """
    path = check_path(path)
    with files.whole_file(path) as file:
        figure.savefig(file, format=path.suffix.lower()[1:], dpi=dpi)
    return path


def check_path(path: str | pathlib.Path) -> pathlib.Path:
    """Checks the name of a picture, before any time is spent on drawing it.

    Args:
        path: name that ends in `.png`, `.pdf` or `.svg`, in a folder that
            exists and may be written.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        ValueError: `path` is not such a name.

    Example:

    >>> from keras_attention.plots import check_path
    >>> check_path("alignment.pdf").suffix
    '.pdf'
    """
    return checked_place(path, PICTURE_SUFFIXES)


def checked_place(
    path: str | os.PathLike, known_suffixes: Sequence[str]
) -> pathlib.Path:
    """Returns the path of a file that can be written, as `check_path` does.

    Args:
        path: name of the file.
        known_suffixes: ends of its name of which it must have one.

    Raises:
        ValueError: `path` is not such a name.
    """
    path = pathlib.Path(path)
    received = repr(str(path))
    if path.suffix.lower() not in known_suffixes:
        *most, last = known_suffixes
        suffixes = f"{', '.join(most)} or {last}"
        raise validation.invalid("path", f"a name in {suffixes}", received)
    if path.is_dir():
        raise validation.invalid("path", "a file, not a folder", received)
    if not path.parent.is_dir():
        raise validation.invalid(
            "path",
            "in a folder that exists",
            received,
            "Make the folder first.",
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise validation.invalid(
            "path", "in a folder that you may write to", received
        )
    return path
