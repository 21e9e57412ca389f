"""How the program ends: one line for what a user can cause."""

import io
import json
import os
import shutil
import subprocess
import sys
import types
import zipfile

import pytest
from fresh_process import ROOT
from fresh_process import run_fresh

import keras_attention as ka
from keras_attention import cli
from keras_attention.cli import generation
from keras_attention.cli import outcome
from keras_attention.cli import startup

pytestmark = pytest.mark.tensorflow_only


def failure(capsys, *arguments, status=2):
    """Returns what is said of a command that fails, which is one line."""
    assert cli.main(list(map(str, arguments))) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


def test_closed_output_is_no_error(model_folder, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    texts = types.SimpleNamespace(buffer=io.BytesIO(b"ab\n"))
    texts.isatty = lambda: False
    monkeypatch.setattr(sys, "stdin", texts)
    assert cli.main(["generate", str(model_folder)]) == 0
    sys.stdout.close()  # what took its place


CLOSED_ERROR = """
import os, sys
from keras_attention.cli.outcome import exit_status_of
def work():
    with open(sys.argv[1], "w") as file:
        os.write(2, b"a note")
        assert file.fileno() != 2
    raise ValueError("no such model")
sys.exit(exit_status_of(work, "program"))
"""


def test_messages_for_a_closed_standard_error_are_in_no_other_file(tmp_path):
    file = tmp_path / "file"
    command = [sys.executable, "-c", CLOSED_ERROR, file]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (outcome.WRONG, b"")
    assert file.read_bytes() == b""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"ab\tA B\nonly one column\n", "line 2"),
        ("ab\t\xe4\n".encode("latin-1"), "UTF-8"),
        (b"a\x1b[2J\tA\tB\n", "--columns 1,2"),
        (b'{"source": "a"}', "one tab"),
    ],
    ids=["empty", "one-column", "wrong-encoding", "three-columns", "json"],
)
def test_a_broken_file_of_pairs_is_refused_and_nothing_is_written(
    content, message, tmp_path, capsys
):
    path, folder = tmp_path / "pairs.tsv", tmp_path / "model"
    path.write_bytes(content)
    error = failure(capsys, "train", path, "--out", folder)
    assert error.startswith("keras-attention: error: ")
    assert message in error
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.tsv"]


def test_train_refuses_an_existing_folder(model_folder, pairs_file, capsys):
    before = (model_folder / "model.keras").read_bytes()
    error = failure(capsys, "train", pairs_file, "--out", model_folder)
    assert str(model_folder) in error
    assert (model_folder / "model.keras").read_bytes() == before


def test_an_option_without_use_for_the_model_is_refused(
    pairs_file, tmp_path, capsys
):
    arguments = ["train", pairs_file, "--validation-pairs", pairs_file]
    arguments += ["--out", tmp_path / "x", "--model", "luong"]
    error = failure(capsys, *arguments, "--num-heads", 2)
    assert "`num_heads` must not be set" in error
    assert not (tmp_path / "x").exists()


def damaged(path, data):
    """Overwrites the middle of a file."""
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(data)


