"""`generate`: what is printed for each line, and when."""

import codecs
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
from fresh_process import ROOT

import keras_attention as ka
from keras_attention import cli
from keras_attention.cli import generation
from keras_attention.cli import models
from keras_attention.cli.generation import batches_of_lines

pytestmark = pytest.mark.tensorflow_only


@pytest.fixture(scope="module")
def model(model_folder):
    return ka.load(model_folder)


@pytest.fixture
def ask(model, model_folder, monkeypatch, capsys):
    """Returns what `generate` prints for bytes on its standard input."""
    # Loaded once, and each search is traced once.
    monkeypatch.setattr(generation, "load_any", lambda folder: model)

    def run(data, *arguments, status=0):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        arguments = map(str, arguments)
        assert cli.main(["generate", str(model_folder), *arguments]) == status
        return capsys.readouterr()

    return run


def test_each_line_is_answered_in_order(ask, model):
    texts = ["ab", "", "ba", "\ufffd", "ab"]
    printed = ask(b"ab\r\n\nba\n\xff\nab").out
    expected = model.generate(texts, ka.Beam(4)).texts[:, 0]
    assert printed == "".join(f"{text}\n" for text in expected)


def test_many_lines_are_answered_some_at_a_time(ask, monkeypatch):
    once = ask(b"ab\nba\n" * 7, "--beam", 1)
    monkeypatch.setattr(models, "TEXTS_AT_ONCE", 3)
    assert ask(b"ab\nba\n" * 7, "--beam", 1) == once
    assert once.out.count("\n") == 14
    assert once.err == ""  # no progress bar


def test_n_best_are_numbered_with_falling_scores(ask, model, tmp_path):
    texts = tmp_path / "texts"
    texts.write_text("ab\nbab\n", encoding="utf-8")
    expected = model.generate(["ab", "bab"], ka.Beam(5, num_hypotheses=2))
    lines = ask(b"", texts, "--beam", 5, "--n-best", 2, "--scores").out
    rows = [line.split("\t") for line in lines.splitlines()]
    assert [row[0] for row in rows] == ["1", "2"] * 2
    assert [row[2] for row in rows] == expected.texts.ravel().tolist()
    scores = [float(row[1]) for row in rows]
    np.testing.assert_allclose(scores, expected.scores.ravel(), atol=1e-4)
    assert scores[0] >= scores[1]
    plain = ask(b"ab\nbab\n", "--beam", 5, "--n-best", 2).out
    assert [r.split("\t") for r in plain.splitlines()] == [
        [number, text] for number, _, text in rows
    ]


def test_a_beam_of_one_has_the_length_penalty_that_is_given(ask, model):
    options = ["--beam", 1, "--scores"]
    for penalty, search in (
        ([], ka.Greedy()),
        (["--length-penalty", 2], ka.Beam(1, length_penalty=2)),
    ):
        score, text = ask(b"ab\n", *options, *penalty).out[:-1].split("\t")
        expected = model.generate(["ab"], search)
        assert text == expected.texts[0, 0]
        assert float(score) == pytest.approx(expected.scores[0, 0], abs=1e-4)


def test_json_has_sources_hypotheses_and_alignments(ask, model):
    options = ["--json", "--n-best", 2, "--beam", 5]
    lines = ask(b"aab\n\xff\n", *options, "--alignments").out
    found = [json.loads(line) for line in lines.splitlines()]
    assert [answer["source"] for answer in found] == ["aab", "\ufffd"]
    expected = model.generate(["aab"], ka.Beam(5, num_hypotheses=2))
    for number, hypothesis in enumerate(found[0]["hypotheses"]):
        assert hypothesis["text"] == expected.texts[0, number]
        score = expected.scores[0, number]
        assert hypothesis["score"] == pytest.approx(score, abs=1e-5)
        length = expected.lengths[0, number]
        np.testing.assert_allclose(
            hypothesis["alignment"],  # three letters and the end
            expected.alignments[0, number, :length, :4],
            atol=1e-4,
        )
    # The shorter source has a shorter alignment.
    assert np.shape(found[1]["hypotheses"][0]["alignment"])[1] == 2
    alone = json.loads(ask(b"aab\n", *options).out)
    assert set(alone["hypotheses"][0]) == {"text", "score"}


def test_hypotheses_that_a_beam_did_not_find_have_no_score(ask):
    # Of length 1 there is the end alone, and 3 more are cut or empty.
    options = ["--max-length", 1, "--n-best", 40, "--beam", 40, "--json"]
    (answer,) = ask(b"a", *options).out.splitlines()
    scores = [h["score"] for h in json.loads(answer)["hypotheses"]]
    assert len(scores) == 40
    assert scores[0] < 0
    assert scores[-1] is None


def test_samples_follow_seed_and_line_alone(ask, monkeypatch):
    options = ["--sample", "--temperature", 3, "--seed", 5, "--max-length", 7]
    once = ask(b"ab\n" * 7, *options).out
    assert len(set(once.splitlines())) > 1  # each line draws its own
    monkeypatch.setattr(models, "TEXTS_AT_ONCE", 3)
    assert ask(b"ab\n" * 7, *options).out == once
    options[4] = 6  # another seed
    other = ask(b"ab\n" * 7, *options, "--n-best", 2).out.splitlines()
    assert [line[:2] for line in other] == ["1\t", "2\t"] * 7
    assert [line[2:] for line in other[::2]] != once.splitlines()
    greedy = ask(b"ab\n", "--beam", 1).out
    assert ask(b"ab\n", "--sample", "--top-k", 1).out == greedy


