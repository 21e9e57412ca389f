"""`train --config`: what a file may say, and the one that a model keeps."""

import io
import json
import shutil
import sys

import pytest

import keras_attention as ka
from keras_attention import cli
from keras_attention import training
from keras_attention.cli import configuration
from keras_attention.cli import train_options
from keras_attention.cli.options import make_parser

REFUSED = 2


def parsed(*arguments):
    options = make_parser().parse_args(["train", *map(str, arguments)])
    options.check(options)
    return options


def told(options):
    """What `train` is told, by name."""
    names = [*train_options.NAMES, *configuration.ORDER[:5], "out", "resume"]
    return {n: v for n in names if (v := getattr(options, n)) not in (None, [])}


@pytest.fixture
def written(tmp_path):
    """Returns the path of a file with this TOML."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "run.toml"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def test_a_file_says_what_the_command_line_says(written, pairs_file, tmp_path):
    out = tmp_path / "out"
    file = written(
        f"""
        pairs = "{pairs_file}"
        out = "{out}"
        validation-pairs = ["{pairs_file}"]
        columns = [1, 2]
        model = "luong"
        units = 64
        batch_size = 32
        learning-rate = 1  # a whole number is a number
        dropout = 0.25
        tie-embeddings = true
        input_feeding = false
        optimizer = "adamw"
        resume = true
        """
    )
    words = f"{pairs_file} --out {out} --validation-pairs {pairs_file} "
    words += "--columns 1,2 --model luong --units 64 --batch-size 32 "
    words += "--learning-rate 1 --dropout 0.25 --tie-embeddings "
    words += "--no-input-feeding --optimizer adamw --resume"
    found = told(parsed("--config", file))
    assert found == told(parsed(*words.split()))
    assert len(found) == 13


def test_every_option_of_train_can_stand_in_a_file():
    parser = parsed("x", "--out", "y").parser
    names = set(parser.arguments) - configuration.NEVER_READ
    assert set(train_options.NAMES) < names
    assert {"pairs", "out", "resume", "overwrite", "quiet"} < names
    written = names - configuration.NEVER_WRITTEN
    assert written == set(configuration.ORDER)


@pytest.fixture(autouse=True)
def files_that_are_named(tmp_path, monkeypatch):
    """The working folder, with a file of pairs `x`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("a\tA\n")


def test_the_command_line_wins(written, pairs_file):
    file = written(
        f'pairs = ["{pairs_file}"]\nout = "a"\nepochs = 3\nunits = 5\n'
        "resume = true\ntie-embeddings = true\nbatch-size = 7"
    )
    arguments = ["x", "--out", "b", "--epochs", "2", "--no-resume"]
    arguments += ["--no-tie-embeddings", "--config", file]
    assert told(parsed(*arguments)) == {
        "pairs": ["x"],
        "out": "b",
        "epochs": 2,
        "units": 5,
        "tie_embeddings": False,
        "batch_size": 7,
        "resume": False,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "no option 'epoch'. Did you mean epochs?"),
        ("lerning_rate = 3", "'lerning-rate'. Did you mean learning-rate?"),
        ("config = 'x'", "there is no option 'config'"),
        ("[training]\nepochs = 3", "in no table: leave the [brackets] out"),
        ("[model]\nunits = 3", "`model` must be a number or a text, not a tab"),
        (
            "epochs = 0",
            "`epochs`: must be an integer from 1 to 2147483647, not",
        ),
        ("epochs = 2.5", "`epochs`: must be an integer from 1"),
        ('epochs = "5"', "`epochs` must be a number, not the text '5'"),
        ('epochs = "many"', "must be an integer from 1 to 2147483647, not 'm"),
        ("epochs = true", "must be a number or a text, not true"),
        ("epochs = [5]", "must be a number, not the array [5]"),
        ("epochs = 2026-11-29", "a number or a text, not the date"),
        ("dropout = 1.5", "at least 0 and below 1, not '1.5'"),
        ("learning-rate = nan", "`learning-rate`: must be a number above 0"),
        ("optimizer = 5", "`optimizer` must be a text, not the number 5"),
        ('model = "luongg"', "Did you mean luong?"),
        ("model = ['luong']", "`model` must be a text, not the array"),
        ("tie-embeddings = 1", "must be true or false, not the number 1"),
        ("resume = 'yes'", "must be true or false, not the text 'yes'"),
        ("pairs = 5", "`pairs` must be a text or texts, not the number 5"),
        ("pairs = []", "`pairs` must be a text or texts, not the array []"),
        ("pairs = ['none']", "`pairs`: 'none': No such file"),
        ("columns = [1]", "`columns`: must be two numbers from 1"),
        ("seed = 1\nseed = 2", "is not TOML: Cannot overwrite a value"),
        ("batch-size = 1\nbatch_size = 1", "given twice, with - and with _"),
        ("epochs 3", "is not TOML: Expected '='"),
        ("a = " + "[" * 9999, "is not TOML: "),
        ("epochs = 3\udcff", "is not TOML: it is not UTF-8"),
    ],
)
def test_what_a_file_must_not_say_is_told_in_one_line(text, message, capsys):
    with open("run.toml", "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "x", "--out", "y", "--config", "run.toml"])
    assert caught.value.code == REFUSED
    error = capsys.readouterr().err
    start = "keras-attention train: error: 'run.toml'"
    assert error.startswith(start) and error.count("\n") == 1
    assert message in error


def test_what_neither_says_is_asked_for(written, capsys):
    file = written("epochs = 3\n", "utf-8-sig")
    for arguments, missing in (
        (["train", "--config", str(file)], "PAIRS, --out"),
        (["train", "x", "--config", str(file)], "--out"),
        (["train", "--out", "y"], "PAIRS"),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == REFUSED
        error = capsys.readouterr().err
        assert f"the following arguments are required: {missing}." in error
    file.unlink()
    with pytest.raises(SystemExit) as caught:
        cli.main(["train", "--config", str(file)])
    assert "No such file or directory" in capsys.readouterr().err


def test_a_file_comes_from_standard_input_if_pairs_do_not(monkeypatch, capsys):
    for data, pairs, epochs in ((b"epochs = 3", "x", 3), (b"", "-", None)):
        file = io.TextIOWrapper(io.BytesIO(data))
        monkeypatch.setattr(sys, "stdin", file)
        arguments = [pairs, "--out", "y", "--config", "-"]
        if epochs is None:
            with pytest.raises(ValueError, match="- can stand for one file"):
                parsed(*arguments)
        else:
            assert parsed(*arguments).epochs == epochs


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--model rnn-luong --units 5 --dropout 0.125 --no-input-feeding",
        "--validation-pairs x --columns 2,1 --batch-tokens 77 --seed 13",
        "--initial-folder model --clip-norm 1e-05 --max-minutes 0.5",
        "--source-vocabulary x --target-unit pieces --alignment-loss coverage",
    ],
)
def test_what_is_written_is_read_as_what_was_meant(arguments, tmp_path):
    (tmp_path / "model").mkdir()
    before = parsed("x", "--out", "y", "--resume", *arguments.split())
    text = configuration.configuration_of(before)
    (tmp_path / "again.toml").write_text(text, encoding="utf-8")
    after = parsed("--config", "again.toml", "--out", "z")
    assert configuration.configuration_of(after) == text
    expected = told(before)
    for name in ("out", "resume"):
        del expected[name]
    found = told(after)
    assert {name: found[name] for name in expected} == expected
    shown = {"model": "transformer"}
    for options in train_options.GROUPS.values():
        shown |= {option.name: option.default for option in options}
    added = set(found) - set(expected) - {"out"}
    assert {name: found[name] for name in added} == {n: shown[n] for n in added}