DAMAGES = {
    "no-model": lambda folder: (folder / "model.keras").unlink(),
    "not-zip": lambda folder: (folder / "model.keras").write_bytes(b"PK"),
    "flipped": lambda folder: damaged(folder / "model.keras", b"\0" * 4096),
    "other-zip": lambda folder: zipfile.ZipFile(
        folder / "model.keras", "w"
    ).close(),
    "vocabulary-bytes": lambda folder: (
        folder / "source_vocabulary.json"
    ).write_bytes(b"\xff"),
    "vocabulary-cut": lambda folder: (
        folder / "source_vocabulary.json"
    ).write_text("{"),
    "vocabulary-keys": lambda folder: (
        folder / "target_vocabulary.json"
    ).write_text("{}"),
    "vocabulary-types": lambda folder: (
        folder / "target_vocabulary.json"
    ).write_text("[7]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_one_line_that_names_the_folder(
    damage, model_folder, tmp_path, capsys
):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    DAMAGES[damage](folder)
    assert str(folder) in failure(capsys, "generate", folder, os.devnull)


def test_a_model_of_ids_alone_is_refused(tmp_path, capsys):
    model = ka.build_seq2seq("luong", 11, 13, units=3)
    model.save_folder(tmp_path / "ids")
    error = failure(capsys, "generate", tmp_path / "ids", os.devnull)
    assert "has no vocabularies" in error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("a\n  b\x1b[2J"), 2, "error: a b\\x1b[2J"),
        (MemoryError(), 2, "error: MemoryError"),
        (RuntimeError("forked"), 2, "error: forked"),
        (type("ResourceExhaustedError", (Exception,), {})("x"), 2, "memory: x"),
        (KeyboardInterrupt(), 130, "keras-attention: interrupted\n"),
    ],
    ids=["value", "memory", "runtime", "tensorflow-memory", "interrupt"],
)
def test_what_a_user_can_cause_is_one_line(
    error, status, message, monkeypatch, tmp_path, capsys
):
    def load(folder):
        raise error

    monkeypatch.setattr(generation, "load_any", load)
    assert message in failure(capsys, "generate", tmp_path, status=status)


def test_a_fault_of_the_program_keeps_its_traceback(
    monkeypatch, tmp_path, capsys
):
    def load(folder):
        raise KeyError("of ours")

    monkeypatch.setattr(generation, "load_any", load)
    assert cli.main(["generate", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "KeyError: 'of ours'" in error
    assert error.endswith("please report the lines above\n")


def test_a_reader_that_leaves_ends_it_quietly(monkeypatch, tmp_path, capsys):
    def load(folder):
        raise BrokenPipeError

    monkeypatch.setattr(generation, "load_any", load)
    assert cli.main(["generate", str(tmp_path)]) == 1
    assert capsys.readouterr().err == ""


def test_a_closed_standard_input_is_an_error(model_folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert "input is closed" in failure(capsys, "generate", model_folder)
    assert "input is closed" in failure(capsys, "evaluate", model_folder, "-")


def test_an_output_of_few_characters_gets_escapes(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    assert outcome.exit_status_of(lambda: print("é"), "program") == 0
    assert output.buffer.getvalue() == b"\\xe9\n"


def test_json_of_an_output_of_few_characters_is_json(
    model_folder, monkeypatch, tmp_path
):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    texts = tmp_path / "texts"
    texts.write_text("é\N{GRINNING FACE}\n", encoding="utf-8")
    assert cli.main(["generate", str(model_folder), str(texts), "--json"]) == 0
    found = json.loads(output.buffer.getvalue())
    assert found["source"] == "é\N{GRINNING FACE}"


def test_notes_of_tensorflow_are_kept_back_unless_asked_for(monkeypatch, capfd):
    monkeypatch.setattr(startup, "_import", lambda: os.write(2, b"a note\n"))
    for level, kept, shown in (
        (None, "3", ""),
        ("2", "2", ""),
        ("0", "0", "a note\n"),
    ):
        # So that the level of the tests comes back, whatever is set here.
        monkeypatch.setenv(startup.LOG_LEVEL, level or "")
        if level is None:
            del os.environ[startup.LOG_LEVEL]
        startup.import_tensorflow()
        assert os.environ[startup.LOG_LEVEL] == kept
        assert capfd.readouterr().err == shown


def test_notes_are_shown_where_tensorflow_cannot_be_imported(
    monkeypatch, capfd
):
    def fail():
        os.write(2, b"no such instruction\n")
        raise ImportError("libtensorflow")

    monkeypatch.setattr(startup, "_import", fail)
    monkeypatch.delenv(startup.LOG_LEVEL)
    with pytest.raises(ImportError, match="libtensorflow"):
        startup.import_tensorflow()
    assert capfd.readouterr().err == "no such instruction\n"


def test_python_m_is_the_console_script(monkeypatch):
    done = run_fresh("-m", "keras_attention", "generate", "no/such", expected=2)
    assert done.stderr.startswith("keras-attention generate: error: ")
    assert types.SimpleNamespace(**vars(cli)).main is cli.main
