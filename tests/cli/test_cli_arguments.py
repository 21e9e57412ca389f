"""Arguments: help, defaults, ranges, suggestions, and how soon they come."""

import argparse
import inspect
import re

import keras
import numpy as np
import pytest
from fresh_process import run_fresh

import keras_attention
from keras_attention import choices
from keras_attention import cli
from keras_attention.cli import train_options
from keras_attention.cli.options import make_parser
from keras_attention.cli.shared_options import BEAM

COMMANDS = ("train", "generate", "evaluate", "score", "export", "plot")
COMMANDS += ("view", "completion")


def refusal(arguments, capsys):
    """Returns the one line that refuses the arguments."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(map(str, arguments)))
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("keras-attention")
    assert "--help.\n" in output.err
    return output.err


def parsed(*arguments):
    return make_parser().parse_args(list(map(str, arguments)))


def help_of(command, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    return capsys.readouterr().out


def test_help_and_mistakes_come_before_anything_heavy_is_imported(tmp_path):
    for arguments, status in (
        (["--help"], 0),
        (["--version"], 0),
        *(([command, "--help"], 0) for command in COMMANDS),
        (["trian"], 2),
        (["generate", str(tmp_path / "none")], 2),
        (["plot", str(tmp_path), "x", "--out", "picture.bmp"], 2),
    ):
        code = (
            "import sys\n"
            "from keras_attention.cli import main\n"
            "try:\n"
            "    status = main(sys.argv[1:])\n"
            "except SystemExit as end:\n"
            "    status = end.code\n"
            "heavy = {'numpy', 'keras', 'tensorflow'} & set(sys.modules)\n"
            "sys.exit(status if not heavy else f'imported {heavy}')\n"
        )
        run_fresh("-c", code, *arguments, expected=status)


def test_versions_are_those_of_the_packages(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    version = keras_attention.__version__
    told = capsys.readouterr().out
    assert told.startswith(f"keras-attention {version} (Python 3.")
    assert f", keras {keras.__version__}, numpy {np.__version__})" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained_with_its_default(command, capsys):
    without = {"--out", "--initial-folder", "--hypotheses", "--warm-up"}
    without |= {"--prefix", "--config"}
    text = " ".join(help_of(command, capsys).split())
    actions = make_parser().commands[command]._actions
    assert len(actions) > (2 if command == "completion" else 5)
    for action in actions:
        assert action.help
        names = action.option_strings
        takes_value = bool(names) and action.nargs != 0
        if takes_value or isinstance(action, argparse.BooleanOptionalAction):
            assert names[0] in text
            assert action.metavar or len(names) == 2
            has_default = "(default: " in action.help
            assert has_default == (names[0] not in without)


@pytest.mark.tensorflow_only
def test_defaults_that_are_shown_are_those_of_the_functions():
    from keras_attention import export
    from keras_attention import models
    from keras_attention import training

    def defaults(function):
        parameters = inspect.signature(function).parameters
        given = {n: p.default for n, p in parameters.items()}
        return {n: v for n, v in given.items() if v is not inspect._empty}

    known = {
        **defaults(models.CNNEncoder),
        **defaults(models.RNNDecoder),
        **defaults(models.RNNEncoder),
        **defaults(models.TransformerDecoder),
    }
    for function in (models.build_seq2seq, training.train):
        given = defaults(function)
        known |= {n: value for n, value in given.items() if value is not None}
    # `train` has its own rule for it, and the units of text are set later.
    del known["max_length"]
    known |= {"source_unit": "characters", "target_unit": "characters"}
    known["dtype"] = "float32"
    literal = {}
    for group in train_options.GROUPS.values():
        for option in group:
            if known.get(option.name) is not None:
                literal[option.name] = option.default
    assert literal == {name: known[name] for name in literal}
    assert len(literal) > 20
    parser = make_parser()
    text = parser.parse_args(["export", ".", "x"]).parser.format_help()
    text = " ".join(text.split())
    for name in choices.EXPORT_FORMATS:
        given = defaults(getattr(export, f"export_{name}"))
        assert f"(default: {given['max_source_length']})" in text
        assert given["search"] == keras_attention.Beam(BEAM)
    assert f"width; 1 is greedy (default: {BEAM})" in text


@pytest.mark.tensorflow_only
def test_options_are_arguments_of_the_functions():
    from keras_attention import models
    from keras_attention import training

    arguments = set(inspect.signature(models.build_seq2seq).parameters)
    arguments |= set(inspect.signature(training.train).parameters)
    assert set(train_options.NAMES) <= arguments
    assert len(set(train_options.NAMES)) == len(train_options.NAMES)


@pytest.mark.tensorflow_only
def test_choices_are_those_of_the_code():
    from keras_attention.layers.recurrent.recurrence import CELLS
    from keras_attention.training.fitting import MODES

    assert choices.CELLS == tuple(CELLS)
    assert choices.MONITORS == tuple(MODES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "keras-attention: error: the following arguments .*: COMMAND."),
        (["trian", "x"], "no command 'trian'. Did you mean train?"),
        (["predict"], "no command 'predict'. See keras-attention --help"),
        (["--verison"], "no option '--verison'. Did you mean --version?"),
        (["train", "x", "--unit", "5"], "'--unit'. Did you mean --units?"),
        (["train", "--no-resum"], "no option '--no-resum'"),
        (["generate", "--beem=3"], "'--beem'. Did you mean --beam?"),
        (["generate", "-n", "3"], "keras-attention generate: .* option '-n'"),
    ],
    ids=[
        *("nothing", "command", "other", "version", "shortened", "switch"),
        *("with-value", "letter"),
    ],
)
def test_misspelt_words_get_a_suggestion(arguments, message, capsys):
    pattern = re.escape(message).replace(r"\.\*", ".*")
    assert re.search(pattern.replace(r"\ ", " "), refusal(arguments, capsys))


@pytest.mark.parametrize(
    ("command", "option", "value", "message"),
    [
        ("generate", "--beam", "0", "an integer from 1 to 2147483647, not '0'"),
        ("generate", "--beam", "9999999999", "integer from 1 to 2147483647"),
        ("generate", "--n-best", "2.5", "must be an integer from 1"),
        ("generate", "--max-length", "-3", "must be an integer from 1"),
        ("generate", "--temperature", "0", "must be a number above 0, not '0'"),
        ("generate", "--top-p", "1.5", "above 0 and at most 1, not '1.5'"),
        ("generate", "--seed", "-1", "must be an integer from 0"),
        ("evaluate", "--length-penalty", "nan", "must be a number at least 0"),
        ("evaluate", "--columns", "0,1", "two numbers from 1, such as 1,3"),
        ("evaluate", "--columns", "en,2", "two numbers from 1, such as 1,3"),
        ("export", "--max-source-length", "x", "must be an integer from 1"),
        ("export", "--weights", "float15", "Did you mean float16?"),
        ("export", "--format", "onxx", "Did you mean onnx?"),
        ("train", "--dropout", "2", "at least 0 and below 1, not '2'"),
        ("train", "--learning-rate", "inf", "must be a number above 0"),
        ("train", "--epochs", "0", "must be an integer from 1"),
        ("train", "--model", "tranformer", "Did you mean transformer?"),
        ("train", "--source-unit", "letters", "of characters, words, symbols"),
        ("train", "--decay", "linaer", "Did you mean linear?"),
        ("train", "--epochs", "\x1b[2J", "not '\\x1b[2J'"),
    ],
)
def test_values_out_of_range_are_refused(
    command, option, value, message, capsys
):
    found = refusal([command, option, value], capsys)
    assert f"argument {option}: " in found
    assert message in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alignments"], "--alignments needs --json"),
        (["--json", "--scores"], "leave --scores out"),
        (["--seed", "3"], "--seed is of no use without --sample"),
        (["--top-k", "3"], "--top-k is of no use without --sample"),
        (["--sample", "--beam", "3"], "--beam is of no use with --sample"),
        (["--beam", "2", "--n-best", "3"], "--n-best 3 needs a --beam"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments, message, tmp_path, capsys
):
    assert message in refusal(["generate", tmp_path, *arguments], capsys)


def test_score_prints_json_in_one_way(tmp_path, capsys):
    (tmp_path / "file").touch()
    arguments = ["score", tmp_path, tmp_path / "file", "--json", "--total"]
    assert "--total is JSON already" in refusal(arguments, capsys)


def test_only_one_file_can_be_standard_input(tmp_path, capsys):
    arguments = ["train", "-", "--validation-pairs", "-", "--out", tmp_path]
    assert "- can stand for one file" in refusal(arguments, capsys)
    for command in ("evaluate", "score"):
        arguments = [command, tmp_path, "-", "-"]
        assert "- can stand for one file" in refusal(arguments, capsys)


def test_paths_are_checked_before_the_work(tmp_path, capsys):
    file, none = tmp_path / "file", tmp_path / "none"
    file.write_text("a\tb\n", encoding="utf-8")
    for arguments, message in (
        (["generate", none], "none' does not exist: name the folder"),
        (["generate", file], "file' is a file: name the folder"),
        (["generate", tmp_path, none], "none': No such file or directory"),
        (["generate", tmp_path, tmp_path], "is a folder: name a file"),
        (["generate", tmp_path, "x" * 999], "File name too long"),
        (["train", none], "none': No such file or directory"),
        (["train", file, "--out", file], "file' is a file: name a folder"),
        (["train", file, "--out", file / "x" / "y"], "is a file, not a folder"),
        (["evaluate", tmp_path, file, "--hypotheses", none / "x"], "no folder"),
        (["evaluate", tmp_path, file, "--hypotheses", "/dev/null"], "a device"),
        (["train", file, "--out", ""], "is empty: name a folder"),
        (["train", file, "--out", "/"], "the root of a file system"),
        (["score", tmp_path, none], "none': No such file or directory"),
        (["plot", tmp_path, "x", "--out", none / "x.png"], "no folder"),
        (["plot", tmp_path, "x", "--out", "x.bmp"], ".png, .pdf, .svg, not"),
        (["view", tmp_path, "x", "--out", "x.png"], ".html, .htm, not"),
    ):
        assert message in refusal(arguments, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_columns_count_from_1_or_are_names(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for text, expected in (("1,3", (0, 2)), ("en,fr", ("en", "fr"))):
        options = parsed("evaluate", tmp_path, file, "--columns", text)
        assert options.columns == expected


def test_switches_have_a_way_off(tmp_path):
    file = tmp_path / "file"
    file.touch()
    out = ["--out", tmp_path / "out"]
    assert parsed("train", file, *out).input_feeding is None
    assert parsed("train", file, *out, "--input-feeding").input_feeding is True
    off = parsed("train", file, *out, "--no-input-feeding").input_feeding
    assert off is False


def test_a_text_may_begin_with_a_dash_after_two_dashes(tmp_path):
    out = ["--out", tmp_path / "picture.svg"]
    for text in ("-", "-5", "--is this one?"):
        assert parsed("plot", *out, tmp_path, text).text == text
    assert parsed("plot", *out, tmp_path, "--", "--beam").text == "--beam"
