"""Whatever is written is whole or absent, at whichever event a crash comes."""

import errno
import os
import random
import shutil

import numpy as np
import pytest
from crashes import Trace
from crashes import tree_of
from models.small_models import small_model

import keras_attention as ka
from keras_attention import files

MARKER = "model.keras"


def states_of(trace):
    draw = random.Random(3)
    return trace.killed(draw) + trace.without_power(draw)


def write_carelessly(path, content):
    path.write_bytes(content)


def write_without_sync(path, content):
    path.with_name("new").write_bytes(content)
    os.replace(path.with_name("new"), path)


@pytest.mark.parametrize("write", [write_carelessly, write_without_sync])
def test_a_careless_writing_is_found_out(write, tmp_path):
    (tmp_path / "file").write_bytes(b"old" * 99)
    with Trace(tmp_path) as trace:
        write(tmp_path / "file", b"new" * 99)
    found = {state.tree.get("file") for state in states_of(trace)}
    assert {b"old" * 99, b"new" * 99} < found  # and a part or none of it


def test_a_careless_deletion_is_found_out(tmp_path):
    write_folder(tmp_path / "model", b"old")
    with Trace(tmp_path) as trace:
        shutil.rmtree(tmp_path / "model")
    halves = [s for s in states_of(trace) if len(s.tree) in (1, 2)]
    assert {state.kind for state in halves} >= {"killed", "empty files"}


def test_a_file_is_old_or_new(tmp_path, record_property):
    (tmp_path / "file").write_bytes(b"old" * 99)
    with Trace(tmp_path) as trace:
        with files.whole_file(tmp_path / "file") as file:
            file.write(b"new" * 99)
    states = states_of(trace)
    assert {s.tree["file"] for s in states} == {b"old" * 99, b"new" * 99}
    assert trace.least()[-1].tree["file"] == b"new" * 99
    record_property("crashes of a writing survived", len(states))


def write_folder(folder, content):
    with files.replace_folder(folder, (MARKER,), True, ("inside",)) as new:
        (new / MARKER).write_bytes(content)
        (new / "inside").mkdir()
        (new / "inside" / "b").write_bytes(content * 2)


def refuse_to_exchange(path, other):
    raise OSError(errno.ENOSYS, "none")


@pytest.fixture(params=[True, False], ids=["exchange", "two_renames"])
def can_exchange(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(files, "_exchange", refuse_to_exchange)


def check_crashes(trace, folder, old, tmp_path, is_moved=False):
    """Recovers each state; the new folder is the one that is there now.

    Returns:
        Dict with an example of each of the trees that were found, by kind,
        and the number of states.
    """
    states, new = states_of(trace), tree_of(folder)
    return check_states(states, folder.name, old, new, tmp_path, is_moved)


def check_states(states, name, old, new, tmp_path, is_moved=False):
    """Recovers each state, where the old or the new folder is, or none."""
    found = {}
    for number, state in enumerate(states):
        parent = tmp_path / str(number)
        parent.mkdir(parents=True)
        state.write(parent)
        again = parent / name
        if is_moved and again.exists():
            shutil.rmtree(again)
        files.recover(again)
        assert os.listdir(parent) in ([], [again.name])
        tree = tree_of(again)
        assert tree in ({}, old, new)
        kind = "new" if tree == new else "old" if tree else "nothing"
        found.setdefault(kind, again)
    return found, len(states)


@pytest.mark.parametrize("begin", ["nothing", "old"])
def test_a_folder_is_old_or_new(begin, can_exchange, tmp_path, record_property):
    folder = tmp_path / "traced" / "model"
    folder.parent.mkdir()
    if begin == "old":
        write_folder(folder, b"old")
    old = tree_of(folder)
    with Trace(folder.parent) as trace:
        write_folder(folder, b"new")
    found, count = check_crashes(trace, folder, old, tmp_path)
    assert set(found) == {begin, "new"}
    assert trace.least()[-1].inside("model") == tree_of(folder)
    for again in found.values():
        write_folder(again, b"newer")
        assert os.listdir(again.parent) == ["model"]
    record_property("crashes of a writing survived", count)


def test_what_was_deleted_in_part_is_never_put_back(can_exchange, tmp_path):
    folder = tmp_path / "traced" / "model"
    folder.parent.mkdir()
    write_folder(folder, b"old")
    old = tree_of(folder)
    with Trace(folder.parent) as trace:
        write_folder(folder, b"new")
    found, _ = check_crashes(trace, folder, old, tmp_path, is_moved=True)
    assert "nothing" in found


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.soak)])
def test_a_crash_of_the_recovery_is_recovered_from(
    every, can_exchange, tmp_path, record_property
):
    folder = tmp_path / "traced" / "model"
    folder.parent.mkdir()
    write_folder(folder, b"old")
    old = tree_of(folder)
    with Trace(folder.parent) as trace:
        write_folder(folder, b"new")
    new, tried = tree_of(folder), 0
    for number, state in enumerate(states_of(trace)[::every]):
        parent = tmp_path / str(number)
        parent.mkdir()
        state.write(parent)
        with Trace(parent) as again:
            files.recover(parent / "model")
        states, there = states_of(again), tmp_path / f"{number} again"
        found, count = check_states(states, "model", old, new, there)
        assert len(found) == 1  # what was there before and is afterwards
        tried += count
    assert tried > 10
    record_property("crashes of a writing survived", tried)


def test_a_removed_folder_is_whole_or_gone(tmp_path, record_property):
    folder = tmp_path / "traced" / "model"
    folder.parent.mkdir()
    write_folder(folder, b"old")
    old = tree_of(folder)
    with Trace(folder.parent) as trace:
        files.remove_folder(folder)
    found, count = check_crashes(trace, folder, old, tmp_path)
    assert set(found) == {"old", "new"}  # which is none
    assert trace.least()[-1].inside("model") is None
    record_property("crashes of a writing survived", count)


def test_a_model_folder_is_old_or_new(tmp_path, record_property):
    models = [small_model("cnn", "luong", max_length=n) for n in (5, 7)]
    folder = tmp_path / "traced" / "model"
    models[0].save_folder(folder)
    old = tree_of(folder)
    with Trace(folder.parent) as trace:
        models[1].save_folder(folder, overwrite=True)
    found, count = check_crashes(trace, folder, old, tmp_path)
    assert set(found) == {"old", "new"}
    for kind, model in zip(("old", "new"), models, strict=True):
        loaded = ka.load(found[kind])
        assert loaded.max_length == model.max_length
        for one, other in zip(loaded.weights, model.weights, strict=True):
            np.testing.assert_array_equal(one, other)
    record_property("crashes of a writing survived", count)


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_an_exported_model_is_old_or_new(tmp_path, record_property):
    from keras_attention import export

    words = ka.Vocabulary.build(["abc"])
    model = ka.build_seq2seq("luong", words, words, units=3, max_length=5)
    folder = tmp_path / "traced" / "1"
    folder.mkdir(parents=True)
    for name in export.saved_model.MARKER_FILES:
        (folder / name).write_text("old")
    old = tree_of(folder)

    def write():
        export.export_saved_model(
            model,
            folder,
            signatures=["tokens"],
            warm_up=export.WarmUp(["ab"], signatures=["tokens"]),
            overwrite=True,
        )

    with Trace(folder.parent) as trace:
        write()
    found, count = check_crashes(trace, folder, old, tmp_path)
    assert set(found) == {"old", "new"}
    record_property("crashes of a writing survived", count)
