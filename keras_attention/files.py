"""Files and folders that are whole or absent, and locks.

Whatever is written goes to a temporary path in the same folder, is flushed to
the disk (fsync) and then renamed. So a reader, even one after a crash, finds
the old content or the new one, and never a part of it. The temporary path is
locked while its process lives; what a killed process left behind is removed
when the same path is written the next time.

Locks are `flock` locks, which end with their process. On a system without
them nothing is locked, and nothing that was left behind is removed.
"""

import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from typing import BinaryIO

from keras_attention import validation

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# What a temporary folder holds: the new content, the old content while it
# makes room for the new one, what is being deleted, and the lock.
NEW, OLD, DELETED, LOCK = "new", "old", "deleted", "lock"

NOT_SUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.ENOLCK)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """Opens a file for writing bytes; it appears at `path` when it is whole.

    Args:
        path: path of the file, in a folder that exists. What is there, or
            where a symbolic link there leads, is replaced at the end of the
            `with` block, unless it raises.

    Yields:
        A binary file to write to; it can be read and sought in, too.

    Example:

    >>> import os
    >>> import tempfile
    >>> from keras_attention import files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with files.whole_file(f"{folder}/a.txt") as file:
    ...         _ = file.write(b"all of it")
    ...     os.listdir(folder)
    ['a.txt']
    """
    path = resolved(path)
    with _temporary_folder(path) as temporary:
        with open(temporary / NEW, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary / NEW, path)
        _sync_folder(path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file in UTF-8 that is whole or absent."""
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))


@contextlib.contextmanager
def replace_folder(
    folder: str | os.PathLike,
    marker_files: Sequence[str],
    overwrite: bool,
    other_names: Sequence[str] = (),
) -> Iterator[pathlib.Path]:
    """Makes a folder that appears at `folder` when it is whole.

    Replacing an earlier folder is one atomic exchange where the system can
    do that (Linux, macOS). Elsewhere the old folder is renamed first; a
    process that is killed at that very moment leaves it to `recover`.

    Args:
        folder: path of the folder to make; its parents are made, too.
        marker_files: names of files. An earlier folder is only replaced if
            it holds all of them and, hidden files aside, nothing that has
            another name than these and `other_names`, so that nothing else is
            ever deleted. What folders in it hold is not looked at.
        overwrite: whether to replace an earlier folder.
        other_names: names of all else, files and folders, that this or an
            earlier version writes into such a folder.

    Yields:
        The path of a temporary folder to write to.

    Raises:
        ValueError: if `folder` may not be written.
    """
    folder = resolved(folder)
    check_free(folder, overwrite, marker_files, other_names)
    make_folder(folder.parent)
    with _temporary_folder(folder) as temporary:
        new = temporary / NEW
        new.mkdir()
        yield new
        _sync_tree(new)
        _put(new, folder, temporary / OLD)
        # Before the old content is deleted: else a loss of power might leave
        # it in its place without its files.
        _sync_folder(folder.parent)


def check_free(
    folder: str | os.PathLike,
    overwrite: bool,
    marker_files: Sequence[str],
    other_names: Sequence[str] = (),
) -> None:
    """Checks that `replace_folder` with these arguments may write.

    Raises:
        ValueError: if something is at `folder` that may not be replaced.
    """
    folder = resolved(folder)
    recover(folder)
    if os.path.ismount(folder):
        raise validation.invalid(
            "folder",
            "a path that can be renamed, which the root of a file system "
            "cannot",
            repr(str(folder)),
            "Name a folder inside it.",
        )
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise validation.invalid(
            "folder",
            "a path where nothing is yet",
            repr(str(folder)),
            "Choose another path, or set overwrite=True (--overwrite).",
        )
    if not all((folder / name).is_file() for name in marker_files):
        raise validation.invalid(
            "folder",
            f"a folder with {' and '.join(marker_files)}, where one is to be "
            "replaced",
            repr(str(folder)),
            "Nothing else is ever replaced.",
        )
    strangers = _strangers(folder, {*marker_files, *other_names})
    if strangers:
        raise validation.invalid(
            "folder",
            "a folder that holds nothing of another kind, where it is to be "
            "replaced",
            f"{str(folder)!r} with {', '.join(map(repr, strangers))}",
            "Move that elsewhere, or choose another path.",
        )


def _strangers(folder, names):
    """Names of what is in the folder, but for these and hidden files."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in names
        and not (path.name.startswith(".") and path.is_file())
    )


def resolved(path: str | os.PathLike) -> pathlib.Path:
    """Returns the absolute path, symbolic links followed."""
    return pathlib.Path(os.path.realpath(path))


