"""train, evaluate, export, plot: what they do and write."""

import io
import json
import os
import pathlib
import sys
import warnings

import keras
import pytest

import keras_attention
from keras_attention import cli
from keras_attention import export
from keras_attention import training
from keras_attention.training import KeepMemory
from keras_attention.training import read_pairs

pytestmark = pytest.mark.tensorflow_only


def run(*arguments, status=0):
    assert cli.main(list(map(str, arguments))) == status


@pytest.fixture
def train_calls(monkeypatch):
    """What `training.train` is called with, and the pairs it could read."""
    calls = []

    def train(pairs, folder, columns=None, **options):
        twice = [list(read_pairs(pairs, columns)) for _ in range(2)]
        assert twice[0] == twice[1]
        calls.append((twice[0], folder, options))

    monkeypatch.setattr(training, "train", train)
    return calls


def test_train_writes_a_model_folder_and_plain_lines(trained):
    folder, printed = trained
    names = {path.name for path in folder.iterdir()}
    assert {
        "model.keras",
        "source_vocabulary.json",
        "target_vocabulary.json",
        "card.json",
    } <= names
    assert "Epoch 2/2\n" in printed
    assert not set(printed) & set("\r\b\x1b")


def test_train_hands_on_what_is_given(
    train_calls, pairs_file, model_folder, tmp_path
):
    out = tmp_path / "out"
    run("train", pairs_file, "--out", out)
    pairs, folder, options = train_calls.pop()
    assert pairs == list(read_pairs(pairs_file))
    assert folder == str(out)
    (callback,) = options.pop("callbacks")
    assert isinstance(callback, KeepMemory)
    assert "epochs = 10\n" in options.pop("configuration")
    assert options == {
        "validation_pairs": None,
        "kind": None,
        "initial_folder": None,
        "resume": False,
        "overwrite": False,
        "verbose": 2,  # plain lines, where there is no terminal
    }
    arguments = ["--model", "rnn-luong", "--no-input-feeding", "--dropout"]
    arguments += ["0.25", "--decay", "linear", "--warmup-steps", 0, "--quiet"]
    arguments += ["--resume", "--validation-pairs", pairs_file]
    arguments += ["--initial-folder", model_folder]
    arguments += ["--alignment-loss", "diagonal"]
    arguments += ["--scheduled-sampling", "0.125", "--average", "3"]
    run("train", pairs_file, "--out", out, *arguments)
    options = train_calls.pop()[2]
    assert len(options.pop("callbacks")) == 1
    assert "dropout = 0.25\n" in options.pop("configuration")
    assert options == {
        "validation_pairs": [str(pairs_file)],
        "kind": "rnn-luong",
        "initial_folder": str(model_folder),
        "resume": True,
        "overwrite": False,
        "verbose": 0,
        "input_feeding": False,
        "dropout": 0.25,
        "decay": "linear",
        "alignment_loss": "diagonal",
        "scheduled_sampling": 0.125,
        "average": 3,
        "warmup_steps": 0,
    }


def test_train_reads_columns_standard_input_and_pipes(
    train_calls, tmp_path, monkeypatch
):
    content = b"1\ta\tA\n2\tb\tB\n"
    plain, out = tmp_path / "pairs.tsv", tmp_path / "out"
    plain.write_bytes(content)
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(copies))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    read_end, write_end = os.pipe()
    os.write(write_end, content)
    os.close(write_end)
    names = [plain, "-", f"/dev/fd/{read_end}"]
    run("train", *names, "--out", out, "--columns", "2,3")
    os.close(read_end)
    assert train_calls.pop()[0] == [("a", "A"), ("b", "B")] * 3
    assert list(copies.iterdir()) == []


