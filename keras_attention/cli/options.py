"""What may be said on the command line."""

import argparse
import contextlib
import platform
from importlib import metadata

import keras_attention
from keras_attention import choices
from keras_attention.cli import train_options
from keras_attention.cli import values
from keras_attention.cli.configuration import read_configuration
from keras_attention.cli.generate_options import add_generate
from keras_attention.cli.parser import Parser
from keras_attention.cli.score_options import add_score
from keras_attention.cli.shared_options import add_columns
from keras_attention.cli.shared_options import add_command
from keras_attention.cli.shared_options import add_folder
from keras_attention.cli.shared_options import add_pairs
from keras_attention.cli.shared_options import add_search
from keras_attention.cli.shared_options import check_standard_input
from keras_attention.cli.values import integer

PROGRAM = "keras-attention"
RUNS_ON = ("tensorflow", "keras", "numpy")
FILES_HELP = """\
A file of pairs has one pair a line: source, tab, target, in UTF-8. Names in
.csv are read as CSV, in .jsonl and .ndjson as JSON lines, and .gz after it is
unpacked; - is standard input."""

COMPLETION_HELP = f"""\
bash  add to ~/.bashrc:  eval "$({PROGRAM} completion bash)"
zsh   add to ~/.zshrc, after compinit:  eval "$({PROGRAM} completion zsh)"
tcsh  write it to a file once, and source that in ~/.tcshrc"""