def test_names_of_files_are_written_whatever_they_hold(tmp_path):
    name = 'a "\\\n\x1b\u6f22\udcff'
    (tmp_path / name).touch()
    text = configuration.configuration_of(parsed(name, "--out", "y"))
    (tmp_path / "again.toml").write_text(text, encoding="utf-8")
    (tmp_path / name.replace("\udcff", "?")).touch()
    again = parsed("--config", "again.toml", "--out", "y")
    assert again.pairs == [name.replace("\udcff", "?")]


@pytest.mark.tensorflow_only
def test_the_file_of_a_model_trains_it_again(trained, tmp_path, capsys):
    folder, _ = trained
    file = folder / "training.toml"
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# What this model was trained with, by keras-atte")
    for line in ('model = "luong"', "batch-size = 7", "seed = 0"):
        assert f"\n{line}\n" in text
    again = tmp_path / "again"
    arguments = ["train", "--config", str(file), "--out", str(again)]
    assert cli.main([*arguments, "--quiet"]) == 0
    assert (again / "training.toml").read_text(encoding="utf-8") == text
    card = json.loads((folder / "card.json").read_text())
    assert card["training"]["configuration"] == "training.toml"
    found = json.loads((again / "card.json").read_text())
    assert {**found, "sha256": None} == {**card, "sha256": None}
    names = [name for name in card["sha256"] if "vocabulary" in name]
    assert len(names) == 2
    for name in names:
        assert found["sha256"][name] == card["sha256"][name]
    # Another word for what is the same training: nothing is left to do.
    assert cli.main([*arguments, "--resume"]) == 0
    assert "is finished: nothing to go on with." in capsys.readouterr().out
    assert cli.main([*arguments, "--resume", "--units", "7"]) == REFUSED
    error = capsys.readouterr().err
    assert "`units` must be what it was" in error


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_an_interrupted_training_goes_on_by_its_file(
    trained, tmp_path, monkeypatch, capsys
):
    class Crash(training.KeepMemory):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    file = trained[0] / "training.toml"
    again = tmp_path / "again"
    arguments = ["train", "--config", str(file), "--out", str(again)]
    with monkeypatch.context() as patched:
        patched.setattr(training, "KeepMemory", Crash)
        assert cli.main([*arguments, "--checkpoint-every", "1"]) == 130
    assert not again.exists()
    capsys.readouterr()
    assert cli.main([*arguments, "--seed", "5", "--resume"]) == REFUSED
    assert "`seed`" in capsys.readouterr().err
    assert cli.main([*arguments, "--resume", "--quiet"]) == 0
    before, after = (
        ka.models.read_card(folder) for folder in (trained[0], again)
    )
    assert after["metrics"] == before["metrics"]
    expected = file.read_text(encoding="utf-8")
    found = (again / "training.toml").read_text(encoding="utf-8")
    assert found == expected


@pytest.mark.tensorflow_only
def test_a_model_loads_whatever_became_of_the_file(trained, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(trained[0], folder)
    (folder / "training.toml").write_text("epochs = 99")
    assert ka.load(folder).max_length == 9


@pytest.mark.tensorflow_only
def test_what_to_keep_is_a_text():
    with pytest.raises(ValueError, match="`configuration` must be a text or"):
        training.train([("a", "A")], "x", configuration={"epochs": 3})
