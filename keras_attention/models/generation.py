"""From sources to targets: `Seq2Seq.generate`, and the search of a batch."""

import dataclasses
import functools
from typing import Any

import numpy as np

from keras_attention import validation
from keras_attention.decoding import Decoded
from keras_attention.decoding import Suppress
from keras_attention.decoding import decode
from keras_attention.decoding.search import Search
from keras_attention.decoding.search import check_search
from keras_attention.models import sources
from keras_attention.models.batches import graph_function
from keras_attention.models.batches import run_batches
from keras_attention.models.batches import specs_of
from keras_attention.models.encoding import Encoded
from keras_attention.models.generated import GeneratedTexts
from keras_attention.models.generated import GeneratedTokens
from keras_attention.models.generated import decoded_texts
from keras_attention.models.generated import no_tokens
from keras_attention.models.parts import check_positions
from keras_attention.models.row_seeds import checked_row_seeds
from keras_attention.models.source_rows import SourceRows
from keras_attention.models.source_rows import source_rows
from keras_attention.models.tracing import TracedFunctions
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import PAD_ID


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
        rows, is_text = self.rows_of(source, source_mask, initial_state)
        reason = f"max_length={max_length}"
        check_positions("decoder", self.model.decoder, max_length, reason)
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
        is_ids = self.model.source_signature.is_ids and not is_text
        if is_ids or not self._writes_text():
            return result
        texts = decoded_texts(self.model.target_vocabulary, result.tokens)
        return GeneratedTexts(texts, *result[1:])

    def rows_of(
        self, source: Any, source_mask: Any = None, initial_state: Any = None
    ) -> tuple[SourceRows, bool]:
        """Returns the rows of sources, and whether these are strings."""
        signature = self.model.source_signature
        texts = self._texts(source) if signature.is_ids else None
        if texts is not None:
            source = self._encode(texts)
        if signature.is_ids:
            source = sources.ids_of(source, "source", self._count_of_ids())
            _check_width(source, signature.shape[0])
        rows = source_rows(
            self.model.encoder_facts, source, source_mask, initial_state
        )
        self._check_source_positions(rows)
        return rows, texts is not None

    def _texts(self, source):
        texts = sources.texts_of(source)
        if texts == [] and isinstance(source, (list, tuple)):
            # An empty list is one of texts where the model can read them.
            can_read = self.model.source_vocabulary is not None
            return texts if can_read and self._writes_text() else None
        return texts

    def _writes_text(self):
        return self.model.target_vocabulary is not None

    def _check_source_positions(self, rows):
        source = rows.arrays["source"]
        if len(rows) and source.ndim > 1:
            longest = source.shape[1]
            if rows.lengths is not None and rows.keeps_length:
                longest = rows.lengths.max()
            reason = f"a source of {longest} positions"
            check_positions("encoder", self.model.encoder, longest, reason)

    def _count_of_ids(self):
        size = getattr(self.model.encoder, "vocabulary_size", None)
        if size is None:  # an encoder of Keras does not tell
            vocabulary = self.model.source_vocabulary
            size = 2**31 if vocabulary is None else len(vocabulary)
        return size

    def _encode(self, texts):
        self.check_vocabularies()
        return ids_of_texts(self.model, texts)

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

        specs = {**specs_of(rows.arrays), "source": self._source_spec()}
        return self.functions.get(
            (search, max_length, jit_compile, str(specs)),
            lambda: graph_function(run, specs, jit_compile),
        )

    def _source_spec(self):
        signature = self.model.source_signature
        return (None, *signature.shape), signature.dtype


def _check_width(ids, length):
    if length is not None and len(ids) and ids.shape[1] != length:
        raise validation.invalid(
            "source",
            f"ids (batch, {length}), as the encoder reads",
            f"an array of shape {ids.shape}",
            "Pad the shorter ones with 0.",
        )


def ids_of_texts(model: Any, texts: list) -> np.ndarray:
    """Returns the ids (batch, source_length) that a model reads of texts."""
    length = model.source_signature.shape[0]
    return sources.ids_of_texts(texts, model.source_vocabulary, length)


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
    encoded, decoder = encoded_sources(
        model, source, source_mask, initial_state
    )
    return decode(
        decoder,
        encoded.values,
        encoded.mask_or_ones(),
        without_specials(search),
        max_length,
        row_seeds=row_seeds,
    )


def encoded_sources(
    model: Any, source: Any, source_mask: Any = None, initial_state: Any = None
) -> tuple[Encoded, Any]:
    """Returns what `Seq2Seq.encode` does, and what a search steps through.

    Args:
        model: a `Seq2Seq`.
        source: as in `generate_tokens`, like the others.
        source_mask: the same.
        initial_state: the same.
    """
    encoded = model.encode(source, source_mask, initial_state, training=False)
    decoder = model.decoder
    if encoded.initial_state is not None:
        decoder = _Started(decoder, encoded.for_decoder())
    return encoded, decoder


def without_specials(search: Search) -> Search:
    """Returns a search that never says PAD or BOS."""
    constraints = (*search.constraints, Suppress((PAD_ID, BOS_ID)))
    return dataclasses.replace(search, constraints=constraints)


class _Started:
    """A decoder whose `start` is given the initial state of the model.

    The search knows the step protocol and nothing else.
    """

    def __init__(self, decoder, options):
        self.start = functools.partial(decoder.start, **options)
        self.step, self.reorder = decoder.step, decoder.reorder
