"""A small model, trained once by the command line itself."""

import pytest

from keras_attention import cli

WORDS = ["ab", "ba", "aab", "bab", "abba", "baab"]


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    lines = [f"{word}\t{' '.join(word.upper())}\n" for word in WORDS]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory, pairs_file):
    folder = tmp_path_factory.mktemp("model") / "model"
    pairs = str(pairs_file)
    arguments = ["train", pairs, "--validation-pairs", pairs, "--quiet"]
    arguments += ["--out", str(folder), "--model", "luong", "--units", "5"]
    arguments += ["--target-unit", "symbols", "--max-length", "9"]
    assert cli.main([*arguments, "--epochs", "1", "--batch-size", "7"]) == 0
    return folder
