"""What the commands do that have no module of their own."""

import argparse
import json
import sys

from keras_attention.cli import train_options
from keras_attention.cli.configuration import configuration_of
from keras_attention.cli.input_files import bytes_of
from keras_attention.cli.input_files import stored_files
from keras_attention.cli.models import answers
from keras_attention.cli.models import given
from keras_attention.cli.models import load
from keras_attention.cli.models import load_any
from keras_attention.cli.models import search_of
from keras_attention.cli.startup import import_tensorflow
from keras_attention.cli.terminal import NOT_IN_A_FIELD
from keras_attention.cli.terminal import escaped
from keras_attention.cli.terminal import shown


def train(options: argparse.Namespace) -> None:
    """Trains a model."""
    configuration = configuration_of(options)  # before all the work
    with (
        stored_files(options.pairs) as pairs,
        stored_files(options.validation_pairs) as validation_pairs,
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
            configuration=configuration,
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
    with stored_files(options.pairs) as pairs:
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
            "\t".join(escaped(text, NOT_IN_A_FIELD) for text in pair)
            for pair in zip(references, texts, strict=True)
        ]
        text = "".join(f"{line}\n" for line in lines)
        files.write_text(options.hypotheses, text)
    print(json.dumps(measured, indent=2))


def export(options: argparse.Namespace) -> None:
    """Writes a SavedModel, or a search for another runtime."""
    model = load_any(options.folder, needs_text=False)
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
            warm_up = exporting.WarmUp(bytes_of(options.warm_up).splitlines())
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


def view(options: argparse.Namespace) -> None:
    """Writes a page of all attention."""
    model = load(options.folder)
    texts = list(dict.fromkeys(options.texts))
    page = model.view_attention(
        texts, search=search_of(options), max_length=options.max_length
    )
    path = page.save(options.out)
    if not options.quiet:
        print(shown(str(path)))


def _verbosity(options):
    """0 nothing, 1 a bar that redraws its line, 2 a line for each epoch."""
    if options.quiet:
        return 0
    return 1 if sys.stdout.isatty() else 2
