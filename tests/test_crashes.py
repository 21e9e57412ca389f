"""Whatever is written is whole or absent, at whichever event a crash comes."""

import errno
import os
import random

import pytest
from crashes import Trace
from crashes import tree_of

from keras_attention import files


def states_of(trace, draw):
    return trace.killed(draw) + trace.without_power(draw)


def write_carelessly(folder, content):
    path = folder / "file"
    path.write_bytes(content)


def write_without_sync(folder, content):
    path = folder / "new"
    path.write_bytes(content)
    os.replace(path, folder / "file")


@pytest.mark.parametrize("write", [write_carelessly, write_without_sync])
def test_a_careless_writing_is_found_out(write, tmp_path):
    (tmp_path / "file").write_bytes(b"old" * 99)
    with Trace(tmp_path) as trace:
        write(tmp_path, b"new" * 99)
    found = {s.tree.get("file") for s in states_of(trace, random.Random(3))}
    assert {b"old" * 99, b"new" * 99} < found  # and a part or none of it


def test_a_file_is_old_or_new(tmp_path, record_property):
    (tmp_path / "file").write_bytes(b"old" * 99)
    with Trace(tmp_path) as trace:
        with files.whole_file(tmp_path / "file") as file:
            file.write(b"new" * 99)
    states = states_of(trace, random.Random(3))
    assert {s.tree["file"] for s in states} == {b"old" * 99, b"new" * 99}
    assert trace.least()[-1].tree["file"] == b"new" * 99
    record_property("states", len(states))


MARKER = "model.keras"


def write_folder(folder, content):
    with files.replace_folder(folder, (MARKER,), overwrite=True) as new:
        (new / MARKER).write_bytes(content)
        (new / "inside").mkdir()
        (new / "inside" / "b").write_bytes(content * 2)


def refuse_to_exchange(path, other):
    raise OSError(errno.ENOSYS, "none")


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("begin", ["nothing", "old"])
def test_a_folder_is_old_or_new(
    begin, can_exchange, tmp_path, monkeypatch, record_property
):
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", refuse_to_exchange)
    folder = tmp_path / "traced" / "model"
    folder.parent.mkdir()
    if begin == "old":
        write_folder(folder, b"old")
    old = tree_of(folder)
    with Trace(folder.parent) as trace:
        write_folder(folder, b"new")
    new = tree_of(folder)
    states = states_of(trace, random.Random(3))
    kinds = set()
    for number, state in enumerate(states):
        again = tmp_path / str(number)
        again.mkdir()
        state.write(again)
        files.recover(again / "model")
        kinds.add(check_old_or_new(again, old, new))
        # As after the crash, and nothing is left behind.
        write_folder(again / "model", b"newer")
        assert set(os.listdir(again)) == {"model"}
    assert kinds == {begin, "new"}
    assert trace.least()[-1].inside("model") == new
    record_property("states", len(states))


def check_old_or_new(parent, old, new):
    """Returns which of both is there, whole and alone."""
    left = os.listdir(parent)
    assert left in ([], ["model"])
    found = tree_of(parent / "model")
    assert found in (old, new)
    return "new" if found == new else "old" if found else "nothing"


def test_a_removed_folder_is_whole_or_gone(tmp_path, record_property):
    folder = tmp_path / "traced" / "model"
    folder.parent.mkdir()
    write_folder(folder, b"old")
    old = tree_of(folder)
    with Trace(folder.parent) as trace:
        files.remove_folder(folder)
    states = states_of(trace, random.Random(3))
    for number, state in enumerate(states):
        again = tmp_path / str(number)
        again.mkdir()
        state.write(again)
        files.recover(again / "model")
        check_old_or_new(again, old, {})
    assert trace.least()[-1].inside("model") is None
    record_property("states", len(states))
