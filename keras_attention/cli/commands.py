"""What the commands do, but for `generate`: see `generation`."""

import argparse
import contextlib
import json
import pathlib
import shutil
import stat
import sys
import tempfile

from keras_attention.cli import train_options
from keras_attention.cli.models import answers
from keras_attention.cli.models import given
from keras_attention.cli.models import load
from keras_attention.cli.models import search_of
from keras_attention.cli.startup import import_tensorflow
from keras_attention.cli.terminal import NOT_IN_A_LINE
from keras_attention.cli.terminal import escaped
from keras_attention.cli.terminal import shown
from keras_attention.cli.terminal import standard_input
from keras_attention.cli.values import STANDARD_INPUT


def train(options: argparse.Namespace) -> None:
    """Trains a model."""
    with (
        _files(options.pairs) as pairs,
        _files(options.validation_pairs) as validation_pairs,
    ):
        import_tensorflow()
        from keras_attention import training

        training.train(
            pairs,
            options.out,
            validation_pairs=validation_pairs,
            kind=options.model,
            initial_folder=options.initial_folder,
            resume=bool(options.resume),
            overwrite=bool(options.overwrite),
            callbacks=[training.KeepMemory()],
            verbose=_verbosity(options),
            **given(options, [*train_options.NAMES, "columns"]),
        )


def evaluate(options: argparse.Namespace) -> None:
    """Prints the metrics of what is generated for pairs."""
    chosen = given(options, ["metrics", "bleu_tokenizer"])
    if "bleu_tokenizer" in chosen and "bleu" not in chosen.get("metrics", ()):
        raise ValueError("--bleu-tokenizer needs bleu among --metrics")
    model = load(options.folder)
    from keras_attention import files
    from keras_attention import training
    from keras_attention.training.rates import counted_unit
    from keras_attention.training.text_metrics import check_metrics

    if "metrics" in chosen:
        check_metrics(chosen["metrics"])  # before all is generated
    references = {}
    with _files(options.pairs) as pairs:
        for source, target in training.read_pairs(pairs, options.columns):
            references.setdefault(source, []).append(target)
    found = answers(model, list(references), search_of(options), options)
    texts = [texts[0] for texts, *_ in found]
    wanted = list(references.values())
    unit = counted_unit(model.target_vocabulary)
    measured = training.measure_texts(wanted, texts, unit=unit, **chosen)
    measured = {"sources": len(wanted), **measured}
    if options.hypotheses is not None:
        lines = [
            "\t".join(escaped(text, NOT_IN_A_LINE) for text in pair)
            for pair in zip(references, texts, strict=True)
        ]
        text = "".join(f"{line}\n" for line in lines)
        files.write_text(options.hypotheses, text)
    print(json.dumps(measured, indent=2))


def export(options: argparse.Namespace) -> None:
    """Writes a SavedModel, or a search for another runtime."""
    model = load(options.folder)
    from keras_attention import export as exporting

    shared = {
        "search": search_of(options),
        "max_length": options.max_length,
        "overwrite": bool(options.overwrite),
        **given(options, ["max_source_length"]),
    }
    if options.format == "onnx":
        folder = exporting.export_onnx(model, options.exported, **shared)
    elif options.format == "litert":
        folder = exporting.export_litert(model, options.exported, **shared)
    else:
        warm_up = None
        if options.warm_up is not None:
            warm_up = exporting.WarmUp(_bytes(options.warm_up).splitlines())
        folder = exporting.export_saved_model(
            model,
            options.exported,
            weights=options.weights,
            warm_up=warm_up,
            **shared,
        )
    if not options.quiet:
        guide = shown(str(folder / "README.md"))
        print(f"Wrote {shown(str(folder))}; {guide} says how to use it.")


def plot(options: argparse.Namespace) -> None:
    """Draws an alignment."""
    model = load(options.folder)
    from keras_attention import plots

    figure = model.plot_alignment(
        options.text, search=search_of(options), max_length=options.max_length
    )
    path = plots.save_figure(figure, options.out)
    if not options.quiet:
        print(shown(str(path)))


def _verbosity(options):
    """0 nothing, 1 a bar that redraws its line, 2 a line for each epoch."""
    if options.quiet:
        return 0
    return 1 if sys.stdout.isatty() else 2


def _bytes(name):
    if name == STANDARD_INPUT:
        return standard_input().read()
    return pathlib.Path(name).read_bytes()


@contextlib.contextmanager
def _files(names):
    """Yields the names as files that can be read again and again.

    Standard input and pipes are copied to files in a temporary folder.
    """
    if names is None or all(map(_is_stored, names)):
        yield names
        return
    with tempfile.TemporaryDirectory(prefix="keras-attention-") as folder:
        paths = []
        for number, name in enumerate(names, start=1):
            if _is_stored(name):
                paths.append(name)
                continue
            is_input = name == STANDARD_INPUT
            label = "standard-input" if is_input else pathlib.Path(name).name
            path = pathlib.Path(folder) / str(number) / label
            path.parent.mkdir()
            with open(path, "wb") as copy:
                with _opened(name) as file:
                    shutil.copyfileobj(file, copy)
            paths.append(path)
        yield paths


def _is_stored(name):
    if name == STANDARD_INPUT:
        return False
    return stat.S_ISREG(pathlib.Path(name).stat().st_mode)


def _opened(name):
    if name == STANDARD_INPUT:
        return contextlib.nullcontext(standard_input())
    return open(name, "rb")
