"""The command line: train, generate, evaluate, export, plot.

    keras-attention train pairs.tsv --model transformer --out DIR
    echo "hello" | keras-attention generate DIR
    keras-attention evaluate DIR pairs.tsv
    keras-attention export DIR SAVED_MODEL
    keras-attention plot DIR "hello" --out picture.png

A pairs file has one pair a line, source, tab, target, in UTF-8. What goes
wrong is one line on standard error and an exit status of 2.
"""

import argparse
import json
import pathlib
import sys

import keras_attention as ka
from keras_attention.models.builder import KINDS

TEXTS_AT_ONCE = 1024
UNITS = ("characters", "words", "symbols")

# Options of the model that `train` hands on, by their own names.
MODEL_OPTIONS = {
    "units": int,
    "num_layers": int,
    "num_decoder_layers": int,
    "dropout": float,
    "embedding_dim": int,
    "cell": str,
    "attention": str,
    "num_heads": int,
    "feed_forward_units": int,
    "max_length": int,
    "kernel_size": int,
    "activation": str,
    "dtype": str,
}
SWITCHES = (
    "bidirectional",
    "flash_attention",
    "input_feeding",
    "normalize_first",
    "tie_embeddings",
)
# The same for the training.
TRAIN_OPTIONS = {
    "epochs": int,
    "batch_size": int,
    "learning_rate": float,
    "warmup_steps": int,
    "decay": str,
    "label_smoothing": float,
    "clip_norm": float,
    "min_count": int,
    "max_minutes": float,
    "max_source_length": int,
    "max_target_length": int,
    "patience": int,
    "checkpoint_every": int,
    "monitor": str,
    "vocabulary_size": int,
    "seed": int,
}


def main(arguments=None):
    """Runs one command; returns the exit status.

    Args:
        arguments: list of strings; defaults to those of the process.
    """
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except BrokenPipeError:  # the reader of our output left
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"keras-attention: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("keras-attention: interrupted", file=sys.stderr)
        return 130
    return 0


def parser():
    """Returns the parser of the whole command line."""
    result = argparse.ArgumentParser(
        prog="keras-attention",
        description="Sequence-to-sequence models on a file of pairs.",
    )
    commands = result.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_train, _add_generate, _add_evaluate, _add_export):
        add(commands)
    _add_plot(commands)
    return result


def _add_train(commands):
    command = commands.add_parser("train", help="train a model on pairs")
    command.set_defaults(run=_train)
    command.add_argument("pairs", nargs="+", help="files, .gz is read too")
    command.add_argument("--out", required=True, help="folder of the model")
    command.add_argument("--model", choices=KINDS, help="kind of model")
    command.add_argument("--validation-pairs", nargs="+", help="files held out")
    command.add_argument("--source-unit", choices=UNITS)
    command.add_argument("--target-unit", choices=UNITS)
    command.add_argument("--initial-folder", help="fine-tune this model")
    command.add_argument(
        "--resume", action="store_true", help="go on after an interruption"
    )
    command.add_argument(
        "--overwrite", action="store_true", help="replace the model at --out"
    )
    for name, kind in {**MODEL_OPTIONS, **TRAIN_OPTIONS}.items():
        command.add_argument(f"--{name.replace('_', '-')}", type=kind)
    for name in SWITCHES:
        command.add_argument(
            f"--{name.replace('_', '-')}",
            action=argparse.BooleanOptionalAction,
            default=None,
        )


def _add_generate(commands):
    command = commands.add_parser(
        "generate", help="print the target of each line"
    )
    command.set_defaults(run=_generate)
    command.add_argument("folder", help="folder of the model")
    command.add_argument(
        "texts", nargs="?", default="-", help="file of lines, - is the input"
    )
    command.add_argument(
        "--n-best", type=int, default=1, help="hypotheses for each line"
    )
    command.add_argument(
        "--scores", action="store_true", help="print scores, tab, text"
    )
    _add_search(command)


def _add_evaluate(commands):
    command = commands.add_parser(
        "evaluate", help="count the errors on a file of pairs"
    )
    command.set_defaults(run=_evaluate)
    command.add_argument("folder", help="folder of the model")
    command.add_argument("pairs", nargs="+", help="files of pairs")
    _add_search(command)


