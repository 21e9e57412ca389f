"""The command line, in process; what it writes and how it fails."""

import io
import json
import sys

import pytest

from keras_attention import cli

pytestmark = pytest.mark.tensorflow_only

SMALL = ["--units", "5", "--epochs", "1", "--batch-size", "7"]


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    words = ["ab", "ba", "aab", "bab", "abba", "baab"]
    lines = [f"{word}\t{' '.join(word.upper())}\n" for word in words]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, pairs_file):
    folder = tmp_path_factory.mktemp("model") / "model"
    arguments = ["train", str(pairs_file), "--out", str(folder)]
    arguments += [
        "--validation-pairs",
        str(pairs_file),
        "--target-unit",
        "symbols",
    ]
    arguments += ["--model", "luong", "--max-length", "9", *SMALL]
    assert cli.main(arguments) == 0
    return folder


def feed(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_train_writes_a_model_folder(model_folder):
    names = {path.name for path in model_folder.iterdir()}
    assert {
        "model.keras",
        "source_vocabulary.json",
        "target_vocabulary.json",
        "card.json",
    } <= names


def test_generate_answers_each_line_in_order(model_folder, monkeypatch, capsys):
    feed(monkeypatch, b"ab\n\nba\n\xff\n")
    assert cli.main(["generate", str(model_folder)]) == 0
    together = capsys.readouterr().out.split("\n")
    assert len(together) == 4 + 1  # the last line ends
    feed(monkeypatch, b"ba\n")
    assert cli.main(["generate", str(model_folder)]) == 0
    assert capsys.readouterr().out == together[2] + "\n"


def test_generate_prints_n_best_with_falling_scores(
    model_folder, tmp_path, capsys
):
    texts = tmp_path / "texts"
    texts.write_text("ab\nbab\n", encoding="utf-8")
    arguments = ["generate", str(model_folder), str(texts), "--scores"]
    assert cli.main([*arguments, "--n-best", "3", "--beam", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    scores = [float(line.split("\t")[0]) for line in lines]
    assert len(scores) == 2 * 3
    assert scores[:3] == sorted(scores[:3], reverse=True)


def test_evaluate_prints_rates(model_folder, pairs_file, capsys):
    assert cli.main(["evaluate", str(model_folder), str(pairs_file)]) == 0
    rates = json.loads(capsys.readouterr().out)
    assert rates["sources"] == 6
    assert 0 <= rates["exact_match"] <= 1
    assert rates["error_rate"] >= 0


def test_many_lines_are_answered_without_a_progress_bar(
    model_folder, monkeypatch, capsys
):
    monkeypatch.setattr(cli, "TEXTS_AT_ONCE", 3)
    feed(monkeypatch, b"ab\n" * 7)
    arguments = ["generate", str(model_folder), "--beam", "1"]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert len(set(lines)) == 1


def test_train_goes_on_from_a_model(model_folder, pairs_file, tmp_path):
    folder = tmp_path / "tuned"
    arguments = ["train", str(pairs_file), "--out", str(folder), "--epochs"]
    arguments += ["1", "--validation-pairs", str(pairs_file)]
    assert cli.main([*arguments, "--initial-folder", str(model_folder)]) == 0
    assert (folder / "model.keras").is_file()


def test_export_writes_a_saved_model_once(model_folder, tmp_path, capsys):
    target = tmp_path / "1"
    arguments = ["export", str(model_folder), str(target), "--beam", "1"]
    assert cli.main(arguments) == 0
    assert (target / "saved_model.pb").is_file()
    assert cli.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite"]) == 0


def test_export_hands_its_options_on(model_folder, tmp_path, capsys):
    target, texts = tmp_path / "1", tmp_path / "texts"
    texts.write_bytes(b"ab\n\xff\n")
    arguments = ["export", str(model_folder), str(target), "--beam", "1"]
    arguments += ["--max-source-length", "11", "--weights", "bfloat16"]
    arguments += ["--warm-up", str(texts)]
    assert cli.main(arguments) == 0
    guide = (target / "README.md").read_text(encoding="utf-8")
    assert "Longer sources than 11\n" in guide
    assert "- Weights: stored as bfloat16," in guide
    assert "- Warm-up: up to 2 texts at once for `serving_default`," in guide
    assert (target / "assets.extra" / "tf_serving_warmup_requests").is_file()
    texts.write_bytes(b"")
    assert cli.main([*arguments, "--overwrite"]) == 2
    assert "`texts` must be a list of at least one" in capsys.readouterr().err


def test_plot_writes_a_picture(model_folder, tmp_path):
    picture = tmp_path / "picture.png"
    arguments = ["plot", str(model_folder), "abba", "--out", str(picture)]
    assert cli.main(arguments) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"ab\tA B\nonly one column\n", "line 2"),
        ("ab\t\xe4\n".encode("latin-1"), "UTF-8"),
    ],
    ids=["empty", "one column", "wrong encoding"],
)
def test_train_on_a_broken_file_says_where_and_writes_nothing(
    content, message, tmp_path, capsys
):
    path, folder = tmp_path / "pairs.tsv", tmp_path / "model"
    path.write_bytes(content)
    assert cli.main(["train", str(path), "--out", str(folder), *SMALL]) == 2
    error = capsys.readouterr().err
    assert error.startswith("keras-attention: error: ")
    assert message in error
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.tsv"]


def test_train_refuses_an_existing_folder(model_folder, pairs_file, capsys):
    arguments = ["train", str(pairs_file), "--out", str(model_folder), *SMALL]
    before = (model_folder / "model.keras").read_bytes()
    assert cli.main(arguments) == 2
    assert str(model_folder) in capsys.readouterr().err
    assert (model_folder / "model.keras").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "no/such/folder"], "no/such/folder"),
        (["train", "no/such.tsv", "--out", "x"], "no/such.tsv"),
        (["export", "no/such/folder", "x"], "no/such/folder"),
    ],
    ids=["generate", "train", "export"],
)
def test_missing_paths_are_named(arguments, message, capsys):
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["trian", "x"], ["train", "x", "--out", "y", "--unitz", "5"], []],
    ids=["command", "option", "nothing"],
)
def test_misspelt_words_exit_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: keras-attention" in capsys.readouterr().err


def test_an_option_without_use_for_the_model_is_refused(
    pairs_file, tmp_path, capsys
):
    arguments = ["train", str(pairs_file), "--out", str(tmp_path / "model")]
    arguments += ["--validation-pairs", str(pairs_file), *SMALL]
    arguments += ["--model", "luong", "--num-heads", "2"]
    assert cli.main(arguments) == 2
    assert "`num_heads` must not be set" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
