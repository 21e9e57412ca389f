"""Every example runs with --quick and prints rows; what they share."""

import argparse
import contextlib
import importlib
import re

import numpy as np
import pytest

from keras_attention.cli import values
from keras_attention.examples import fitting
from keras_attention.examples import task
from keras_attention.examples.settings import MEANINGS
from keras_attention.examples.task import Result

pytestmark = pytest.mark.tensorflow_only

# Each module of examples that is run: a new one is added here.
EXAMPLES = [
    "babi",
    "characters",
    "sentiment",
    "slots",
    *(
        pytest.param(name, marks=pytest.mark.exhaustive)
        for name in (  # each much like one above, or with tests of its own
            "captions",
            "g2p",
            "images",
            "scan",
            "speech",
            "spoken_words",
            "summaries",
            "tatoeba",
            "translation",
        )
    ),
]
NAMES = [getattr(example, "values", [example])[0] for example in EXAMPLES]
ROW = re.compile(
    r"\| (.+) \| (.+) \| ([\d,]+) \| ([\d.]+) \| (.+) \| (.+) \| `(.+)` \|"
)


def test_help_says_what_each_setting_means():
    recipes = (
        getattr(
            importlib.import_module(f"keras_attention.examples.{n}"),
            "RECIPE",
            {},
        )
        for n in NAMES
    )
    named = set().union(*recipes)
    described_by_themselves = {"unit", "kind", "preset", "resume"}
    assert named - described_by_themselves == set(MEANINGS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_in_seconds_and_prints_its_rows(name, tmp_path, capsys):
    example = importlib.import_module(f"keras_attention.examples.{name}")
    output = tmp_path / "kept"
    assert example.main(["--quick", "--output", str(output)]) == 0
    rows = [
        ROW.fullmatch(line)
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("| ")
    ]
    assert rows and all(rows)
    for row in rows:
        assert int(row[3].replace(",", "")) > 0
        assert re.search(r"\d", row[5])
        assert not re.search("nan|inf", row[5])
        assert row[7].startswith(f"python -m keras_attention.examples.{name} ")
        assert str(tmp_path) not in row[7]


def run_task(arguments, options=None, **changes):
    """Runs a task that keeps its options; returns its status."""
    keep = [] if options is None else options

    def run(given):
        keep.append(given)
        return Result("to copy", "lines", 1234, 0.26, "99.5% right", "none")

    settings = {
        "name": "copying",
        "description": "Copies.",
        "recipe": {"units": 32, "rate": 0.5, "epochs": 9, "score": "dot"}
        | {"kinds": ["a"]},
        "quick": {"units": 2, "epochs": 1},
        "choices": {"score": ("dot", "general"), "kinds": ("a", "b")},
        "source": "a shop (CC0)",
        "write_sample": lambda folder: (folder / "a.txt").write_text("a"),
    }
    return task.main(run, arguments, **{**settings, **changes})


def test_what_is_given_replaces_quick_and_quick_the_recipe():
    kept = []
    words = ["--quick", "--units", "7", "--kinds", "b", "a"]
    assert run_task(words, kept) == 0
    (options,) = kept
    assert options.kinds == ["b", "a"]
    assert options.given == {"quick", "units", "kinds"}
    assert (options.units, options.epochs, options.rate) == (7, 1, 0.5)
    assert (options.score, options.seed, options.quick) == ("dot", 0, True)
    assert not options.output.exists() and not options.data.exists()


def test_given_folders_are_used_and_hidden_in_the_row(tmp_path, capsys):
    kept, output = [], tmp_path / "kept" / "here"
    words = [f"--data={tmp_path}", "--output", str(output), "--rate", "0.25"]
    assert run_task(words, kept) == 0
    (options,) = kept
    assert (options.data, options.output) == (tmp_path, output)
    assert output.is_dir() and options.rate == 0.25 and not options.quick
    assert capsys.readouterr().out.splitlines()[-1] == (
        "| to copy | lines | 1,234 | 0.3 | 99.5% right | none | `python -m "
        "keras_attention.examples.copying --data=DIR --output DIR "
        "--rate 0.25` |"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data must name a folder: a shop (CC0). See copying --help."),
        (
            ["--data", "/no/where"],
            "argument --data: '/no/where' does not exist",
        ),
        (["--quick", "--epoch", "3"], "Did you mean --epochs?"),
        (["--quick", "--rate", "fast"], "argument --rate: must be a number"),
        (["--quick", "--score", "do"], "Did you mean dot?"),
        (["--quick", "--kinds", "a", "d"], "--kinds: must be one of a, b"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run_task(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_data_may_be_made_by_the_task_or_not_needed():
    kept = []
    assert run_task([], kept, source=None, write_sample=None) == 0
    assert run_task([], kept, needs_data=False) == 0
    assert [options.data for options in kept] == [None, None]
    with contextlib.suppress(SystemExit):
        run_task(["--data", "x"], kept, source=None, write_sample=None)
    assert len(kept) == 2


def test_missing_file_is_named(tmp_path):
    (tmp_path / "train.txt").write_text("a")
    assert task.data_file(tmp_path, "train.txt") == tmp_path / "train.txt"
    with pytest.raises(ValueError, match="`--data` .*holds the file 'dev.txt'"):
        task.data_file(tmp_path, "dev.txt")


def test_existing_path_is_a_folder_or_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    for path in (tmp_path, tmp_path / "a.txt"):
        assert values.existing_path(str(path)) == str(path)
    with pytest.raises(argparse.ArgumentTypeError, match="does not exist"):
        values.existing_path(str(tmp_path / "b.txt"))


def test_nothing_of_what_must_be_something_is_refused(capsys):
    quick = {"units": 2, "epochs": 0}
    for words in (["--units", "0"], ["--units", "-1"]):
        with pytest.raises(SystemExit):
            run_task(["--quick", *words], quick=quick)
        assert "--units: must be an integer from 1" in capsys.readouterr().err
    assert run_task(["--quick", "--epochs", "0"], quick=quick) == 0


def test_what_is_wrong_with_a_file_is_said_of_that_file(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(ValueError, match="a.txt' must hold words. .*EOFError"):
        with task.reading(path, "words"):
            raise EOFError


def test_a_missing_package_costs_the_picture_alone(capsys):
    with task.optional_picture():
        raise ImportError("pip install matplotlib")
    assert capsys.readouterr().out == "No picture: pip install matplotlib\n"


@pytest.mark.parametrize("sizes", [(3, 2), (8, 0)])
def test_too_few_rows_are_told(sizes):
    options = argparse.Namespace(batch_size=4)
    train, held_out = ((np.zeros(n), np.zeros(n)) for n in sizes)
    with pytest.raises(ValueError, match="fill a batch of 4.*--batch-size"):
        fitting.fit(None, train, held_out, options, loss="mse", monitor="x")
