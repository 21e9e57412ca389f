"""The README's examples, run as a reader would, one after the other."""

import pathlib
import re
import shlex

import pytest

from keras_attention import cli

pytestmark = pytest.mark.tensorflow_only

README = pathlib.Path(__file__).parent.parent / "README.md"


def blocks(language):
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(program):
    """The arguments of each call of `program` in the shell blocks."""
    calls = []
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line, comments=True)
        if program in words:
            calls.append(words[words.index(program) + 1 :])
    return calls


def test_examples_run_in_the_order_of_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    layer, long, seq2seq, serving, trained = blocks("python")
    exec(compile(layer, "README layer", "exec"), {})
    assert capsys.readouterr().out.strip().endswith("0.  ]]]")  # the padding
    exec(compile(long, "README long", "exec"), {})
    assert "(1, 20000, 64)" in capsys.readouterr().out
    exec(compile(seq2seq, "README seq2seq", "exec"), {})
    assert "drib" in capsys.readouterr().out
    (export,) = (
        call for call in commands("keras-attention") if "export" in call
    )
    assert cli.main(export) == 0
    exec(compile(serving, "README serving", "exec"), {})
    assert "(2, 4, " in capsys.readouterr().out  # two texts, four best
    monkeypatch.chdir(README.parent)
    exec(compile(trained, "README trained", "exec"), {})
    assert "AH T EH N SH AH N" in capsys.readouterr().out


def test_commands_are_those_of_the_program():
    calls = commands("keras-attention")
    assert [call[0] for call in calls] == [
        "train",
        "generate",
        "plot",
        "export",
    ]
    for call in calls:
        assert cli.parser().parse_args(call).run


def test_two_commands_come_first_and_are_targets_of_the_makefile():
    first = blocks("sh")[0].splitlines()
    assert [line.split("#")[0].strip() for line in first] == [
        "make demo",
        "make test",
    ]
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    assert re.search("^demo:", makefile, flags=re.MULTILINE)
    assert re.search("^test:", makefile, flags=re.MULTILINE)