def _add_export(commands):
    command = commands.add_parser(
        "export", help="write a SavedModel for TensorFlow Serving"
    )
    command.set_defaults(run=_export)
    command.add_argument("folder", help="folder of the model")
    command.add_argument("saved_model", help="folder to write")
    command.add_argument("--overwrite", action="store_true")
    command.add_argument(
        "--max-source-length", type=int, default=512, help="cut longer sources"
    )
    command.add_argument(
        "--weights",
        choices=("float16", "bfloat16", "int8"),
        help="how to store the weights; as they are if not given",
    )
    command.add_argument(
        "--warm-up",
        metavar="FILE",
        help="file of lines that a server answers while it loads the model",
    )
    _add_search(command)


def _add_plot(commands):
    command = commands.add_parser(
        "plot", help="draw which source each target token came from"
    )
    command.set_defaults(run=_plot)
    command.add_argument("folder", help="folder of the model")
    command.add_argument("text", help="a source text")
    command.add_argument("--out", required=True, help="a .png file")
    _add_search(command)


def _add_search(command):
    command.add_argument(
        "--beam", type=int, default=4, help="beam width; 1 is greedy"
    )
    command.add_argument("--length-penalty", type=float, default=1.0)
    command.add_argument("--max-length", type=int, help="longest target")


def _search(options):
    count = getattr(options, "n_best", 1)
    if options.beam == 1 and count == 1:
        return ka.Greedy()
    return ka.Beam(
        width=max(options.beam, count),
        length_penalty=options.length_penalty,
        num_hypotheses=count,
    )


def _given(options, names):
    values = {name: getattr(options, name) for name in names}
    return {name: v for name, v in values.items() if v is not None}


def _train(options):
    ka.training.train(
        options.pairs,
        options.out,
        validation_pairs=options.validation_pairs,
        kind=options.model,
        source_unit=options.source_unit,
        target_unit=options.target_unit,
        initial_folder=options.initial_folder,
        resume=options.resume,
        overwrite=options.overwrite,
        **_given(options, MODEL_OPTIONS),
        **_given(options, SWITCHES),
        **_given(options, TRAIN_OPTIONS),
    )


def _generate(options):
    model = ka.load(options.folder)
    if options.texts == "-":
        texts = sys.stdin.buffer.read().splitlines()
    else:
        texts = _lines(options.texts)
    for answers, scores in _answers(model, texts, options):
        for text, score in zip(answers, scores, strict=True):
            print(f"{score:.4f}\t{text}" if options.scores else text)


def _lines(path):
    """The lines as bytes: broken UTF-8 has a defined answer as well."""
    return pathlib.Path(path).read_bytes().splitlines()


def _answers(model, texts, options):
    """Yields (answers, scores) of each text, some texts at a time.

    Alignments come along, so all texts at once could fill the memory; and no
    progress bar is drawn between the answers.
    """
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        result = model.generate(
            texts[start : start + TEXTS_AT_ONCE],
            search=_search(options),
            max_length=options.max_length,
            verbose=0,
        )
        yield from zip(result.texts, result.scores, strict=True)


def _evaluate(options):
    model = ka.load(options.folder)
    references = {}
    for source, target in ka.training.read_pairs(options.pairs):
        references.setdefault(source, []).append(target)
    answers = _answers(model, list(references), options)
    given, wanted = [a[0] for a, _ in answers], list(references.values())
    unit = model.target_vocabulary.unit
    rates = {
        "sources": len(wanted),
        "exact_match": ka.training.exact_match(wanted, given, unit),
        "error_rate": ka.training.error_rate(wanted, given, unit=unit),
    }
    print(json.dumps(rates, indent=2))


def _export(options):
    warm_up = None
    if options.warm_up is not None:
        warm_up = ka.export.WarmUp(_lines(options.warm_up))
    folder = ka.export.export_saved_model(
        ka.load(options.folder),
        options.saved_model,
        search=_search(options),
        max_length=options.max_length,
        max_source_length=options.max_source_length,
        overwrite=options.overwrite,
        weights=options.weights,
        warm_up=warm_up,
    )
    print(f"Wrote {folder}; {folder / 'README.md'} says how to serve it.")


def _plot(options):
    figure = ka.load(options.folder).plot_alignment(
        options.text, search=_search(options), max_length=options.max_length
    )
    print(ka.plots.save_figure(figure, options.out))


if __name__ == "__main__":
    sys.exit(main())
