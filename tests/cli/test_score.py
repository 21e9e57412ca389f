"""`score`: what is printed of pairs and of lines, and of all together."""

import codecs
import gzip
import io
import json
import math
import sys

import numpy as np
import pytest

import keras_attention as ka
from keras_attention import cli
from keras_attention.cli import generation
from keras_attention.cli import scoring
from keras_attention.training import read_pairs

pytestmark = pytest.mark.tensorflow_only


def asked(capsys, *arguments, status=0):
    assert cli.main(["score", *map(str, arguments)]) == status
    return capsys.readouterr()


def log_probability(logits, labels):
    """Of one sequence of labels, in float64."""
    logits = np.asarray(logits, "float64")
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares = odds / odds.sum(axis=-1, keepdims=True)
    return sum(math.log(row[i]) for row, i in zip(shares, labels, strict=True))


@pytest.fixture(scope="module")
def model(model_folder):
    return ka.load(model_folder)


@pytest.fixture
def loaded(model, monkeypatch):
    """Spares the tests that ask for it the loading of the model."""
    monkeypatch.setattr(scoring, "load_any", lambda folder: model)


@pytest.fixture(scope="module")
def expected(model, pairs_file):
    """(log probability, tokens, source, target) of each pair, one by one."""
    found = []
    for source, target in read_pairs(pairs_file):
        labels = np.asarray(model.target_vocabulary.encode([target]))
        inputs = {
            "source": np.asarray(model.source_vocabulary.encode([source])),
            "target": np.pad(labels, ((0, 0), (1, 0)), constant_values=1),
        }
        inputs["target"] = inputs["target"][:, :-1]
        total = log_probability(model(inputs)[0], labels[0])
        found.append((total, labels.size, source, target))
    return found


def test_each_pair_has_a_line_and_all_have_a_perplexity(
    model_folder, pairs_file, expected, capsys
):
    printed = asked(capsys, model_folder, pairs_file)
    lines = [line.split("\t") for line in printed.out.splitlines()]
    assert [line[2:] for line in lines] == [list(row[2:]) for row in expected]
    for (total, per_token, *_), row in zip(lines, expected, strict=True):
        assert float(total) == pytest.approx(row[0], abs=1e-4)
        assert float(per_token) == pytest.approx(row[0] / row[1], abs=1e-4)
    total = sum(row[0] for row in expected)
    tokens = sum(row[1] for row in expected)
    assert printed.err == (
        f"6 pairs, {tokens} tokens: log probability {total:.4f}, "
        f"{total / tokens:.4f} a token, perplexity "
        f"{math.exp(-total / tokens):.4f}\n"
    )


@pytest.mark.usefixtures("loaded")
def test_json_is_an_object_for_each_pair_or_one_of_all(
    model_folder, tmp_path, expected, capsys, monkeypatch
):
    files = [tmp_path / "one.csv", tmp_path / "two.csv"]
    for file, rows in zip(files, (expected[:2], expected[2:]), strict=True):
        lines = [f"x,{row[3]},{row[2]}\n" for row in rows]
        file.write_text("".join(lines), encoding="utf-8")
    arguments = [model_folder, *files, "--columns", "3,2"]
    arguments += ["--batch-size", 2]
    printed = asked(capsys, *arguments, "--json")
    monkeypatch.setattr(scoring, "TEXTS_AT_ONCE", 4)
    total = json.loads(asked(capsys, *arguments, "--total").out)
    rows = [json.loads(line) for line in printed.out.splitlines()]
    for found, row in zip(rows, expected, strict=True):
        assert found.pop("log_probability") == pytest.approx(row[0], abs=1e-5)
        assert list(found.values()) == [row[2], row[3], row[1]]
        assert list(found) == ["source", "target", "tokens"]
    assert list(total)[:2] == ["pairs", "tokens"]
    assert total["pairs"] == 6
    assert total["tokens"] == sum(row[1] for row in expected)
    mean = sum(row[0] for row in expected) / total["tokens"]
    assert total["log_probability_per_token"] == pytest.approx(mean, rel=1e-5)
    assert total["perplexity"] == pytest.approx(math.exp(-mean), rel=1e-5)


@pytest.mark.usefixtures("loaded")
def test_what_generate_says_has_its_score(
    model, model_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(generation, "load_any", lambda folder: model)
    sources = tmp_path / "sources"
    sources.write_text("ab\nba\n")
    arguments = ["generate", str(model_folder), str(sources), "--scores"]
    arguments += ["--length-penalty", "0", "--prefix", "B A"]
    assert cli.main([*arguments, "--max-length", "99"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    # All have ended by themselves, so that none lacks its end.
    assert all(1 < len(text.split()) < 98 for _, text in lines)
    said = tmp_path / "said.tsv"
    said.write_text(f"ab\t{lines[0][1]}\nba\t{lines[1][1]}\n")
    printed = asked(capsys, model_folder, said, "--quiet")
    assert printed.err == ""
    scores = [float(line.split("\t")[0]) for line in printed.out.splitlines()]
    assert scores == pytest.approx([float(s) for s, _ in lines], abs=1e-4)


def test_a_language_model_scores_lines(language_folder, capsys, monkeypatch):
    model = ka.load(language_folder)
    texts = ["ab\tc", "", "\ufffda b", "cab"]
    data = b"ab\tc\r\n\n\xffa b\ncab"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    printed = asked(capsys, language_folder, "-")
    lines = [line.split("\t") for line in printed.out.splitlines()]
    shown = [text.replace("\t", "\\t") for text in texts]
    assert [line[2:] for line in lines] == [[text] for text in shown]
    labels = np.asarray(model.vocabulary.encode(texts))
    read = np.pad(labels, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
    for line, logits, row in zip(lines, model(read), labels, strict=True):
        of_text = log_probability(logits[: (row != 0).sum()], row[row != 0])
        assert float(line[0]) == pytest.approx(of_text, abs=1e-4)
    assert printed.err.startswith("4 lines, 15 tokens: ")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ab\n")))
    found = json.loads(asked(capsys, language_folder, "-", "--json").out)
    assert list(found) == ["text", "log_probability", "tokens"]
    assert (found["text"], found["tokens"]) == ("ab", 3)


def test_a_file_of_lines_may_be_packed_and_begin_with_a_mark(
    language_folder, tmp_path, capsys
):
    plain, packed = tmp_path / "plain", tmp_path / "packed.gz"
    plain.write_bytes(b"ab\ncab\n")
    packed.write_bytes(gzip.compress(codecs.BOM_UTF8 + b"ab\ncab\n"))
    lines = asked(capsys, language_folder, plain, packed).out.splitlines()
    assert len(lines) == 4 and lines[2:] == lines[:2]


def test_what_cannot_be_scored_is_refused(
    language_folder, model_folder, tmp_path, capsys
):
    lines = tmp_path / "lines"
    lines.write_text("")
    for arguments, message in (
        ((language_folder, lines), "lines' is empty: it has no line to score"),
        ((language_folder, lines, "--columns", "1,2"), "scores lines"),
        ((model_folder, lines), "the file is empty"),
    ):
        error = asked(capsys, *arguments, status=2).err
        assert error.startswith("keras-attention: error: ")
        assert message in error and error.count("\n") == 1
