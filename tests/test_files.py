"""Files and folders that are whole or absent, whenever the process dies."""

import errno
import os
import subprocess
import sys

import pytest

from keras_attention import files

MARKER_FILES, OTHER_NAMES = ("marker",), ("part",)
KILLED = 9


def write(folder, content, **options):
    options = {"overwrite": True, "other_names": OTHER_NAMES, **options}
    with files.replace_folder(folder, MARKER_FILES, **options) as new:
        (new / "marker").write_text(content)
        (new / "part").mkdir()
        (new / "part" / "more").write_text(content)


def content_of(folder):
    texts = {(folder / n).read_text() for n in ("marker", "part/more")}
    (text,) = texts  # both files are of one version
    return text


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def run_and_die(code, *arguments):
    """Runs Python code that ends its process in the middle of its work."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == KILLED, done.stderr


def refuse_to_exchange(path, other):
    raise OSError(errno.ENOSYS, "no system call exchanges two paths")


def test_file_appears_when_it_is_whole(tmp_path):
    with files.whole_file(tmp_path / "a") as file:
        file.write(b"new")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names_in(tmp_path) == ["a"]


def test_file_stays_what_it_was_when_writing_fails(tmp_path):
    files.write_text(tmp_path / "a", "old")
    with pytest.raises(RuntimeError, match="disk full"):
        with files.whole_file(tmp_path / "a") as file:
            file.write(b"ne")
            raise RuntimeError("disk full")
    assert (tmp_path / "a").read_text() == "old"
    assert names_in(tmp_path) == ["a"]


def test_text_is_utf8(tmp_path):
    files.write_text(tmp_path / "a", "安\n")
    assert (tmp_path / "a").read_bytes() == "安\n".encode()


def test_new_files_have_ordinary_permissions(tmp_path):
    (tmp_path / "usual").touch()
    (tmp_path / "usual_folder").mkdir()
    files.write_text(tmp_path / "a", "text")
    write(tmp_path / "b", "text")
    for name, usual in (("a", "usual"), ("b", "usual_folder")):
        assert (tmp_path / name).stat().st_mode == (
            tmp_path / usual
        ).stat().st_mode


def test_parents_of_a_folder_are_made(tmp_path):
    write(tmp_path / "x" / "y" / "model", "new")
    assert content_of(tmp_path / "x" / "y" / "model") == "new"


@pytest.mark.parametrize("can_exchange", [True, False])
def test_folder_is_replaced(can_exchange, tmp_path, monkeypatch):
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", refuse_to_exchange)
    for content in ("old", "new"):
        write(tmp_path / "model", content)
        assert content_of(tmp_path / "model") == content
    assert names_in(tmp_path) == ["model"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_folder_comes_back_when_the_last_step_fails(
    can_exchange, tmp_path, monkeypatch
):
    write(tmp_path / "model", "old")

    def fail(path, target):
        raise OSError(errno.EIO, "disk broken")

    if can_exchange:
        monkeypatch.setattr(files, "_exchange", fail)
    else:
        rename = type(tmp_path).rename
        monkeypatch.setattr(files, "_exchange", refuse_to_exchange)
        monkeypatch.setattr(
            type(tmp_path),
            "rename",
            lambda path, target: (fail if path.name == "new" else rename)(
                path, target
            ),
        )
    with pytest.raises(OSError, match="disk broken"):
        write(tmp_path / "model", "new")
    monkeypatch.undo()
    assert content_of(tmp_path / "model") == "old"
    assert names_in(tmp_path) == ["model"]


def test_a_folder_that_cannot_be_moved_stays_and_is_named(
    tmp_path, monkeypatch
):
    """One of a lower layer of an overlay file system, as in a container."""
    write(tmp_path / "model", "old")

    def fail(path, other):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(files, "_exchange", fail)
    with pytest.raises(OSError, match="Delete it first.*model'"):
        write(tmp_path / "model", "new")
    assert content_of(tmp_path / "model") == "old"
    assert names_in(tmp_path) == ["model"]


def test_folder_is_on_disk_before_it_appears(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync

    def record(descriptor):
        fsync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, folder.exists()))

    folder = tmp_path / "model"
    monkeypatch.setattr(os, "fsync", record)
    write(folder, "new")
    written = [folder, *folder.rglob("*")]
    expected = {(path.stat().st_ino, False) for path in written}
    assert len(expected) == 4
    assert set(synced) == {*expected, (tmp_path.stat().st_ino, True)}


def test_existing_folder_is_refused_without_overwrite(tmp_path):
    write(tmp_path / "model", "old")
    with pytest.raises(ValueError, match="a path where nothing is yet"):
        write(tmp_path / "model", "new", overwrite=False)
    assert content_of(tmp_path / "model") == "old"


def test_foreign_folder_is_never_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("years of work")
    with pytest.raises(ValueError, match="Nothing else is ever replaced"):
        write(tmp_path / "mine", "new")
    assert names_in(tmp_path / "mine") == ["thesis"]


def test_folder_that_holds_a_stranger_is_never_replaced(tmp_path):
    write(tmp_path / "model", "old")
    (tmp_path / "model" / "mine").mkdir()
    (tmp_path / "model" / "mine" / "thesis").write_text("years of work")
    (tmp_path / "model" / "notes").write_text("mine")
    (tmp_path / "model" / ".hidden").write_text("of a system")
    with pytest.raises(ValueError, match="model' with 'mine', 'notes'. Move"):
        write(tmp_path / "model", "new")
    assert content_of(tmp_path / "model") == "old"
    assert (tmp_path / "model" / "mine" / "thesis").exists()


def test_hidden_files_keep_no_folder_from_being_replaced(tmp_path):
    write(tmp_path / "model", "old")
    (tmp_path / "model" / ".hidden").write_text("of a system")
    write(tmp_path / "model", "new")
    assert names_in(tmp_path / "model") == ["marker", "part"]


KILLED_BETWEEN_TWO_RENAMES = """
import errno, os, pathlib, sys
from keras_attention import files
folder = pathlib.Path(sys.argv[1])
def no_exchange(path, other):
    raise OSError(errno.ENOSYS, "none")
