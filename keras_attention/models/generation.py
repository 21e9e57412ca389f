"""Generation for a list of sources: batches in, results in order out."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
import numpy as np

from keras_attention import validation
from keras_attention.decoding import Decoded
from keras_attention.decoding import Suppress
from keras_attention.decoding import decode
from keras_attention.decoding.search import Search
from keras_attention.decoding.search import check_search
from keras_attention.models import sources
from keras_attention.models.parts import check_positions
from keras_attention.models.source_rows import SourceRows
from keras_attention.models.source_rows import padded_rows
from keras_attention.models.source_rows import source_rows
from keras_attention.models.tracing import TracedFunctions
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import PAD_ID


class GeneratedTokens(NamedTuple):
    """What `generate` returns of ids; n counts hypotheses, best first.

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
    """What `generate` returns of strings; n counts hypotheses, best first.

    Example:

    >>> from keras_attention.models import GeneratedTexts
    >>> GeneratedTexts._fields
    ('texts', 'scores', 'lengths', 'alignments')
    """

    texts: Any  # (batch, n) strings
    scores: Any  # (batch, n) float32
    lengths: Any  # (batch, n) int32, EOS counted
    alignments: Any  # (batch, n, longest target, source_length) float32


class BatchGenerator:
    """Runs the search of one model over any number of sources.

    Args:
        model: a `Seq2Seq`.
    """

    def __init__(self, model: Any):
        self.model = model
        self.functions = TracedFunctions(model)

    def generate(
        self,
        source: Any,
        search: Search,
        max_length: int | None,
        batch_size: int,
        jit_compile: bool,
        verbose: str | int,
        row_seeds: Any = None,
        source_mask: Any = None,
        initial_state: Any = None,
    ) -> GeneratedTokens | GeneratedTexts:
        """See `Seq2Seq.generate`."""
        check_search(search)
        validation.check_positive_integer("batch_size", batch_size)
        if max_length is None:
            max_length = self.model.max_length
        validation.check_positive_integer("max_length", max_length)
        signature = self.model.source_signature
        texts = self._texts(source) if signature.is_ids else None
        if texts is not None:
            source = self._encode(texts)
        if signature.is_ids:
            source = sources.ids_of(source, "source", self._count_of_ids())
        rows = source_rows(
            self.model.encoder_facts, source, source_mask, initial_state
        )
        self._check_positions(rows, max_length)
        run = self._function(search, max_length, rows, jit_compile)
        result = run_batches(
            run,
            rows,
            checked_row_seeds(row_seeds, len(rows)),
            rows.batches(batch_size),
            jit_compile,
            verbose,
        )
        if result is None:
            result = no_tokens(search, max_length)
        if texts is None and (signature.is_ids or not self._writes_text()):
            return result
        texts = decoded_texts(self.model.target_vocabulary, result.tokens)
        return GeneratedTexts(texts, *result[1:])

    def _texts(self, source):
        texts = sources.texts_of(source)
        if texts == [] and isinstance(source, (list, tuple)):
            # An empty list is one of texts where the model can read them.
            can_read = self.model.source_vocabulary is not None
            return texts if can_read and self._writes_text() else None
        return texts

    def _writes_text(self):
        return self.model.target_vocabulary is not None

    def _check_positions(self, rows, max_length):
        source = rows.arrays["source"]
        if len(rows) and source.ndim > 1:
            longest = source.shape[1]
            if rows.lengths is not None and rows.keeps_length:
                longest = rows.lengths.max()
            reason = f"a source of {longest} positions"
            check_positions("encoder", self.model.encoder, longest, reason)
        reason = f"max_length={max_length}"
        check_positions("decoder", self.model.decoder, max_length, reason)

    def _count_of_ids(self):
        size = getattr(self.model.encoder, "vocabulary_size", None)
        if size is None:  # an encoder of Keras does not tell
            vocabulary = self.model.source_vocabulary
            size = 2**31 if vocabulary is None else len(vocabulary)
        return size

    def _encode(self, texts):
        self.check_vocabularies()
        if not texts:
            return np.zeros((0, 1), "int32")
        return np.asarray(self.model.source_vocabulary.encode(texts))

    def check_vocabularies(self) -> None:
        """Raises a ValueError unless the model has both vocabularies."""
        for name in ("source_vocabulary", "target_vocabulary"):
            if getattr(self.model, name) is None:
                raise ValueError(
                    f"`source` must be ids where the model has no {name}. "
                    "Received: strings. Give the model its vocabularies with "
                    "`set_vocabularies`."
                )

    def _function(self, search, max_length, rows, jit_compile):
        def run(arrays, row_seeds):
            return generate_tokens(
                self.model,
                search=search,
                max_length=max_length,
                row_seeds=row_seeds,
                **arrays,
            )

        structure = keras.tree.map_structure(np.ndim, rows.arrays)
        signature = self.model.source_signature
        return self.functions.get(
            (search, max_length, jit_compile, str(structure)),
            lambda: graph_function(
                run,
                rows.arrays,
                jit_compile,
                source=((None, *signature.shape), signature.dtype),
            ),
        )