def test_train_says_how_to_go_on_after_an_interruption(
    pairs_file, tmp_path, monkeypatch, capsys
):
    def train(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", train)
    run("train", pairs_file, "--out", tmp_path / "out", status=130)
    assert capsys.readouterr().err == (
        "keras-attention: interrupted: the same command with --resume goes "
        "on from the last checkpoint\n"
    )


def test_evaluate_prints_rates_and_writes_hypotheses(
    model_folder, pairs_file, tmp_path, capsys
):
    file, more = tmp_path / "said.tsv", tmp_path / "more.csv"
    more.write_text("x,ab,A\nx,ab,A B\n", encoding="utf-8")
    run("evaluate", model_folder, pairs_file, "--hypotheses", file)
    rates = json.loads(capsys.readouterr().out)
    assert rates["sources"] == 6
    assert 0 <= rates["exact_match"] <= 1
    assert rates["error_rate"] >= 0
    lines = file.read_text(encoding="utf-8").splitlines()
    said = [line.split("\t")[1] for line in lines]
    pairs = list(read_pairs(pairs_file))
    assert [line.split("\t")[0] for line in lines] == [s for s, _ in pairs]
    targets = [target for _, target in pairs]
    rate = training.error_rate(targets, said, unit="symbols")
    assert rates["error_rate"] == pytest.approx(rate)
    run("evaluate", model_folder, more, "--columns", "2,3", "--metrics", "chrf")
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["sources", "chrf"] and found["sources"] == 1
    arguments = ["--metrics", "bleu", "--bleu-tokenizer", "char"]
    run("evaluate", model_folder, pairs_file, *arguments)
    bleu = training.bleu(targets, said, "char")
    assert json.loads(capsys.readouterr().out)["bleu"] == pytest.approx(bleu)


def test_a_header_is_noticed_in_one_line_and_quiet_is_quiet(
    model_folder, tmp_path, capsys
):
    file = tmp_path / "pairs.tsv"
    file.write_text("source\ttarget\nab\tA B\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run("evaluate", model_folder, file)
        (line,) = capsys.readouterr().err.splitlines()
        run("evaluate", model_folder, file, "--quiet")
    assert line.startswith(f"keras-attention: warning: {file}, line 1: ")
    assert capsys.readouterr().err == ""


def test_tabs_in_texts_are_escaped_in_the_file_of_hypotheses(
    model_folder, tmp_path
):
    pairs, file = tmp_path / "pairs.jsonl", tmp_path / "hypotheses"
    pairs.write_text('{"source": "a\\tb", "target": "A"}\n')
    run("evaluate", model_folder, pairs, "--hypotheses", file, "--beam", 1)
    assert file.read_text(encoding="utf-8").startswith("a\\tb\t")


def test_export_writes_a_saved_model_once(model_folder, tmp_path, capsys):
    target, texts = tmp_path / "1", tmp_path / "texts"
    texts.write_bytes(b"ab\n\xff\n")
    arguments = ["export", model_folder, target, "--beam", 1]
    arguments += ["--max-source-length", 11, "--weights", "bfloat16"]
    run(*arguments, "--warm-up", texts)
    assert str(target / "README.md") in capsys.readouterr().out
    assert (target / "saved_model.pb").is_file()
    guide = (target / "README.md").read_text(encoding="utf-8")
    assert "Longer sources than 11\n" in guide
    assert "- Weights: stored as bfloat16," in guide
    assert "- Warm-up: up to 2 texts at once for `serving_default`," in guide
    assert (target / "assets.extra" / "tf_serving_warmup_requests").is_file()
    run(*arguments, status=2)
    assert "--overwrite" in capsys.readouterr().err
    texts.write_bytes(b"")
    run(*arguments, "--overwrite", "--warm-up", texts, status=2)
    assert "`texts` must be a list of at least one" in capsys.readouterr().err


def test_a_model_of_images_is_exported(tmp_path, monkeypatch):
    letters = keras_attention.Vocabulary.build(["ab"])
    encoder = keras.Sequential([keras.Input((4, 6)), keras.layers.Dense(3)])
    decoder = keras_attention.RNNDecoder(len(letters), 3)
    keras_attention.Seq2Seq(
        encoder, decoder, target_vocabulary=letters
    ).save_folder(tmp_path / "model")
    asked = []

    def stand_in(model, folder, **options):
        asked.append(model.source_signature.shape)
        return pathlib.Path(folder)

    monkeypatch.setattr(export, "export_saved_model", stand_in)
    run("export", tmp_path / "model", tmp_path / "1")
    assert asked == [(4, 6)]


def test_a_language_model_is_exported(
    language_folder, tmp_path, capsys, monkeypatch
):
    asked = []

    def stand_in(model, folder, **options):
        asked.append((type(model), options["search"]))
        return pathlib.Path(folder)

    monkeypatch.setattr(export, "export_saved_model", stand_in)
    run("export", language_folder, tmp_path / "1", "--beam", 1)
    greedy = keras_attention.Greedy()
    assert asked == [(keras_attention.LanguageModel, greedy)]
    run("plot", language_folder, "ab", "--out", tmp_path / "a.png", status=2)
    assert "has no sources: generate, score and" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_export_writes_for_another_runtime(
    name, model_folder, tmp_path, capsys, monkeypatch
):
    """The files themselves are tested where they are made."""
    asked = []

    def stand_in(model, folder, **options):
        asked.append((type(model), options))
        return pathlib.Path(folder)

    monkeypatch.setattr(export, f"export_{name}", stand_in)
    arguments = ["export", model_folder, tmp_path / "1", "--format", name]
    run(*arguments, "--beam", 1, "--max-length", 5)
    assert str(tmp_path / "1" / "README.md") in capsys.readouterr().out
    options = {"max_length": 5, "overwrite": False}
    options["search"] = keras_attention.Greedy()
    assert asked == [(keras_attention.Seq2Seq, options)]
    with pytest.raises(SystemExit, match="2"):
        run(*arguments, "--weights", "int8")
    expected = "--weights is for --format saved_model alone"
    assert expected in capsys.readouterr().err


def test_export_writes_a_language_model_for_litert(language_folder, tmp_path):
    pytest.importorskip("ai_edge_litert")
    exported = tmp_path / "1"
    arguments = ["export", language_folder, exported, "--format", "litert"]
    run(*arguments, "--beam", 1, "--max-length", 2, "--max-source-length", 3)
    guide = (exported / "README.md").read_text(encoding="utf-8")
    assert "Sources in one call: any number." in guide


def test_plot_writes_a_picture(model_folder, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    run("plot", model_folder, "abba", "--out", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"{picture}\n"


def test_view_writes_a_page(model_folder, tmp_path, capsys):
    page = tmp_path / "page.html"
    run("view", model_folder, "abba", "ba", "ba", "--out", page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "1. abba" in text and "2. ba" in text and "3. " not in text
    assert capsys.readouterr().out == f"{page}\n"


def test_words_of_bleu_without_bleu_are_refused(tmp_path, capsys):
    (tmp_path / "pairs.tsv").write_text("a\tA\n")
    words = ("evaluate", tmp_path, tmp_path / "pairs.tsv")
    run(*words, "--bleu-tokenizer", "zh", status=2)
    assert "--bleu-tokenizer needs bleu among" in capsys.readouterr().err
