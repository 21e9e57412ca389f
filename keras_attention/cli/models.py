"""Loading a model and asking it, for all commands."""

import argparse
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

from keras_attention.cli.shared_options import BEAM
from keras_attention.cli.startup import import_tensorflow

# Their alignments come along: more could fill the memory.
TEXTS_AT_ONCE = 1024
SEEDS = 2**31  # 32 bits with a sign


def load(folder: str) -> Any:
    """Loads the `Seq2Seq` of a folder.

    Raises:
        ValueError: whatever goes wrong; the message names the folder.
    """
    model = load_any(folder)
    if is_language_model(model):
        raise ValueError(
            f"the model in {folder!r} is a language model, which has no "
            "sources: generate, score and export take it"
        )
    return model


def is_language_model(model: Any) -> bool:
    """Whether a model goes on with prompts, and has no sources."""
    import keras_attention as ka

    return isinstance(model, ka.LanguageModel)


def load_any(folder: str, needs_text: bool = True) -> Any:
    """Loads the `Seq2Seq` or the `LanguageModel` of a folder.

    Args:
        folder: path of the folder.
        needs_text: whether it must have vocabularies.

    Raises:
        ValueError: whatever goes wrong; the message names the folder.
    """
    import_tensorflow()
    import keras_attention as ka
    from keras_attention.models import vocabularies

    try:
        model = ka.load(folder)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # what a damaged file may lead to
        if type(error) is ValueError and folder in str(error):
            raise
        kind = "" if type(error) is ValueError else f"{type(error).__name__}: "
        raise ValueError(
            f"the model in {folder!r} cannot be loaded: {kind}{error}"
        ) from error
    if needs_text and None in vocabularies.of(model).values():
        raise ValueError(
            f"the model in {folder!r} has no vocabularies for both sides: it "
            "maps no text to text"
        )
    return model


def given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Returns the options of these names that are given, as a dict."""
    values = {name: getattr(options, name) for name in names}
    return {name: v for name, v in values.items() if v is not None}


def search_of(options: argparse.Namespace, constraints: tuple = ()) -> Any:
    """Returns the search object that the options ask for."""
    import keras_attention as ka

    count = getattr(options, "n_best", None) or 1
    if getattr(options, "sample", False):
        names = ("temperature", "top_k", "top_p", "min_p", "seed")
        return ka.Sample(
            num_samples=count,
            constraints=constraints,
            **given(options, names),
        )
    width = options.beam or max(BEAM, count)
    penalty = given(options, ["length_penalty"])
    if width == 1 and not penalty:
        return ka.Greedy(constraints=constraints)
    return ka.Beam(
        width=width,
        num_hypotheses=count,
        constraints=constraints,
        **penalty,
    )


def answers(
    model: Any,
    texts: list[str] | list[bytes],
    search: Any,
    options: argparse.Namespace,
    first: int = 0,
) -> Iterator[tuple]:
    """Yields (texts, scores, alignments) of each text.

    They come best first, or in the order drawn.

    Args:
        model: a `Seq2Seq`, or a `LanguageModel`, whose texts are prompts.
        texts: list of str or bytes.
        search: what to search for.
        options: those of the command line.
        first: number of the first text, for samples.
    """
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        some = texts[start : start + TEXTS_AT_ONCE]
        numbers = range(first + start, first + start + len(some))
        result = model.generate(
            some,
            search=search,
            max_length=options.max_length,
            verbose=0,
            row_seeds=[number % SEEDS for number in numbers],
        )
        yield from zip(*_rows(result), strict=True)


def _rows(result):
    """The texts, scores and alignments, these without their padding."""
    alignments = (
        [one[:length] for one, length in zip(*row, strict=True)]
        for row in zip(result.alignments, result.lengths, strict=True)
    )
    return result.texts, result.scores, alignments
