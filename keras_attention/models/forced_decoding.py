"""The probability that a model gives to sequences that are there already.

The model reads each true token in place of its own (forced decoding), so one
pass over a sequence gives the probabilities of all its tokens.
"""

from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.decoding.scoring import token_log_probabilities
from keras_attention.models import sources
from keras_attention.models.batches import graph_function
from keras_attention.models.batches import specs_of
from keras_attention.models.parts import check_positions
from keras_attention.models.source_rows import SourceRows
from keras_attention.models.source_rows import lengths_of
from keras_attention.models.tracing import TracedFunctions
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import PAD_ID

KEY = "score"  # of the functions that are kept


class ScoredSequences(NamedTuple):
    """What `score` returns of sequences that are given.

    Example:

    >>> from keras_attention.models import ScoredSequences
    >>> ScoredSequences._fields
    ('log_probabilities', 'lengths', 'token_log_probabilities')
    """

    log_probabilities: Any  #: (batch,) float64, the sums over the tokens
    lengths: Any  #: (batch,) int32, EOS counted
    token_log_probabilities: Any  #: (batch, longest) float32, 0 at padding


def score_targets(
    model: Any,
    functions: TracedFunctions,
    rows: SourceRows,
    target: Any,
    batch_size: int,
) -> ScoredSequences:
    """See `Seq2Seq.score`; `rows` are the checked sources."""
    validation.check_positive_integer("batch_size", batch_size)
    labels = _labels(model.decoder, model.target_vocabulary, "target", target)
    if len(labels) != len(rows):
        raise validation.invalid(
            "target",
            f"one for each of the {len(rows)} sources",
            f"{len(labels)} targets",
        )

    def run(arrays, row_seeds):
        labels = arrays["labels"]
        inputs = {**arrays, "target": _after_bos(labels)}
        del inputs["labels"]
        return token_log_probabilities(model(inputs, training=False), labels)

    signature = model.source_signature
    source = (None, *signature.shape), signature.dtype

    def made(arrays):
        specs = {**specs_of(arrays), "source": source}
        return functions.get(
            (KEY, str(specs)), lambda: graph_function(run, specs, False)
        )

    return _scored(made, rows, labels, batch_size)


def score_texts(
    model: Any, functions: TracedFunctions, texts: Any, batch_size: int
) -> ScoredSequences:
    """See `LanguageModel.score`."""
    validation.check_positive_integer("batch_size", batch_size)
    labels = _labels(model.decoder, model.vocabulary, "texts", texts)

    def run(arrays, row_seeds):
        labels = arrays["labels"]
        logits = model(_after_bos(labels), training=False)
        return token_log_probabilities(logits, labels)

    def made(arrays):
        specs = specs_of(arrays)
        return functions.get(KEY, lambda: graph_function(run, specs, False))

    return _scored(made, None, labels, batch_size)


def _scored(
    made: Callable, rows: SourceRows | None, labels: np.ndarray, batch_size: int
) -> ScoredSequences:
    """Scores batches of like length; the results are in the order given."""
    lengths = (labels != PAD_ID).sum(axis=1)
    found = np.zeros(labels.shape, "float32")
    keys = [lengths]
    if rows is not None and rows.lengths is not None:
        keys.insert(0, rows.lengths)  # the last key is the first to sort by
    order = np.lexsort(keys)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        arrays = {} if rows is None else rows.take(batch, jit_compile=False)
        longest = max(lengths[batch].max(), 1)
        arrays["labels"] = labels[batch, :longest]
        seeds = np.zeros(len(batch), "int32")  # nothing is drawn
        found[batch, :longest] = made(arrays)(arrays, seeds)
    total = found.sum(axis=1, dtype="float64")
    return ScoredSequences(total, lengths.astype("int32"), found)


def _labels(decoder, vocabulary, name, given):
    """Returns strings or ids as checked ids, padded at the end."""
    texts = sources.texts_of(given, name)
    if texts:
        if vocabulary is None:
            raise ValueError(
                f"`{name}` must be ids where the model has no vocabulary for "
                "it. Received: strings. Give it one with `set_vocabularies`."
            )
        given = np.asarray(vocabulary.encode(texts))
    ids = sources.ids_of(given, name, decoder.vocabulary_size)
    _check_marks(name, ids)
    longest = lengths_of(ids != PAD_ID).max(initial=1)
    reason = f"a sequence of {longest} ids in `{name}`"
    check_positions("decoder", decoder, longest, reason)
    return ids[:, :longest]


def _check_marks(name, ids):
    is_padding = ids == PAD_ID
    goes_on = (is_padding[:, :-1] & ~is_padding[:, 1:]).any()
    if goes_on or (ids == BOS_ID).any():
        raise validation.invalid(
            name,
            f"ids without BOS ({BOS_ID}), padded with {PAD_ID} at the end",
            "padding before other ids" if goes_on else "ids with BOS",
        )


def _after_bos(labels):
    """Returns what the decoder reads: BOS, and the ids but the last."""
    return ops.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=BOS_ID)