def make_parser() -> Parser:
    """Returns the parser of the whole command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Sequence-to-sequence models on files of pairs.",
        epilog=f"{PROGRAM} COMMAND --help explains a command.",
    )
    parser.add_option(
        "--version",
        action="version",
        version=_versions(),
        help="print the version, and those of what it runs on",
    )
    commands = parser.add_commands()
    _add_train(commands)
    add_generate(commands)
    _add_evaluate(commands)
    add_score(commands)
    _add_export(commands)
    _add_plot(commands)
    _add_view(commands)
    _add_completion(commands)
    return parser


def _versions():
    """Returns the versions that a report of a fault should name."""
    others = [f"Python {platform.python_version()}"]
    for name in RUNS_ON:
        with contextlib.suppress(metadata.PackageNotFoundError):
            others.append(f"{name} {metadata.version(name)}")
    return f"{PROGRAM} {keras_attention.__version__} ({', '.join(others)})"


def _add_train(commands):
    parser = add_command(
        commands,
        "train",
        "commands",
        "train a model on pairs",
        check=_check_train,
        epilog=FILES_HELP,
    )
    parser.set_defaults(
        if_interrupted="the same command with --resume goes on from the last "
        "checkpoint"
    )
    add_pairs(parser, nargs="*")  # the file of --config may name them
    parser.add_option(
        "--config",
        type=values.input_file,
        metavar="FILE",
        help="TOML file of options, such as batch-size = 128; the command "
        "line wins. The training.toml of a model trains it again",
    )
    parser.add_option(
        "--out",
        type=values.output_folder,
        metavar="DIR",
        help="folder of the model to make",
    )
    parser.add_option(
        "--model",
        type=values.choice(choices.KINDS),
        metavar="KIND",
        default=train_options.DEFAULT_KIND,
        help=f"kind of model: {', '.join(choices.SHORT_NAMES)} or "
        f"ENCODER-DECODER of {', '.join(choices.ENCODERS)} and "
        f"{', '.join(choices.DECODERS)}",
    )
    parser.add_option(
        "--initial-folder",
        type=values.model_folder,
        metavar="DIR",
        help="go on from this model (fine-tuning)",
    )
    for name, text in (
        ("--resume", "go on after an interruption"),
        ("--overwrite", "replace the model at --out"),
    ):
        parser.add_option(
            name,
            action=argparse.BooleanOptionalAction,
            default=False,
            help=text,
        )
    groups = {
        title: parser.add_argument_group(title)
        for title in train_options.GROUPS
    }
    parser.add_option(
        "--validation-pairs",
        nargs="+",
        type=values.input_file,
        metavar="FILE",
        default="every twentieth source, at most 2000",
        group=groups["data"],
        help="files of pairs to choose the best epoch by",
    )
    add_columns(parser, groups["data"])
    for title, options in train_options.GROUPS.items():
        for option in options:
            option.add_to(parser, groups[title])


def _add_evaluate(commands):
    parser = add_command(
        commands,
        "evaluate",
        "commands",
        "measure what is generated for files of pairs",
        check=_check_evaluate,
        epilog=FILES_HELP,
    )
    add_folder(parser)
    add_pairs(parser)
    add_columns(parser)
    parser.add_option(
        "--metrics",
        nargs="+",
        type=values.choice(choices.METRICS),
        metavar="NAME",
        default="exact_match error_rate",
        help=f"what to measure: {', '.join(choices.METRICS)}",
    )
    parser.add_option(
        "--bleu-tokenizer",
        type=values.choice(choices.BLEU_TOKENIZERS),
        metavar="NAME",
        default="13a",
        help=f"words of bleu: {', '.join(choices.BLEU_TOKENIZERS)}",
    )
    parser.add_option(
        "--hypotheses",
        type=values.output_file,
        metavar="FILE",
        help="write each source, a tab and its target to this file",
    )
    add_search(parser)


def _add_export(commands):
    parser = add_command(
        commands,
        "export",
        "commands",
        "write a model for TensorFlow Serving, onnxruntime or LiteRT",
        check=_check_export,
    )
    add_folder(parser)
    parser.add_argument(
        "exported",
        type=values.output_folder,
        metavar="EXPORTED",
        help="folder to write",
    )
    parser.add_option(
        "--format",
        type=values.choice(choices.EXPORT_FORMATS),
        metavar="FORMAT",
        default=choices.EXPORT_FORMATS[0],
        help="saved_model: text to text, for TensorFlow Serving; onnx or "
        "litert: ids to ids, for these runtimes",
    )
    parser.add_option(
        "--overwrite", action="store_true", help="replace what was there"
    )
    parser.add_option(
        "--max-source-length",
        type=integer(at_least=1),
        metavar="N",
        default=512,
        help="cut longer sources, in tokens with the end",
    )
    formats = choices.WEIGHT_FORMATS
    parser.add_option(
        "--weights",
        type=values.choice(formats),
        metavar="FORMAT",
        default="unchanged",
        help=f"how to store the weights of a SavedModel: {', '.join(formats)}",
    )
    parser.add_option(
        "--warm-up",
        type=values.input_file,
        metavar="FILE",
        help="lines that a server answers while it loads the SavedModel",
    )
    add_search(parser)


def _add_plot(commands):
    parser = add_command(
        commands,
        "plot",
        "commands",
        "draw which source each target token came from",
    )
    add_folder(parser)
    parser.add_argument("text", metavar="TEXT", help="a source text")
    parser.add_option(
        "--out",
        required=True,
        type=values.output_file_in(choices.PICTURE_SUFFIXES),
        metavar="FILE",
        help=f"picture to write: {', '.join(choices.PICTURE_SUFFIXES)}",
    )
    add_search(parser)


def _add_view(commands):
    parser = add_command(
        commands,
        "view",
        "commands",
        "write a page to look into all attention of the model",
        epilog="A browser opens the page; it needs no network.",
    )
    add_folder(parser)
    parser.add_argument(
        "texts",
        nargs="+",
        metavar="TEXT",
        help="source texts; of one text the page has the steps of the beam, "
        "too",
    )
    parser.add_option(
        "--out",
        required=True,
        type=values.output_file_in(choices.PAGE_SUFFIXES),
        metavar="FILE",
        help=f"page to write: {', '.join(choices.PAGE_SUFFIXES)}",
    )
    add_search(parser)


def _add_completion(commands):
    parser = add_command(
        commands,
        "completion",
        "completion",
        "print what lets a shell complete commands, options and files",
        epilog=COMPLETION_HELP,
    )
    parser.add_argument(
        "shell",
        type=values.choice(choices.SHELLS),
        metavar="SHELL",
        help=", ".join(choices.SHELLS),
    )


def _check_evaluate(options):
    check_standard_input(options.pairs)


def _check_export(options):
    if options.format in (None, choices.EXPORT_FORMATS[0]):
        return
    for name in ("weights", "warm_up"):
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} is for --format saved_model alone")


def _check_train(options):
    read_configuration(options)
    missing = [] if options.pairs else ["PAIRS"]
    missing += [] if options.out else ["--out"]
    if missing:
        raise ValueError(
            "the following arguments are required: " + ", ".join(missing)
        )
    sources = [*options.pairs, *(options.validation_pairs or [])]
    check_standard_input([*sources, options.config])