def make_folder(folder: str | os.PathLike) -> None:
    """Makes a folder, and its parents, if they are not there yet.

    What is written into it later is lost with it: so it is flushed to the
    disk, too.
    """
    folder = pathlib.Path(folder)
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync_folder(path.parent)


def remove_folder(folder: str | os.PathLike) -> None:
    """Deletes a folder; a crash leaves all of it at `folder` or nothing."""
    folder = pathlib.Path(folder)
    with _temporary_folder(folder) as temporary:
        folder.rename(temporary / DELETED)
        _sync_folder(folder.parent)


def recover(path: str | os.PathLike) -> None:
    """Cleans up what killed processes left behind when they wrote `path`.

    Temporary folders are removed. If nothing is at `path` because a process
    was killed between the two renames of `replace_folder`, the old folder is
    put back.
    """
    path = pathlib.Path(path)
    try:
        names = os.listdir(path.parent)
    except OSError:  # no folder, or one that may be read but not listed
        return
    for name in names:
        if not name.startswith(_prefix(path)):
            continue
        temporary = path.parent / name
        try:
            held = Lock(temporary / LOCK)
        except OSError:  # its process lives, or another one cleans up
            continue
        with held:
            if held.is_locked:
                _put_back(temporary, path)
                shutil.rmtree(temporary, ignore_errors=True)


def _put_back(temporary, path):
    """Puts the old folder back, or sees to it that nobody will later."""
    old = temporary / OLD
    if old.exists() and path.exists():
        _give_up(old)
    elif old.exists():
        old.rename(path)
        _sync_folder(path.parent)


class Lock:
    """A lock that ends with its process, on a file that is made if need be.

    It is held from the call until `close`, or until the end of the `with`
    block. Where the file system has no locks, `is_locked` is False.

    Args:
        path: path of the file.

    Raises:
        BlockingIOError: if another process, or another `Lock` of this one,
            holds the lock.
        FileNotFoundError: if the folder of the file does not exist.

    Example:

    >>> import tempfile
    >>> from keras_attention import files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with files.Lock(f"{folder}/lock") as held:
    ...         held.is_locked
    True
    """

    def __init__(self, path: str | os.PathLike):
        while True:
            self._file = open(path, "ab")
            try:
                self.is_locked = _flock(self._file)
            except BaseException:
                self._file.close()
                raise
            if _is_at(self._file, path):
                return
            # The holder before us has deleted the file: lock the next one.
            self._file.close()

    def close(self) -> None:
        """Releases the lock."""
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def _flock(file):
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NOT_SUPPORTED:
            return False
        raise
    return True


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _prefix(path):
    return f".{path.name}.tmp-"


@contextlib.contextmanager
def _temporary_folder(path):
    """Yields a new, locked folder in the folder of `path`, later removed."""
    recover(path)
    temporary, held = None, None
    while held is None:
        temporary = pathlib.Path(
            tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent)
        )
        # Until it is locked, another process may take it for left behind.
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            held = Lock(temporary / LOCK)
    with held:
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _put(new, folder, old):
    """Moves `new` to `folder`; what was there ends at `new` or `old`."""
    if not folder.exists() or not any(folder.iterdir()):
        new.rename(folder)
        return
    try:
        _exchange(new, folder)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(
                errno.EXDEV,
                "A folder of the image of a container cannot be moved. Delete "
                "it first, or write to another place",
                str(folder),
            ) from error
        if error.errno not in NOT_SUPPORTED:
            raise
        folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        _give_up(old)


def _give_up(old):
    """Says on the disk that an old folder, soon deleted, is not put back."""
    old.rename(old.with_name(DELETED))
    _sync_folder(old.parent)


def _exchange(path, other):
    """Exchanges two paths in one step, which Python has no function for."""
    if os.name == "nt":
        raise OSError(errno.ENOSYS, "no system call exchanges two paths")
    library = ctypes.CDLL(None, use_errno=True)
    path, other = os.fsencode(path), os.fsencode(other)
    if sys.platform == "darwin":
        rename_swap = 2
        failed = library.renamex_np(path, other, rename_swap)
    elif hasattr(library, "renameat2"):
        current_folder, rename_exchange = -100, 2
        failed = library.renameat2(
            current_folder, path, current_folder, other, rename_exchange
        )
    else:
        raise OSError(errno.ENOSYS, "no system call exchanges two paths")
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _sync_tree(folder):
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_folder(parent)


def _sync_folder(folder):
    if fcntl is None:  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
