"""A page of what a model looked at while it wrote the target of one text."""

from typing import Any

import numpy as np

from keras_attention import plots
from keras_attention.decoding.loop import Decoded
from keras_attention.decoding.loop import SearchLoop
from keras_attention.decoding.search import Search
from keras_attention.decoding.search import check_search
from keras_attention.models.alignment_plot import token_names
from keras_attention.models.attention_taps import read_attention
from keras_attention.models.attention_taps import readable_layers
from keras_attention.models.generation import started_decoder
from keras_attention.models.generation import without_specials
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import PAD_ID

ALIGNMENT = "alignment of the search"


def view_alignment(
    model: Any, text: str, search: Search, max_length: int
) -> plots.AttentionView:
    """See `Seq2Seq.view_alignment`."""
    source = np.asarray(model.source_vocabulary.encode([text]))
    found, steps = search_in_steps(model, source, search, max_length)
    length = int(found.lengths[0, 0])
    best = np.asarray(found.tokens)[0, 0, :length]
    alignment = np.asarray(found.alignments)[0, 0, :length]
    weights = {ALIGNMENT: alignment} if length else {ALIGNMENT: [[0.0]]}
    read = np.concatenate([[BOS_ID], best[:-1]])  # by the decoder
    if length and readable_layers(model):
        inputs = {"source": source, "target": read[None]}
        weights |= read_attention(model, inputs)

    def names(vocabulary, ids):
        return token_names(vocabulary, ids)

    sources = names(model.source_vocabulary, source[0])
    targets = names(model.target_vocabulary, best)
    read = names(model.target_vocabulary, read)
    rows, columns = {}, {}
    for name in weights if length else ():
        of_encoder = name.startswith(f"{model.encoder.name}/")
        of_itself = name.endswith("self_attention")
        rows[name] = sources if of_encoder else targets
        itself = sources if of_encoder else read
        columns[name] = itself if of_itself else sources
    said = model.target_vocabulary.decode(best).numpy().decode("utf-8")
    return plots.view(
        weights,
        _that_fit(columns, weights, 1),
        _that_fit(rows, weights, 2),
        title=f"{text} \N{RIGHTWARDS ARROW} {said}",
        steps=[
            [
                (names(model.target_vocabulary, ids), score)
                for ids, score in step
            ]
            for step in steps
        ],
    )


def _that_fit(labels, weights, axis):
    """Leaves out labels of layers that made other positions, as by pooling."""
    return {
        name: tokens
        for name, tokens in labels.items()
        if np.shape(weights[name])[-axis] == len(tokens)
    }


def search_in_steps(
    model: Any, source: Any, search: Search, max_length: int
) -> tuple[Decoded, list[list[tuple]]]:
    """Searches as `generate` does, and tells what it held after each step.

    Args:
        model: a `Seq2Seq`.
        source: ids (1, source_length).
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted.

    Returns:
        What `decode` returns; and for each step the hypotheses, [(ids,
        score), ...], best first: those that go on, with their log
        probability, and then those that have ended, with their score.
    """
    check_search(search)
    encoded = model.encode(source, training=False)
    loop = SearchLoop(
        started_decoder(model.decoder, encoded),
        encoded.mask_or_ones(),
        without_specials(search),
        max_length,
    )
    carried = loop.start(encoded.values)
    steps = []
    while loop.is_unfinished(*carried):
        carried = loop.advance(*carried)
        steps.append(_hypotheses_of(carried[2]))
    return loop.results(*carried), steps


def _hypotheses_of(held):
    """Returns what a search holds, as it is carried from step to step."""
    step = _best_first(held.tokens, held.log_probabilities)
    finished = getattr(held, "finished", None)  # of a beam search
    if finished is not None:
        step += _best_first(finished.tokens, finished.scores)
    return step


def _best_first(tokens, scores):
    """Returns [(ids, score), ...] of (1, J, T) and (1, J)."""
    tokens, scores = np.asarray(tokens)[0], np.asarray(scores)[0]
    order = np.argsort(-scores, kind="stable")
    return [
        (tokens[place][tokens[place] != PAD_ID], float(scores[place]))
        for place in order
        if np.isfinite(scores[place])
    ]
