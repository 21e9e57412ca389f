"""The options of `train` in a file of TOML: read, and written.

    pairs = "pairs.tsv"
    model = "luong"
    batch-size = 128
    tie-embeddings = true

A name is that of the option, without its dashes; `batch_size` will do, too.
Values are checked by what checks those of the command line, which come first
where both are given. Paths begin where the command runs.
"""

import argparse
import sys
from argparse import ArgumentTypeError

import keras_attention
from keras_attention.cli import train_options
from keras_attention.cli.input_files import bytes_of
from keras_attention.cli.models import given
from keras_attention.cli.parser import with_hint

# What has no place in a file that is read, and in one that is written: where
# the model is made, and how the command behaves while it is.
NEVER_READ = {"help", "config"}
NEVER_WRITTEN = {*NEVER_READ, "out", "resume", "overwrite", "quiet"}
ORDER = (
    *("pairs", "validation_pairs", "columns", "initial_folder", "model"),
    *train_options.NAMES,
)
HEADER = """\
# What this model was trained with, by keras-attention {version}. Again:
# keras-attention train --config THIS_FILE --out DIR
"""


def read_configuration(options: argparse.Namespace) -> None:
    """Sets what the command line leaves open to what the file says.

    Args:
        options: those of `train`; `config` is the file, or None.

    Raises:
        ValueError: if the file cannot be read, has a name that is no option,
            or a value that its option does not take.
    """
    if options.config is None:
        return
    found = {}
    for key, value in _read(options.config).items():
        name = key.replace("-", "_")
        where = f"{options.config!r}: `{key}`"
        action = options.parser.arguments.get(name)
        if action is None or name in NEVER_READ:
            raise ValueError(_no_option(options, key, value))
        if name in found:
            raise ValueError(f"{where} is given twice, with - and with _")
        found[name] = _value(action, value, where)
    for name, value in found.items():
        if getattr(options, name) in (None, []):
            setattr(options, name, value)


def configuration_of(options: argparse.Namespace) -> str:
    """Returns the text of the file that trains the same model again.

    The defaults of the training are in it, so that it says the same to a
    version that has others; those of the model depend on its kind.
    """
    import tomli_w

    names = set(options.parser.arguments) - NEVER_WRITTEN
    told = {**_defaults(options), **given(options, names)}
    lines = {
        name.replace("_", "-"): _as_toml(name, told[name])
        for name in sorted(told, key=ORDER.index)
    }
    text = HEADER.format(version=keras_attention.__version__)
    text = f"{text}\n{tomli_w.dumps(lines)}"
    return text.encode("utf-8", "replace").decode("utf-8")


def _read(name):
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        text = bytes_of(name).decode("utf-8")
        return tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"{name!r}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name!r} is not TOML: it is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name!r} is not TOML: {error}") from error


def _no_option(options, key, value):
    names = set(options.parser.arguments) - NEVER_READ
    names = [name.replace("_", "-") for name in names]
    hint = with_hint(key.replace("_", "-"), names)
    message = f"{options.config!r}: there is no option {hint}"
    if isinstance(value, dict):
        message += ". Options stand in no table: leave the [brackets] out"
    return message


def _value(action, value, where):
    """Returns the value of an option as the command line would have it."""
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise ValueError(f"{where} must be true or false, {_not(value)}")
        return value
    if action.nargs is None:
        return _single(action, value, where)
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(isinstance(item, str) for item in listed):
        raise ValueError(f"{where} must be a text or texts, {_not(value)}")
    return [_single(action, item, where) for item in listed]


def _single(action, value, where):
    text = value
    if isinstance(value, list):  # the columns, as [1, 2]
        text = ",".join(map(str, value))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        text = str(value)
    elif not isinstance(value, str):
        raise ValueError(f"{where} must be a number or a text, {_not(value)}")
    try:
        found = action.type(text)
    except ArgumentTypeError as error:
        raise ValueError(f"{where}: {error}") from error
    is_number = isinstance(found, (int, float))
    if is_number and isinstance(value, str):
        raise ValueError(f"{where} must be a number, {_not(value)}")
    if isinstance(found, str) and not isinstance(value, str):
        raise ValueError(f"{where} must be a text, {_not(value)}")
    if isinstance(value, list) and not isinstance(found, tuple):
        raise ValueError(f"{where} must be a number, {_not(value)}")
    return found


def _not(value):
    kinds = {bool: "", int: "the number ", float: "the number "}
    kinds |= {str: "the text ", list: "the array ", dict: "a table"}
    kind = kinds.get(type(value), "the date ")
    if isinstance(value, dict):
        return f"not {kind}"
    shown = str(value).lower() if isinstance(value, bool) else f"{value!r:.60}"
    return f"not {kind}{shown}"


def _defaults(options):
    """The defaults of a training that hold whatever else is given."""
    found = {
        option.name: option.default
        for option in train_options.TRAINING
        if _is_value(option)
    }
    if options.batch_tokens is not None:
        del found["batch_size"]
    if options.initial_folder is None:
        found["model"] = train_options.DEFAULT_KIND
        for side in ("source", "target"):
            if getattr(options, f"{side}_vocabulary") is None:
                found[f"{side}_unit"] = train_options.DEFAULT_UNIT
    return found


def _is_value(option):
    """Whether the default is a value, and not a text that explains one."""
    try:
        return option.read(str(option.default)) == option.default
    except ArgumentTypeError:
        return False


def _as_toml(name, value):
    if name == "columns":
        return [n + 1 if isinstance(n, int) else n for n in value]
    is_single = isinstance(value, list) and len(value) == 1
    return value[0] if is_single else value