def generate_tokens(
    model: Any,
    source: Any,
    search: Search,
    max_length: int,
    row_seeds: Any = None,
    source_mask: Any = None,
    initial_state: Any = None,
) -> Decoded:
    """Encodes a batch of sources and searches for their targets.

    The one way from sources to target ids: `generate` and the exported
    signatures both call it. PAD and BOS are never said: no target holds them.

    Args:
        model: a `Seq2Seq`.
        source: ids (batch, source_length), or arrays of the model's signature.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted.
        row_seeds: as in `decoding.decode`.
        source_mask: as in `Seq2Seq.call`.
        initial_state: as in `Seq2Seq.call`.

    Returns:
        A `decoding.Decoded`.
    """
    encoded = model.encode(source, source_mask, initial_state, training=False)
    decoder = model.decoder
    if encoded.initial_state is not None:
        decoder = _Started(decoder, encoded.for_decoder())
    return decode(
        decoder,
        encoded.values,
        encoded.mask_or_ones(),
        without_specials(search),
        max_length,
        row_seeds=row_seeds,
    )


def without_specials(search: Search) -> Search:
    """Returns a search that never says PAD or BOS."""
    constraints = (*search.constraints, Suppress((PAD_ID, BOS_ID)))
    return dataclasses.replace(search, constraints=constraints)


def decoded_texts(vocabulary: Any, tokens: Any) -> np.ndarray:
    """Returns the texts of ids (..., length) as strings of Python, (...)."""
    texts = np.asarray(vocabulary.decode(tokens))
    decoded = [text.decode("utf-8") for text in texts.ravel()]
    return np.array(decoded, dtype=object).reshape(texts.shape)


class _Started:
    """A decoder whose `start` is given the initial state of the model.

    The search knows the step protocol and nothing else.
    """

    def __init__(self, decoder, options):
        self.start = functools.partial(decoder.start, **options)
        self.step, self.reorder = decoder.step, decoder.reorder


def graph_function(
    run: Callable, arrays: dict, jit_compile: bool, **specs: tuple
) -> Callable:
    """Returns `run(arrays, row_seeds)` as one graph, or compiled by XLA.

    Args:
        run: the function.
        arrays: dict of arrays such as it will get; their axes stay free.
        jit_compile: whether XLA compiles it, a program for each shape.
        **specs: shape and dtype of those arrays whose axes are known.
    """
    # On JAX a compiled closure would freeze the weights of today, so there
    # the loop, which JAX compiles by itself, is run as it is.
    if keras.config.backend() != "tensorflow":
        return run
    import tensorflow as tf

    if jit_compile:  # one program per shape, so shapes must be static
        return tf.function(run, jit_compile=True, autograph=False)
    free = keras.tree.map_structure(
        lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), arrays
    )
    known = {name: tf.TensorSpec(*spec) for name, spec in specs.items()}
    rows = tf.TensorSpec((None,), tf.int32)
    return tf.function(
        run, input_signature=({**free, **known}, rows), autograph=False
    )


