"""Control characters never reach a terminal; files get the text exactly."""

import io
import json
import sys
import types

import pytest

from keras_attention.cli import terminal

HOSTILE = "a\x1b[2J\x07\x9b31m\u202eb\u2066\ttab\x7f\u2028"


@pytest.fixture
def at_a_terminal(monkeypatch):
    stdout = types.SimpleNamespace(isatty=lambda: True)
    # Not `sys.stdout` itself, which pytest sets between fixture and test.
    monkeypatch.setattr(terminal, "sys", types.SimpleNamespace(stdout=stdout))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain 你好 \N{GRINNING FACE} é", "plain 你好 \N{GRINNING FACE} é"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\r\tc", "a\\nb\\r\tc"),
        ("\u202eabc\u2069", "\\u202eabc\\u2069"),
        ("\x85\x9b\x7f\x00", "\\x85\\x9b\\x7f\\x00"),
        ("\udc80", "\\udc80"),
    ],
    ids=["plain", "colour", "line-ends", "direction", "c1", "surrogate"],
)
def test_a_terminal_gets_no_control_character(text, expected, at_a_terminal):
    assert terminal.shown(text) == expected


def test_files_and_pipes_get_the_text_on_one_line(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal.shown(HOSTILE) == HOSTILE
    assert terminal.shown("a\nb\r\udc80") == "a\\nb\\r\\udc80"


def test_tabs_are_between_fields_alone(at_a_terminal):
    assert terminal.shown_fields(["a\tb"]) == "a\tb"
    assert terminal.shown_fields(["1", "a\tb\x1b"]) == "1\ta\\tb\\x1b"


def test_json_is_safe_and_without_loss():
    text = terminal.json_text({"text": HOSTILE + "\n\udc80你好"})
    assert json.loads(text) == {"text": HOSTILE + "\n\udc80你好"}
    assert terminal.escaped(text) == text
    assert "你好" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", None])
def test_json_is_ascii_where_the_output_is_not_utf_8(encoding, monkeypatch):
    stdout = types.SimpleNamespace(encoding=encoding)
    monkeypatch.setattr(terminal, "sys", types.SimpleNamespace(stdout=stdout))
    text = terminal.json_text(HOSTILE + "你好\N{GRINNING FACE}")
    assert text.isascii() and "\x7f" not in text
    assert json.loads(text) == HOSTILE + "你好\N{GRINNING FACE}"


def test_complaints_are_one_safe_line(capsys):
    terminal.Complaints("g2p").tell("error", ValueError("a\n   b\x1b[2J"))
    assert capsys.readouterr().err == "g2p: error: a b\\x1b[2J\n"


def test_a_warning_is_shown_once(capsys):
    show = terminal.Complaints("g2p").show_warning
    for message in ("one", "two", "one"):
        show(UserWarning(message), UserWarning, "file.py", 7)
    assert capsys.readouterr().err.splitlines() == [
        "g2p: warning: one",
        "g2p: warning: two",
    ]
