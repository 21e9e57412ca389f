"""Generation for a whole list of sources: batches in, results in order out."""

import dataclasses
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_attention import validation
from keras_attention.decoding import BOS
from keras_attention.decoding import PAD
from keras_attention.decoding import Suppress
from keras_attention.decoding import decode
from keras_attention.decoding.search import Search
from keras_attention.models import sources
from keras_attention.models.tracing import TracedFunctions


class GeneratedTokens(NamedTuple):
    """What `generate` returns for ids; n counts hypotheses, best first.

    Example:

    >>> from keras_attention.models import GeneratedTokens
    >>> GeneratedTokens._fields
    ('tokens', 'scores', 'lengths', 'alignments')
    """

    tokens: Any  # (batch, n, max_length) int32, EOS kept, padded with 0
    scores: Any  # (batch, n) float32
    lengths: Any  # (batch, n) int32, EOS counted
    alignments: Any  # (batch, n, longest target, source_length) float32


class GeneratedTexts(NamedTuple):
    """What `generate` returns for strings; n counts hypotheses, best first.

    Example:

    >>> from keras_attention.models import GeneratedTexts
    >>> GeneratedTexts._fields
    ('texts', 'scores', 'lengths', 'alignments')
    """

    texts: Any  # (batch, n) strings
    scores: Any  # (batch, n) float32
    lengths: Any  # (batch, n) int32, EOS counted
    alignments: Any  # (batch, n, longest target, source_length) float32


class Generator:
    """Runs the decode of one model over lists of sources.

    Args:
        model: a `Seq2Seq`.
    """

    def __init__(self, model):
        self.model = model
        self.functions = TracedFunctions(model)

    def generate(
        self,
        source,
        search,
        max_length,
        batch_size,
        jit_compile,
        verbose,
        row_seeds=None,
    ):
        """See `Seq2Seq.generate`."""
        validation.check_positive_integer("batch_size", batch_size)
        if max_length is None:
            max_length = self.model.max_length
        validation.check_positive_integer("max_length", max_length)
        texts = self._texts(source)
        is_text = texts is not None
        ids = self._encode(texts) if is_text else self._checked_ids(source)
        run = self._function(search, max_length, jit_compile)
        seeds = _row_seeds(row_seeds, len(ids))
        batches = _batches(ids, batch_size)
        bar = _progress_bar(len(batches), verbose)
        found = []
        for number, rows in enumerate(batches, start=1):
            padded = _padded(ids[rows], jit_compile)
            decoded = run(padded, _filled(seeds[rows], padded.shape[0]))
            found.append([np.asarray(x)[: len(rows)] for x in decoded])
            if bar is not None:
                bar.update(number)
        result = _in_order(found, batches, ids, search, max_length)
        if not is_text:
            return result
        texts = self._decode_texts(result.tokens)
        return GeneratedTexts(texts, *result[1:])

    def _texts(self, source):
        texts = sources.texts_of(source)
        if texts == [] and isinstance(source, (list, tuple)):
            # An empty list is one of texts where the model can read them.
            model = self.model
            vocabularies = model.source_vocabulary, model.target_vocabulary
            return None if None in vocabularies else texts
        return texts

    def _checked_ids(self, source):
        ids = sources.ids_of(source)
        size = self.model.encoder.vocabulary_size
        if ids.min(initial=0) < 0 or ids.max(initial=0) >= size:
            raise validation.invalid(
                "source",
                f"ids from 0 to {size - 1}",
                f"ids from {ids.min()} to {ids.max()}",
            )
        return ids

    def _encode(self, texts):
        self.check_vocabularies()
        if not texts:
            return np.zeros((0, 1), "int32")
        return np.asarray(self.model.source_vocabulary.encode(texts))

    def _decode_texts(self, tokens):
        texts = np.asarray(self.model.target_vocabulary.decode(tokens))
        decoded = [text.decode("utf-8") for text in texts.ravel()]
        return np.array(decoded, dtype=object).reshape(texts.shape)

    def check_vocabularies(self):
        """Raises a ValueError unless the model has both vocabularies."""
        for name in ("source_vocabulary", "target_vocabulary"):
            if getattr(self.model, name) is None:
                raise ValueError(
                    f"`source` must be ids where the model has no {name}. "
                    "Received: strings. Give the model its vocabularies with "
                    "`set_vocabularies`."
                )

    def _function(self, search, max_length, jit_compile):
        def run(source, row_seeds):
            return decode_ids(self.model, source, search, max_length, row_seeds)

        return self.functions.get(
            (search, max_length, jit_compile),
            lambda: _graph_function(run, jit_compile),
        )