def run_batches(
    run: Callable,
    rows: SourceRows,
    seeds: np.ndarray,
    batches: list,
    jit_compile: bool,
    verbose: str | int,
) -> GeneratedTokens | None:
    """Returns what `run` makes of all rows, in order; None of no row.

    Args:
        run: `graph_function`, from arrays and row seeds to a `Decoded`.
        rows: the rows.
        seeds: row seeds (rows,).
        batches: row numbers, batch by batch.
        jit_compile: whether batches are padded to few shapes.
        verbose: 1 shows a progress bar, 0 none, "auto" for many batches.
    """
    bar = _progress_bar(len(batches), verbose)
    found = []
    for number, batch in enumerate(batches, start=1):
        padded = padded_rows(batch, jit_compile)
        decoded = run(rows.take(padded, jit_compile), seeds[padded])
        found.append([np.asarray(x)[: len(batch)] for x in decoded])
        if bar is not None:
            bar.update(number)
    return _in_order(found, batches, rows) if found else None


def checked_row_seeds(
    row_seeds: Any, count: int, rows: str = "sources"
) -> np.ndarray:
    """Returns what tells the samples of `count` rows apart, int32 (count,).

    Args:
        row_seeds: a list or an array, or None for the indices of the rows.
        count: how many rows there are.
        rows: what they are, for errors.

    Raises:
        ValueError: if there is another number of them, or they are no
            integers of 32 bits.
    """
    if row_seeds is None:
        return np.arange(count, dtype="int32")
    try:
        seeds = np.asarray(row_seeds)
    except ValueError:  # lists of different lengths
        seeds = np.array(None)
    if seeds.shape != (count,):
        raise validation.invalid(
            "row_seeds",
            f"one integer for each of the {count} {rows}",
            f"an array of shape {seeds.shape}",
        )
    if count and not _are_int32(seeds):
        expected = f"integers from {-(2**31)} to {2**31 - 1}"
        raise validation.invalid("row_seeds", expected, repr(row_seeds))
    return seeds.astype("int32")


def checked_row_seed(row_seed: Any) -> np.ndarray:
    """Returns the seed of one row as `checked_row_seeds` returns several."""
    if not validation.is_integer(row_seed) or not _are_int32(
        np.array([row_seed])
    ):
        expected = f"an integer from {-(2**31)} to {2**31 - 1}"
        raise validation.invalid("row_seed", expected, repr(row_seed))
    return np.array([row_seed], "int32")


def _are_int32(numbers):
    """Whether an array, not empty, holds integers that int32 can hold."""
    return (
        numbers.dtype.kind in "iu"
        and numbers.min() >= -(2**31)
        and numbers.max() < 2**31
    )


def _progress_bar(num_batches, verbose):
    if verbose == 0 or (verbose == "auto" and num_batches < 10):
        return None
    return keras.utils.Progbar(num_batches, unit_name="batch")


def no_tokens(search: Search, max_length: int) -> GeneratedTokens:
    """Returns what is generated of no row."""
    count = getattr(search, "num_hypotheses", 1)
    count = getattr(search, "num_samples", count)
    return GeneratedTokens(
        np.zeros((0, count, max_length), "int32"),
        np.zeros((0, count), "float32"),
        np.zeros((0, count), "int32"),
        np.zeros((0, count, 0, 0), "float32"),
    )


def _in_order(found, batches, rows):
    """Joins the batches, pads their alignments and restores the order."""
    tokens, scores, lengths, alignments = zip(*found, strict=True)
    longest = max(part.max(initial=0) for part in lengths)
    if rows.lengths is None or not rows.keeps_length:
        width = max(part.shape[3] for part in alignments)
    else:  # a batch was cut, or padded for XLA
        width = rows.arrays["source"].shape[1]
    total = np.zeros((len(rows), tokens[0].shape[1], longest, width), "float32")
    for batch, part in zip(batches, alignments, strict=True):
        part = part[:, :, :longest, :width]
        total[batch, :, : part.shape[2], : part.shape[3]] = part
    back = np.argsort(np.concatenate(batches), kind="stable")
    ordered = (np.concatenate(x)[back] for x in (tokens, scores, lengths))
    return GeneratedTokens(*ordered, total)
