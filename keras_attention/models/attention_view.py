"""A page of all that a model attends to while it answers texts."""

import math
from collections.abc import Iterator
from typing import Any
from typing import NamedTuple

import numpy as np

from keras_attention import plots
from keras_attention import validation
from keras_attention.decoding import Decoded
from keras_attention.decoding.loop import SearchLoop
from keras_attention.decoding.scoring import coverage_reward
from keras_attention.decoding.scoring import length_divisor
from keras_attention.decoding.search import Search
from keras_attention.decoding.search import check_search
from keras_attention.models import sources
from keras_attention.models.alignment_plot import token_names
from keras_attention.models.attention_taps import read_attention
from keras_attention.models.generated import decoded_texts
from keras_attention.models.generation import encoded_sources
from keras_attention.models.generation import ids_of_texts
from keras_attention.models.generation import without_specials
from keras_attention.special_ids import BOS_ID

ARROW = "\N{RIGHTWARDS ARROW}"
LONGEST_NAME = 40  # characters of a text before the name of a layer


class _Answer(NamedTuple):
    """A text, its best target, and the layers that were read for both."""

    title: str
    layers: dict  # {name: (weights, labels of rows, labels of columns)}
    steps: list | None


def view_attention(
    model: Any, texts: Any, search: Search, max_length: int | None
) -> Any:
    """See `Seq2Seq.view_attention`."""
    if isinstance(texts, (str, bytes)):
        texts = [texts]
    found = sources.texts_of(texts, "texts")
    if not found:
        expected = "a string or a list of strings"
        raise validation.invalid("texts", expected, repr(texts))
    check_search(search)
    if max_length is None:
        max_length = model.max_length
    validation.check_positive_integer("max_length", max_length)
    answers = [
        _answer(model, text, search, max_length, row)
        for row, text in enumerate(found)
    ]
    if len(answers) == 1:
        (answer,) = answers
        layers, title, steps = answer.layers, answer.title, answer.steps
    else:
        layers, title, steps = _joined(answers), None, None
    rows = {name: labels for name, (_, labels, _) in layers.items()}
    columns = {name: labels for name, (_, _, labels) in layers.items()}
    return plots.view(
        {name: weights for name, (weights, _, _) in layers.items()},
        {name: labels for name, labels in columns.items() if labels},
        {name: labels for name, labels in rows.items() if labels},
        title=title,
        steps=steps,
    )


def _joined(answers):
    """The layers of all, each with the number and the text of its answer."""
    found = {}
    for number, answer in enumerate(answers, start=1):
        title = answer.title
        if len(title) > LONGEST_NAME:
            title = f"{title[:LONGEST_NAME]}\N{HORIZONTAL ELLIPSIS}"
        for name, layer in answer.layers.items():
            found[f"{number}. {title}: {name}"] = layer
    return found


def _answer(model, text, search, max_length, row):
    ids = ids_of_texts(model, [text])
    found, steps = _searched(model, ids, search, max_length, row)
    length = int(found.lengths[0, 0])
    # A target that was cut at `max_length` has no EOS.
    said = np.asarray(found.tokens)[:1, 0, :length]
    read = np.pad(said, ((0, 0), (1, 0)), constant_values=BOS_ID)[:, :-1]
    source = token_names(model.source_vocabulary, ids[0])
    target = token_names(model.target_vocabulary, said[0])
    before = token_names(model.target_vocabulary, read[0])
    alignment = np.asarray(found.alignments)[0, 0, :length]
    layers = {"alignment": (alignment, *_fitting(alignment, target, source))}
    weights = read_attention(model, {"source": ids, "target": read})
    for name, values in weights.items():
        if name.startswith(f"{model.encoder.name}/"):
            labels = source, source
        elif "self_attention" in name:
            labels = target, before
        else:
            labels = target, source
        layers[name] = (values[0], *_fitting(values, *labels))
    told = decoded_texts(model.target_vocabulary, said[0]).item()
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return _Answer(f"{text} {ARROW} {told}", layers, steps)


def _fitting(weights, rows, columns):
    """The labels of both sides, None where there are other places."""
    sides = zip((rows, columns), weights.shape[-2:], strict=True)
    return [tokens if len(tokens) == n else None for tokens, n in sides]


def _searched(
    model, ids, search, max_length, row
) -> tuple[Decoded, list | None]:
    """Searches step by step; returns the result, and what each step held.

    Samples are those of `generate`, which seeds each row by its index.
    """
    encoded, decoder = encoded_sources(model, ids)
    mask = encoded.mask_or_ones()
    search = without_specials(search)
    seeds = np.array([row], "int32")
    loop = SearchLoop(decoder, mask, search, max_length, row_seeds=seeds)
    carried = loop.start(encoded.values)
    steps = []
    while loop.is_unfinished(*carried):
        carried = loop.advance(*carried)
        index, _, hypotheses, _ = carried
        if hasattr(hypotheses, "finished"):  # those of a beam
            some = _best_first(hypotheses, int(index), search, mask)
            steps.append(
                [(token_names(model.target_vocabulary, t), s) for t, s in some]
            )
    return loop.results(*carried), steps or None


def _best_first(beams, length, search, source_mask) -> list[tuple]:
    """The (ids, score) that a beam holds after a step, finished ones too.

    What goes on has the score that it would have if it ended here.
    """
    divisor = float(length_divisor(length, search.length_penalty))
    scores = np.asarray(beams.log_probabilities)[0] / divisor
    if search.coverage_penalty:
        reward = coverage_reward(
            beams.coverage, source_mask, search.coverage_penalty
        )
        scores = scores + np.asarray(reward)[0]
    live = zip(np.asarray(beams.tokens)[0, :, :length], scores, strict=True)
    both = [*live, *_finished(beams.finished)]
    known = [(ids, float(score)) for ids, score in both if math.isfinite(score)]
    return sorted(known, key=lambda pair: -pair[1])


def _finished(hypotheses) -> Iterator[tuple]:
    for ids, score, length in zip(
        np.asarray(hypotheses.tokens)[0],
        np.asarray(hypotheses.scores)[0],
        np.asarray(hypotheses.lengths)[0],
        strict=True,
    ):
        yield ids[:length], score
