"""`completion`: what a shell completes, and that it is asked soon."""

import shutil
import subprocess
import sys

import pytest
from fresh_process import run_fresh

from keras_attention import choices
from keras_attention import cli
from keras_attention.cli.completion import script
from keras_attention.cli.options import make_parser


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    """The file of the script, written by the command in a new process."""
    code = (
        "import sys\n"
        "from keras_attention.cli import main\n"
        "status = main(['completion', 'bash'])\n"
        "heavy = {'numpy', 'keras', 'tensorflow'} & set(sys.modules)\n"
        "sys.exit(status if not heavy else f'imported {heavy}')\n"
    )
    path = tmp_path_factory.mktemp("completion") / "script"
    path.write_text(run_fresh("-c", code).stdout, encoding="utf-8")
    return path


@pytest.fixture
def completed(bash_script, tmp_path):
    """Returns what bash offers for the last of some words, as a list."""
    for name in ("pairs.tsv", "run.toml"):
        (tmp_path / name).touch()
    (tmp_path / "model").mkdir()
    program = 'source "$1"; shift; COMP_WORDS=("$@"); '
    program += "COMP_CWORD=$(($# - 1)); _shtab_keras_attention 2>/dev/null; "
    program += 'printf "%s\\n" "${COMPREPLY[@]}"'

    def complete(*words):
        bash = [shutil.which("bash"), "--norc", "-c", program, "bash"]
        done = subprocess.run(
            [*bash, str(bash_script), "keras-attention", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return complete


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("",), [*make_parser().commands]),
        (("tr",), ["train"]),
        (("train", "pai"), ["pairs.tsv"]),
        (("train", "--epo"), ["--epochs"]),
        (("train", "pairs.tsv", "--no-resu"), ["--no-resume"]),
        (("train", "--config", "r"), ["run.toml"]),
        (("train", "--source-vocabulary", "r"), ["run.toml"]),
        (("train", "--decay", ""), [*choices.DECAYS]),
        (("generate", ""), ["model"]),
        (("generate", "model", "p"), ["pairs.tsv"]),
        (("evaluate", "model", "pairs.tsv", "--metrics", "rouge"), ["rouge_1"]),
        (("score", "model", "pairs.tsv", "ru"), ["run.toml"]),
        (("export", "model", "x", "--format", "on"), ["onnx"]),
        (("view", "model", "text", "--out", "r"), ["run.toml"]),
        (("completion", ""), [*choices.SHELLS]),
    ],
)
def test_bash_completes_commands_options_and_files(completed, words, expected):
    found = completed(*words)
    assert found[: len(expected)] == expected
    assert set(found) - set(expected) <= {"rouge_l"}


@pytest.mark.parametrize("shell", choices.SHELLS)
def test_every_command_and_option_is_in_every_script(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert text.endswith("\n") and not text.endswith("\n\n")
    for name, command in make_parser().commands.items():
        assert name in text
        for action in command.arguments.values():
            for option in action.option_strings:
                assert option.lstrip("-") in text


def test_completion_that_is_not_installed_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(ImportError, match="pip install shtab"):
        script(make_parser(), "bash")
    assert cli.main(["completion", "zsh"]) == 2
    assert capsys.readouterr().err == (
        "keras-attention: error: The scripts of shells are written by the "
        "`shtab` package: pip install shtab\n"
    )


def test_another_shell_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["completion", "zhs"])
    assert caught.value.code == 2
    assert "'zhs'. Did you mean zsh?" in capsys.readouterr().err
