"""The README: its code, its commands, its links.

`make test-all` follows it from top to bottom in one folder, as a reader would.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from documented_calls import check_calls_fit

import keras_attention as ka
from keras_attention.cli.options import make_parser

pytestmark = pytest.mark.tensorflow_only

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
CHINESE = ROOT / "README.zh.md"
each_language = pytest.mark.parametrize(
    "page", [README, CHINESE], ids=["English", "Chinese"]
)
# What sets up a machine, and so is not run by a test.
SET_UP = ("make ", "pip ", "docker ")


def blocks(*languages, page=README):
    """Returns (language, code) of each block of code, in their order."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"```(\w+)\n(.*?)```", text, flags=re.DOTALL)
    return [
        (language, code) for language, code in found if language in languages
    ]


def page_as_script():
    """Returns all code of the page as one shell script."""
    parts = ["set -euo pipefail\n"]
    for language, code in blocks("sh", "python"):
        if language == "python":
            code = f"python - <<'END_OF_BLOCK'\n{code}END_OF_BLOCK\n"
        elif code.startswith(SET_UP):
            continue
        parts.append(code)
    return "".join(parts)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The folder in which the page was followed, and what it printed."""
    folder = tmp_path_factory.mktemp("reader")
    programs = tmp_path_factory.mktemp("programs")
    for name, command in (
        ("python", ""),
        ("keras-attention", "-m keras_attention"),
    ):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        program.chmod(0o755)
    (folder / "saved_models").symlink_to(ROOT / "saved_models")
    done = subprocess.run(
        ["bash", "-c", page_as_script()],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.mark.exhaustive
def test_page_prints_what_it_says(followed):
    _, printed = followed
    assert "0.  ]]]" in printed  # the padding gets no weight
    assert "(1, 20000, 64)" in printed
    assert re.search(r"^olleh$", printed, re.MULTILINE)  # command line
    assert "['olleh' 'sarek']" in printed  # Python
    assert re.search(r"^\[b'olleh'\]", printed, re.MULTILINE)  # SavedModel
    assert "(2, 4, " in printed  # two texts, four best
    assert "AH T EH N SH AH N" in printed


@pytest.mark.exhaustive
def test_page_leaves_a_picture_of_a_diagonal(followed):
    folder, _ = followed
    assert (folder / "alignment.png").stat().st_size > 1000
    model = ka.load(folder / "my_model")
    alignment = model.generate(["hello"]).alignments[0, 0]
    assert alignment[:5].argmax(axis=1).tolist() == [4, 3, 2, 1, 0]
    assert np.all(alignment[:5].max(axis=1) > 0.5)


def test_calls_on_the_page_fit_the_functions():
    code = "\n".join(code for _, code in blocks("python"))
    check_calls_fit(code, at_least=12)


def commands(program):
    """The arguments of each call of `program` in the shell blocks."""
    code = "".join(code for _, code in blocks("sh")).replace("\\\n", " ")
    calls = []
    for line in code.splitlines():
        words = shlex.split(line, comments=True) if program in line else []
        if program in words:
            calls.append(words[words.index(program) + 1 :])
    return calls


def test_commands_are_those_of_the_program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the page leaves its files
    (tmp_path / "pairs.tsv").touch()
    (tmp_path / "my_model").mkdir()
    calls = commands("keras-attention")
    assert [call[0] for call in calls] == [
        "train",
        "generate",
        "plot",
        "view",
        "export",
    ]
    for call in calls:
        assert make_parser().parse_args(call).run


@each_language
def test_notebooks_are_named(page):
    text = page.read_text(encoding="utf-8")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"(notebooks/{path.name})" in text


@each_language
def test_links_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)\)", prose)
    links += re.findall(r'<img src="([^"]+)"', prose)
    assert len(links) > 30
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_both_languages_say_the_same():
    """Code, links, tables and headings stand in the same order."""
    english, chinese = (
        page.read_text(encoding="utf-8") for page in (README, CHINESE)
    )
    languages = "sh", "python"
    assert blocks(*languages) == blocks(*languages, page=CHINESE)
    for mark in (r"\]\(([^)#:]+)\)", r"^#+ ", r"^\| `(\w+)`", r"^(?:-|\d\.) "):
        found = [
            re.findall(mark, text, flags=re.MULTILINE)
            for text in (english, chinese)
        ]
        found = [[x for x in some if "README" not in x] for some in found]
        assert found[0] == found[1], mark


def test_each_promise_on_the_card_names_a_test():
    for name in ("promises.svg", "promises.zh.svg"):
        card = (ROOT / "docs" / "promises" / name).read_text(encoding="utf-8")
        tests = re.findall(r">(tests/[\w/]+\.py)<", card)
        assert len(tests) == 6
        assert [test for test in tests if not (ROOT / test).exists()] == []


def test_two_commands_come_first_and_are_targets_of_the_makefile():
    _, first = blocks("sh")[0]
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search("^demo:", makefile, flags=re.MULTILINE)
    assert re.search("^test:", makefile, flags=re.MULTILINE)