def decode_ids(model, source, search, max_length, row_seeds=None):
    """Encodes (batch, source_length) ids and searches for their targets.

    The one way from source ids to target ids: `generate` and the exported
    signatures both call it. PAD and BOS are never said: no target holds them.

    Returns:
        A `decoding.Decoded`.
    """
    if isinstance(search, Search):  # of anything else `decode` complains
        constraints = (*search.constraints, Suppress((PAD, BOS)))
        search = dataclasses.replace(search, constraints=constraints)
    mask = model.encoder.compute_mask(source)
    encoded = model.encoder(source, training=False)
    return decode(
        model.decoder, encoded, mask, search, max_length, row_seeds=row_seeds
    )


def _graph_function(run, jit_compile):
    # On JAX a compiled closure would freeze the weights of today, so there
    # the loop, which JAX compiles by itself, is run as it is.
    if keras.config.backend() != "tensorflow":
        return run
    import tensorflow as tf

    ids = tf.TensorSpec((None, None), tf.int32)
    rows = tf.TensorSpec((None,), tf.int32)
    if jit_compile:  # one program per shape, so shapes must be static
        return tf.function(run, jit_compile=True, autograph=False)
    return tf.function(run, input_signature=(ids, rows), autograph=False)


def _batches(ids, batch_size):
    """Returns row numbers, batch by batch, rows of like length together."""
    order = np.argsort(_lengths(ids), kind="stable")
    return [
        order[start : start + batch_size]
        for start in range(0, len(order), batch_size)
    ]


def _lengths(ids):
    """Positions up to the last real one of each row."""
    position = np.arange(1, ids.shape[1] + 1)
    return np.max((ids != 0) * position, axis=1, initial=1)


def _padded(ids, jit_compile):
    """Cuts shared padding off; for XLA pads both axes to powers of two."""
    length = _lengths(ids).max()
    ids = ids[:, :length]
    if not jit_compile:
        return ids
    rows, columns = (_power_of_two(size) for size in ids.shape)
    padded = np.zeros((rows, columns), "int32")
    padded[:] = np.pad(ids[:1], ((0, 0), (0, columns - length)))
    padded[: len(ids), :length] = ids
    return padded


def _power_of_two(size):
    return 1 << (size - 1).bit_length()


def _row_seeds(row_seeds, count):
    seeds = np.arange(count) if row_seeds is None else np.asarray(row_seeds)
    if seeds.shape != (count,):
        raise validation.invalid(
            "row_seeds",
            f"one integer for each of the {count} sources",
            f"an array of shape {seeds.shape}",
        )
    return seeds


def _filled(seeds, size):
    return np.resize(seeds, size).astype("int32")


def _progress_bar(num_batches, verbose):
    if verbose == 0 or (verbose == "auto" and num_batches < 10):
        return None
    return keras.utils.Progbar(num_batches, unit_name="batch")


def _in_order(found, batches, ids, search, max_length):
    """Joins the batches, pads their alignments and restores the order."""
    if not found:
        count = getattr(search, "num_hypotheses", 1)
        count = getattr(search, "num_samples", count)
        tokens = np.zeros((0, count, max_length), "int32")
        scores = np.zeros((0, count), "float32")
        lengths = np.zeros((0, count), "int32")
        return GeneratedTokens(
            tokens, scores, lengths, np.zeros((0, count, 0, 0), "float32")
        )
    tokens, scores, lengths, alignments = zip(*found, strict=True)
    longest = max(part.max(initial=0) for part in lengths)
    total = np.zeros((len(ids), tokens[0].shape[1], longest, ids.shape[1]))
    total = total.astype("float32")
    for rows, part in zip(batches, alignments, strict=True):
        part = part[:, :, :longest, : ids.shape[1]]
        total[rows, :, : part.shape[2], : part.shape[3]] = part
    back = np.argsort(np.concatenate(batches), kind="stable")
    ordered = (np.concatenate(x)[back] for x in (tokens, scores, lengths))
    return GeneratedTokens(*ordered, total)
