"""A search that tells each id of a target as soon as it is said."""

from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_attention import validation
from keras_attention.decoding.search import Search
from keras_attention.models.generated import decoded_texts
from keras_attention.models.prompt_ids import aligned
from keras_attention.models.prompt_search import loop_of

REPLACEMENT = "\ufffd"  # what half a character of UTF-8 is read as


def step_functions(
    model: Any, search: Search, max_length: int, jit_compile: bool
) -> tuple[Callable, Callable]:
    """Returns the two functions that a stream calls, as graphs.

    Args:
        model: a `LanguageModel`.
        search: a search that never takes back what it said.
        max_length: the most ids that follow.
        jit_compile: whether XLA compiles them.

    Returns:
        begin(ids, row_seeds), which returns what is carried from step to
        step; and advance(carried, row_seeds), which returns that after one
        more step, the id that was said, and whether another follows.
    """

    def begin(ids, row_seeds):
        loop = loop_of(model, search, max_length, row_seeds)
        return loop.start(aligned(ids))

    def advance(carried, row_seeds):
        loop = loop_of(model, search, max_length, row_seeds)
        carried = loop.advance(*carried)
        token = carried[2].inputs[0, 0]
        return carried, token, loop.is_unfinished(*carried)

    if keras.config.backend() != "tensorflow":
        return begin, advance
    import tensorflow as tf

    options = {"jit_compile": jit_compile or None, "autograph": False}
    return tf.function(begin, **options), tf.function(advance, **options)


def pieces_of(said: Iterator[int], vocabulary: Any) -> Iterator[str]:
    """Yields what each id adds to the text, as soon as it is certain.

    A tokenizer of bytes may need several ids for one character: until they
    are there, its text ends in U+FFFD, and is held back.

    Args:
        said: the ids, one after the other.
        vocabulary: a `Vocabulary`, or a tokenizer with `decode`.

    Raises:
        ValueError: at the end, if a piece that was yielded is no part of it.
    """
    ids, shown = [], ""
    for token in said:
        ids.append(token)
        (text,) = decoded_texts(vocabulary, np.array([ids], "int32"))
        if text.startswith(shown) and not text.endswith(REPLACEMENT):
            if text != shown:
                yield text[len(shown) :]
            shown = text
    if not text.startswith(shown):
        raise validation.invalid(
            "vocabulary",
            "a tokenizer whose text of the first ids begins that of all, to be "
            "streamed",
            f"one that decodes to {text!r} after {shown!r}",
            "Use `generate`.",
        )
    if text != shown:
        yield text[len(shown) :]