@pytest.mark.parametrize("search", [["--beam", 3], ["--sample"]])
def test_a_prefix_begins_every_target(ask, search):
    found = ask(b"ab\nbaab\n", "--prefix", "B A", *search).out.splitlines()
    assert len(found) == 2
    assert all(f"{text} ".startswith("B A ") for text in found)


@pytest.mark.parametrize(
    ("prefix", "options", "message"),
    [
        ("B x", [], "--prefix 'B x' must be made of symbols that the model"),
        (" ", [], "must be made of symbols"),
        (
            "A B A",
            ["--max-length", 3],
            "has 3 tokens, and the longest target 3",
        ),
    ],
    ids=["unknown", "empty", "too-long"],
)
def test_a_prefix_that_cannot_be_said_is_refused(ask, prefix, options, message):
    output = ask(b"ab\n", "--prefix", prefix, *options, status=2)
    assert output.out == ""
    assert message in output.err


def test_lines_come_without_waiting_for_more():
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as file, open(write_end, "wb", 0) as producer:
        lines = batches_of_lines(file)
        producer.write(b"one\ntwo\r\nth")
        assert next(lines) == [b"one", b"two"]
        producer.write(b"r")
        producer.write(b"ee\n")
        assert next(lines) == [b"three"]
        producer.write(b"four")
        producer.close()
        assert list(lines) == [[b"four"]]


MARK = codecs.BOM_UTF8


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([MARK + b"a\n", MARK + b"b\n"], [[b"a"], [MARK + b"b"]]),
        ([MARK[:1], MARK[1:] + b"a"], [[b"a"]]),
        ([MARK], []),
    ],
    ids=["lines", "in-parts", "alone"],
)
def test_a_byte_order_mark_is_no_text(chunks, expected):
    coming = iter([*chunks, b""])
    file = types.SimpleNamespace(read1=lambda size: next(coming))
    assert list(batches_of_lines(file)) == expected


def test_a_packed_file_is_unpacked(ask, tmp_path):
    texts = tmp_path / "texts.gz"
    packed = gzip.compress(MARK + b"ab\nba\n")
    texts.write_bytes(packed)
    assert ask(b"", texts) == ask(b"ab\nba\n")
    texts.write_bytes(packed[:-9])
    assert "gzip archive is broken" in ask(b"", texts, status=2).err


def test_a_prompt_comes_before_each_reading():
    prompts = []
    lines = batches_of_lines(io.BytesIO(b"a\nb"), lambda: prompts.append(">"))
    assert list(lines) == [[b"a"], [b"b"]]
    assert prompts == [">", ">"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_prompt_and_no_control_characters(
    model_folder, monkeypatch
):
    said = types.SimpleNamespace(
        texts=np.array([["A\x1b[2J"]], object),
        scores=np.array([[-0.5]]),
        lengths=np.array([[1]]),
        alignments=np.zeros((1, 1, 1, 1)),
    )
    monkeypatch.setattr(ka.Seq2Seq, "generate", lambda *_, **__: said)
    terminal, errors = Terminal(), io.StringIO()
    lines = io.TextIOWrapper(io.BytesIO(b"ab\n"))
    monkeypatch.setattr(lines, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", lines)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", errors)
    assert cli.main(["generate", str(model_folder)]) == 0
    assert terminal.getvalue() == "A\\x1b[2J\n"
    assert errors.getvalue() == "> > \n"
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert cli.main(["generate", str(model_folder), "--quiet"]) == 0


@pytest.mark.exhaustive
def test_a_slow_producer_gets_its_first_answer_at_once(model_folder):
    """In a new process: also that nothing else is on either output."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    del environment["TF_CPP_MIN_LOG_LEVEL"]
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_attention", "generate", model_folder],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = threading.Timer(120, process.kill)
    deadline.start()
    try:
        for line in (b"ab\n", b"bab\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\n")
        process.stdout.close()  # the reader leaves
        process.stdin.write(b"ab\n")
        process.stdin.close()
        assert process.wait() == 1
        assert process.stderr.read() == b""
    finally:
        deadline.cancel()
        process.kill()
        process.stderr.close()
        process.wait()


PROMPTS = ["ab", "", "c b", "\ufffd"]
PROMPT_BYTES = b"ab\n\nc b\n\xff\n"


def test_a_language_model_goes_on_with_each_line(
    language_folder, capsys, monkeypatch
):
    model = ka.load(language_folder)

    def ask(*arguments, status=0):
        lines = io.TextIOWrapper(io.BytesIO(PROMPT_BYTES))
        monkeypatch.setattr(sys, "stdin", lines)
        arguments = ("generate", str(language_folder), *arguments)
        assert cli.main([*arguments, "--max-length", "5"]) == status
        return capsys.readouterr()

    expected = model.generate(PROMPTS, ka.Beam(3), max_length=5)
    printed = ask("--beam", "3").out
    assert printed == "".join(f"{text}\n" for text in expected.texts[:, 0])
    assert len(set(expected.texts[:, 0])) > 1  # a prompt makes a difference
    lines = ask("--beam", "3", "--json").out.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [list(row) for row in rows] == [["prompt", "hypotheses"]] * 4
    assert [row["prompt"] for row in rows] == PROMPTS
    for row, score in zip(rows, expected.scores[:, 0], strict=True):
        assert row["hypotheses"][0]["score"] == pytest.approx(score, abs=1e-5)
    samples = ask("--sample", "--seed", "3").out
    assert samples == ask("--sample", "--seed", "3").out
    assert samples != ask("--sample", "--seed", "4").out
    for refused in (["--alignments", "--json"], ["--prefix", "a"]):
        output = ask(*refused, status=2)
        assert output.out == ""
        assert output.err.startswith(f"keras-attention: error: {refused[0]}")
