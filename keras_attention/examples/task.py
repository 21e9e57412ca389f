"""What all examples share: the command line, and the row of the table.

An example is a module with a `run(options)` that trains, measures and returns
a `Result` or several. `main` reads the options that all examples have, those
of the example's recipe and its own, calls `run`, and prints each result as a
row of the table in benchmarks/RESULTS.md.
"""

import contextlib
import dataclasses
import pathlib
import shlex
import sys
import tempfile
import types
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_attention.cli import values
from keras_attention.cli.outcome import exit_status_of
from keras_attention.cli.parser import Parser
from keras_attention.cli.startup import import_tensorflow
from keras_attention.examples.settings import MEANINGS

PATHS = ("--data", "--output")  # options whose values differ by machine


@dataclasses.dataclass(frozen=True)
class Result:
    """A figure, and what it took to reach it.

    Args:
        task: what the model does, and the model where several are compared.
        data: what it was trained and measured on.
        parameters: number of trained weights.
        minutes: wall-clock time of the training.
        figure: what was measured, with its unit: "98.7% of 1,000 questions".
        published: the figure to compare with, and whose it is; "none" if
            there is none.

    Example:

    >>> from keras_attention.examples.task import Result
    >>> result = Result("copy", "digits", 1234, 0.55, "99.1% right", "none")
    >>> result.row("python -m copy")
    '| copy | digits | 1,234 | 0.6 | 99.1% right | none | `python -m copy` |'
    """

    task: str
    data: str
    parameters: int
    minutes: float
    figure: str
    published: str

    def row(self, command: str) -> str:
        """Returns the line of the Markdown table.

        Args:
            command: what was run, as a reader can run it.
        """
        cells = (
            self.task,
            self.data,
            f"{self.parameters:,}",
            f"{self.minutes:.1f}",
            self.figure,
            self.published,
            f"`{command}`",
        )
        return f"| {' | '.join(c.replace('|', '/') for c in cells)} |"


def main(
    run: Callable[[types.SimpleNamespace], Result | Iterable[Result]],
    arguments: Sequence[str] | None = None,
    *,
    name: str,
    description: str | None,
    recipe: Mapping[str, Any],
    quick: Mapping[str, Any],
    source: str | None = None,
    needs_data: bool = True,
    write_sample: Callable[[pathlib.Path], None] | None = None,
    choices: Mapping[str, Collection[str]] = types.MappingProxyType({}),
    add_options: Callable[[Parser], None] | None = None,
) -> int:
    """Runs an example from the command line; returns the exit status.

    Each number of the recipe is an option too, and each of its texts and lists
    of texts that has choices. What is given replaces what
    `quick` says, and that replaces the recipe.

    Args:
        run: function of the options, a namespace: those of the recipe,
            `data` and `output` (folders, `pathlib.Path`; `data` may be None
            where it is not needed), `seed`, `quick` (a boolean), `given`
            (the names of what the command line gave) and `verbose` (for
            `fit`: a bar on a terminal, else a line for each epoch).
        arguments: words of the command line; those of the process if None.
        name: name of the module, without the package.
        description: text above the list of options.
        recipe: default of each setting, "epochs" among them.
        quick: settings of a run of seconds, for `--quick`.
        source: where the data comes from and its licence; None where the
            example makes its data, and has no `--data`.
        needs_data: whether to refuse a run without data that is not quick.
        write_sample: function of a folder that writes a few lines of data
            there, in the original format, for `--quick` without `--data`.
        choices: {setting of the recipe: the texts that it may be}.
        add_options: function that adds further options to the parser.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser(name, description, source, add_options)
    _add_settings(parser, recipe, quick, choices)
    given = vars(parser.parse_args(arguments))
    given = {key: value for key, value in given.items() if value is not None}
    is_quick = given.setdefault("quick", False)
    if needs_data and source and not is_quick and "data" not in given:
        parser.error(f"--data must name a folder: {source}")
    settings = {
        "data": None,
        "seed": 0,
        **recipe,
        **(quick if is_quick else {}),
    }
    options = types.SimpleNamespace(**{**settings, **given})
    options.given = frozenset(given)
    options.verbose = 1 if sys.stdout and sys.stdout.isatty() else 2

    def work():
        import_tensorflow()
        import keras

        keras.utils.set_random_seed(options.seed)
        with tempfile.TemporaryDirectory() as temporary:
            options.output = _folder(given.get("output", f"{temporary}/output"))
            if options.data is not None:
                options.data = pathlib.Path(options.data)
            elif is_quick and write_sample:
                options.data = _folder(f"{temporary}/data")
                write_sample(options.data)
            results = run(options)
            command = command_shown(name, arguments)
            if isinstance(results, Result):
                results = [results]
            for result in results:  # as they come: one may take an hour
                print(f"\n{result.row(command)}", flush=True)

    return exit_status_of(work, name)


def command_shown(name: str, arguments: Sequence[str]) -> str:
    """Returns a command without the paths of this machine.

    Example:

    >>> from keras_attention.examples.task import command_shown
    >>> command_shown("scan", ["--output", "/tmp/here", "--seed", "3"])
    'python -m keras_attention.examples.scan --output DIR --seed 3'
    """
    words = ["python", "-m", f"keras_attention.examples.{name}"]
    for before, word in zip(["", *arguments], arguments, strict=False):
        option, has_value, _ = word.partition("=")
        if before in PATHS:
            word = "DIR"
        elif option in PATHS and has_value:
            word = f"{option}=DIR"
        words.append(word)
    return shlex.join(words)


def data_file(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of a file of the data, or says that it is not there."""
    path = folder / name
    if not path.is_file():
        raise ValueError(
            f"`--data` must name a folder that holds the file {name!r}. "
            f"Received: {str(folder)!r}, which does not"
        )
    return path


