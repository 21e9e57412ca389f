"""A small model, trained once by the command line itself."""

import contextlib
import io

import keras
import pytest

import keras_attention as ka
from keras_attention import cli

WORDS = ["ab", "ba", "aab", "bab", "abba", "baab"]


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    lines = [f"{word}\t{' '.join(word.upper())}\n" for word in WORDS]
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory, pairs_file):
    """The folder of the model, and what the training printed."""
    folder = tmp_path_factory.mktemp("model") / "model"
    pairs = str(pairs_file)
    arguments = ["train", pairs, "--validation-pairs", pairs]
    arguments += ["--out", str(folder), "--model", "luong", "--units", "5"]
    arguments += ["--target-unit", "symbols", "--max-length", "9"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = cli.main([*arguments, "--epochs", "2", "--batch-size", "7"])
    assert status == 0
    return folder, printed.getvalue()


@pytest.fixture(scope="session")
def model_folder(trained):
    return trained[0]


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory):
    """The folder of a language model that is not trained."""
    keras.utils.set_random_seed(3)
    letters = ka.Vocabulary.build(["abc "])
    decoder = ka.DecoderOnlyTransformer(len(letters), units=6, num_heads=2)
    folder = tmp_path_factory.mktemp("language") / "model"
    ka.LanguageModel(decoder, vocabulary=letters).save_folder(folder)
    return folder
