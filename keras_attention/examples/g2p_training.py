"""The models of `examples.g2p`: their settings, training and error rates."""

import pathlib
from typing import Any

from keras_attention.examples.pronunciations import Dictionary

PRESETS = {
    # About five minutes on two cores.
    "demo": {
        "kind": "bahdanau",
        "units": 128,
        "dropout": 0.1,
        "epochs": 4,
        "batch_size": 256,
        "learning_rate": 4e-3,
    },
    # Without input feeding the attention of all steps is one product.
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
    },
    # Equal minutes of processor time for each kind of attention; about 0.1 s
    # a step.
    "table": {
        "kind": "global",
        "units": 192,
        "embedding_dim": 64,
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "minutes": 45,
        "batch_size": 128,
        "learning_rate": 2e-3,
    },
    # About 0.5 s a step on one core, 870 steps an epoch.
    "long": {
        "kind": "luong",
        "units": 256,
        "num_layers": 2,
        "num_decoder_layers": 1,
        "embedding_dim": 128,
        "dropout": 0.3,
        "label_smoothing": 0.1,
        "epochs": 30,
        "average": 5,
        "batch_size": 128,
        "learning_rate": 1.5e-3,
    },
}
# A Transformer in the table is about as large, and twice as slow a step.
TRANSFORMER = {
    "units": 128,
    "num_layers": 3,
    "num_heads": 4,
    "feed_forward_units": 512,
    "normalize_first": True,
    "learning_rate": 1.5e-3,
}
WITHOUT_RECURRENCE = ("transformer", "transformer-transformer")
WITHOUT_RECURRENCE += ("cnn-transformer",)
# Kinds of attention of a "luong" model without input feeding.
ATTENTION = ("global", "local-m", "local-p", "monotonic")
WINDOW = 4  # letters on either side of the centre of local attention
# What the command line may replace.
SETTABLE = ("units", "num_layers", "epochs", "batch_size", "dropout")
SETTABLE += ("learning_rate", "minutes")
SEARCHES = ("greedy", "beam 4")


def mechanism(name: str, units: int) -> Any:
    """Returns a new mechanism of a name in `ATTENTION`."""
    from keras_attention import layers

    score = layers.DotProductAttention("general")
    if name == "monotonic":  # the paper's score, which bounds its scale
        score = layers.AdditiveAttention(units, normalize=True)
        return layers.MonotonicAttention(score=score)
    if name.startswith("local"):
        return layers.LocalAttention(
            WINDOW, score=score, predictive=name == "local-p"
        )
    return score


def settings_of(kind: str, options: Any) -> dict[str, Any]:
    """Returns the arguments of `train` for a kind.

    Args:
        kind: a name of `ATTENTION`, or a kind of `build_seq2seq`.
        options: those of the command line.

    Raises:
        ValueError: if both epochs and minutes are to end the training.
    """
    settings = dict(PRESETS[options.preset])
    if kind == "transformer" and options.preset == "table":
        settings = {**settings, **TRANSFORMER}
    if kind not in ATTENTION and not kind.endswith("luong"):
        settings.pop("input_feeding", None)
    if kind in WITHOUT_RECURRENCE:
        settings.pop("embedding_dim", None)
    given = vars(options)
    for name in SETTABLE:
        if name in given:  # on the command line, or of a quick run
            settings[name] = given[name]
    if options.quick:
        settings.pop("minutes", None)
    if "minutes" in settings and "epochs" in given:
        raise ValueError(
            "`--epochs` must not be given where minutes end the training. "
            f"Received: --epochs {options.epochs}, minutes: "
            f"{settings['minutes']:g}. Leave it out, or choose a `--preset` "
            "without minutes"
        )
    settings["kind"] = kind
    if kind in ATTENTION:
        settings["kind"] = "luong"
        settings["input_feeding"] = False
        settings["attention"] = mechanism(kind, settings["units"])
    return {
        **settings,
        "seed": options.seed,
        "verbose": options.verbose,
        "resume": options.resume,
        "overwrite": not options.resume,
    }


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


def train(
    dictionary: Dictionary,
    folder: pathlib.Path,
    *,
    minutes: float | None = None,
    **settings: Any,
) -> tuple[Any, dict[str, Any]]:
    """Trains a model on the training words and saves it in `folder`.

    Args:
        dictionary: words and their splits.
        folder: where the model goes.
        minutes: of processor time, to train in place of the epochs of the
            settings.
        **settings: of `training.train`, those of the model included.

    Returns:
        The trained `Seq2Seq` and its card, which has the minutes under
        "processor_minutes" of "training".
    """
    import keras

    from keras_attention import training

    callbacks = [training.KeepMemory()]
    if minutes:
        rate = settings.pop("learning_rate")
        callbacks.append(
            training.TimedRate(
                rate, minutes, warmup_steps=400, processor_time=True
            )
        )
        settings["optimizer"] = keras.optimizers.Adam(rate, global_clipnorm=1.0)
        settings["epochs"] = 10_000  # the rate ends it
    model, card = training.train(
        dictionary.pairs("train"),
        folder,
        validation_pairs=dictionary.pairs("dev"),
        target_unit="symbols",
        callbacks=callbacks,
        **settings,
    )
    if minutes:  # the card of a model that was finished before has them
        card["training"].setdefault("processor_minutes", minutes)
    return model, card