@contextlib.contextmanager
def reading(path: pathlib.Path, expected: str) -> Iterator[None]:
    """Within it, what is wrong with a file of the data is said of that file.

    Args:
        path: the file that is read.
        expected: what it should hold.

    Raises:
        ValueError: in place of any error.
    """
    try:
        yield
    except Exception as error:  # of parsers of many kinds
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{str(path)!r} must hold {expected}. Received: {reason}"
        ) from error


@contextlib.contextmanager
def optional_picture() -> Iterator[None]:
    """Within it a missing Matplotlib costs a picture, not a training."""
    try:
        yield
    except ImportError as error:
        print(f"No picture: {error}")


def _folder(path):
    folder = pathlib.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _parser(name, description, source, add_options):
    parser = Parser(
        prog=name,
        description=description,
        epilog=source and f"data: {source}",
    )
    if source:
        parser.add_option(
            "--data",
            type=values.existing_path,
            metavar="DIR",
            help="folder of the data, with the original file names",
        )
    parser.add_option(
        "--output",
        type=values.output_folder,
        metavar="DIR",
        help="keep what is made there, in a temporary folder otherwise",
    )
    parser.add_option(
        "--quick",
        action="store_true",
        help="a tiny model on a few lines, in seconds: does it run?",
    )
    parser.add_option(
        "--seed",
        type=values.integer(at_least=0),
        metavar="N",
        default=0,
        help="of weights and order",
    )
    if add_options:
        add_options(parser)
    return parser


def _add_settings(parser, recipe, quick, choices):
    for setting, value in recipe.items():
        # 0 means something where the recipe, or the quick one, has it.
        least = 0 if 0 in (value, quick.get(setting)) else 1
        _add_setting(parser, setting, value, choices.get(setting), least)


def _add_setting(parser, setting, value, choices, least):
    """Makes an option of a setting of the recipe, if it is one."""
    number = {
        int: values.integer(at_least=least),
        float: values.number(at_least=0),
    }
    about = {"metavar": "N", "default": value}
    about["type"] = number.get(type(value))
    if choices:
        about |= {"metavar": "NAME", "type": values.choice(choices)}
    if isinstance(value, list):
        about |= {"nargs": "+", "default": " ".join(value)}
    if about["type"] is not None:
        meaning = MEANINGS.get(setting, setting)
        about["help"] = meaning + (f": {', '.join(choices)}" if choices else "")
        parser.add_option(f"--{setting.replace('_', '-')}", **about)