rename = pathlib.Path.rename
def rename_and_die(path, target):
    rename(path, target)
    os._exit(9)
files._exchange = no_exchange
pathlib.Path.rename = rename_and_die
with files.replace_folder(folder, ("marker",), True, ("part",)) as new:
    (new / "marker").write_text("new")
"""
KILLED_WHILE_WRITING = """
import os, sys
from keras_attention import files
with files.replace_folder(sys.argv[1], ("marker",), True, ("part",)) as new:
    (new / "marker").write_text("new")
    with files.whole_file(sys.argv[2]) as file:
        file.write(b"new")
        os._exit(9)
"""
KILLED_WHILE_DELETING = """
import os, shutil, sys
from keras_attention import files
shutil.rmtree = lambda *arguments, **options: os._exit(9)
files.remove_folder(sys.argv[1])
"""


def test_old_folder_comes_back_after_death_between_two_renames(tmp_path):
    folder = tmp_path / "model"
    write(folder, "old")
    run_and_die(KILLED_BETWEEN_TWO_RENAMES, folder)
    assert not folder.exists()
    files.recover(folder)
    assert content_of(folder) == "old"
    assert names_in(tmp_path) == ["model"]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    folder, file = tmp_path / "model", tmp_path / "file"
    write(folder, "old")
    files.write_text(file, "old")
    run_and_die(KILLED_WHILE_WRITING, folder, file)
    assert content_of(folder) == file.read_text() == "old"
    assert len(names_in(tmp_path)) == 4
    write(folder, "newer")
    files.write_text(file, "newer")
    assert content_of(folder) == file.read_text() == "newer"
    assert names_in(tmp_path) == ["file", "model"]


def test_deleting_is_all_or_nothing(tmp_path):
    folder = tmp_path / "model"
    write(folder, "old")
    run_and_die(KILLED_WHILE_DELETING, folder)
    assert not folder.exists()
    files.recover(folder)
    assert names_in(tmp_path) == []


def test_deleted_folder_is_gone(tmp_path):
    write(tmp_path / "model", "old")
    files.remove_folder(tmp_path / "model")
    assert names_in(tmp_path) == []


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    with files.whole_file(tmp_path / "a") as slow:
        files.write_text(tmp_path / "a", "quick")
        slow.write(b"slow")
    assert (tmp_path / "a").read_text() == "slow"
    assert names_in(tmp_path) == ["a"]


def test_lock_is_held_once(tmp_path):
    with files.Lock(tmp_path / "lock"):
        with pytest.raises(BlockingIOError, match="unavailable"):
            files.Lock(tmp_path / "lock")
    files.Lock(tmp_path / "lock").close()


def test_lock_whose_file_was_deleted_is_no_lock(tmp_path):
    held = files.Lock(tmp_path / "lock")
    (tmp_path / "lock").unlink()
    with held, files.Lock(tmp_path / "lock") as other:
        assert other.is_locked


def test_file_and_folder_go_where_a_link_leads(tmp_path):
    for name in ("file", "folder"):
        (tmp_path / f"link_to_{name}").symlink_to(tmp_path / name)
    for content in ("old", "new"):
        files.write_text(tmp_path / "link_to_file", content)
        write(tmp_path / "link_to_folder", content)
        assert (tmp_path / "file").read_text() == content
        assert content_of(tmp_path / "folder") == content
    assert (tmp_path / "link_to_folder").is_symlink()
    assert len(names_in(tmp_path)) == 4


def test_root_of_a_file_system_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path)
    with pytest.raises(ValueError, match="Name a folder inside it"):
        write(tmp_path, "new")


def test_folder_that_may_not_be_listed_is_left_alone(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / ".model.tmp-1").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", refuse)
        files.recover(tmp_path / "model")
    assert names_in(tmp_path) == [".model.tmp-1"]
