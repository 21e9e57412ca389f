"""The decode loop: one `while_loop` for every search and every decoder."""

from typing import Any
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.decoding import slots
from keras_attention.decoding.beam import BeamSearch
from keras_attention.decoding.constraints import fit_prefix
from keras_attention.decoding.constraints import force_prefix
from keras_attention.decoding.diverse_beam import DiverseBeamSearch
from keras_attention.decoding.search import Beam
from keras_attention.decoding.search import Greedy
from keras_attention.decoding.search import Sample
from keras_attention.decoding.search import Search
from keras_attention.decoding.token_sampler import TokenSampler
from keras_attention.masks.booleans import as_boolean
from keras_attention.masks.known import known_values


def _beam_search(search, *rest):
    diverse = search.num_groups > 1
    return (DiverseBeamSearch if diverse else BeamSearch)(search, *rest)


ALGORITHMS = {Greedy: TokenSampler, Sample: TokenSampler, Beam: _beam_search}


class Decoded(NamedTuple):
    """What `decode` found; n is the number of hypotheses of a row."""

    tokens: Any  #: (batch, n, max_length) int32: BOS left out, EOS kept, PAD
    scores: Any  #: (batch, n) float32
    lengths: Any  #: (batch, n) int32, EOS counted
    alignments: Any  #: (batch, n, max_length, source_length) float32


def decode(
    decoder: Any,
    encoded: Any,
    source_mask: Any,
    search: Search,
    max_length: int,
    *,
    prefix: Any = None,
    row_seeds: Any = None,
) -> Decoded:
    """Searches for target sequences with any decoder of the step protocol.

    The loop has buffers of fixed size and ends as soon as every row is done.
    A row's result does not depend on the other rows of the batch, up to the
    rounding of the decoder. Nothing in it is tied to XLA or to a backend.

    The step protocol, where K is the number of beams and state any nest of
    tensors whose shapes and dtypes stay the same:

    - `decoder.start(encoded, source_mask, max_length, beams=K)` -> state.
    - `decoder.step(tokens, state, index, ancestors=table)` -> (logits
      (batch, K, vocabulary), state, alignment (batch, K, source_length)).
      `tokens` (batch, K) are those of position `index` of the decoder's
      input, BOS at 0. `table` (batch, K, max_length) says which slot holds
      beam k's history at each position up to `index`, so that a cache can
      stay where it is.
    - `decoder.reorder(state, parents)` -> state, called after each choice of
      a beam search: slot k now continues what was slot `parents[:, k]`. It
      moves what does not look up `table`; see `gather_slots`.

    Args:
        decoder: object with `start`, `step` and `reorder`.
        encoded: what the encoder returned, handed to `start`.
        source_mask: boolean tensor of shape (batch, source_length), True = a
            real source position.
        search: `Greedy()`, `Sample()` or `Beam()`, with their options.
        max_length: integer, the greatest number of tokens, EOS counted.
        prefix: integer tensor of shape (batch, prefix_length): tokens, BOS
            left out, that the result must begin with, whatever the
            constraints say. PAD leaves a position free, so rows may have
            prefixes of different lengths. They are part of the result and
            of its score. Cut at `max_length`.
        row_seeds: integer tensor of shape (batch,), for `Sample` only: what
            tells one row's random bits from another's. Defaults to the index
            in the batch; give each row a number of its own and its sample
            stays the same in any batch.

    Returns:
        A `Decoded` named tuple: `tokens` (batch, n, max_length) int32,
        `scores` (batch, n) float32, `lengths` (batch, n) int32, and
        `alignments` (batch, n, max_length, source_length) float32, zero after
        the end. n is 1 for `Greedy`, `num_samples` or `num_hypotheses`.

    Raises:
        ValueError: if an argument has the wrong kind or shape.
    """
    loop = SearchLoop(
        decoder, source_mask, search, max_length, prefix, row_seeds
    )
    carried = loop.start(encoded)
    carried = ops.while_loop(loop.is_unfinished, loop.advance, carried)
    return loop.results(*carried)


class SearchLoop:
    """The loop of `decode` in its parts, for a caller that drives it itself.

    What is carried from step to step is a tuple: the index of the step, the
    state of the decoder, the hypotheses, and their alignments.

    Args:
        decoder: as in `decode`, like all that follow.
        source_mask: boolean tensor (batch, source_length).
        search: `Greedy()`, `Sample()` or `Beam()`.
        max_length: integer.
        prefix: integer tensor (batch, prefix_length), or None.
        row_seeds: integer tensor (batch,), or None.
    """

    def __init__(
        self,
        decoder: Any,
        source_mask: Any,
        search: Search,
        max_length: int,
        prefix: Any = None,
        row_seeds: Any = None,
    ):
        validation.check_positive_integer("max_length", max_length)
        self.decoder, self.max_length = decoder, max_length
        self.algorithm = _algorithm(search, source_mask, max_length, row_seeds)
        self.source_mask = self.algorithm.source_mask
        self._allowed = _constrained(
            search, prefix, self.source_mask, max_length
        )

    def start(self, encoded: Any) -> tuple:
        """Returns what is carried before the first step."""
        mask, width = self.source_mask, self.algorithm.width
        return (
            ops.convert_to_tensor(0, dtype="int32"),
            self.decoder.start(encoded, mask, self.max_length, beams=width),
            self.algorithm.begin(),
            slots.no_alignment(mask, self.max_length, width),
        )

    def is_unfinished(
        self, index: Any, state: Any, hypotheses: Any, alignments: Any
    ) -> Any:
        """Returns whether there is another step."""
        some = ops.any(self.algorithm.running(hypotheses))
        return ops.logical_and(index < self.max_length, some)

    def advance(
        self, index: Any, state: Any, hypotheses: Any, alignments: Any
    ) -> tuple:
        """Runs a step; returns what is carried after it."""
        logits, state, alignment = self.decoder.step(
            hypotheses.inputs, state, index, ancestors=hypotheses.ancestors
        )
        log_probabilities = self._allowed(logits, hypotheses.tokens, index)
        alignment = ops.cast(alignment, "float32")
        hypotheses, parents = self.algorithm.advance(
            hypotheses, log_probabilities, alignment, index
        )
        if parents is not None:
            state = self.decoder.reorder(state, parents)
        alignments = slots.write_alignment(alignments, alignment, index)
        return index + 1, state, hypotheses, alignments

    def results(
        self, index: Any, state: Any, hypotheses: Any, alignments: Any
    ) -> Decoded:
        """Returns what was found."""
        tokens, scores, lengths, paths = self.algorithm.results(hypotheses)
        alignments = slots.follow(alignments, paths, lengths)
        return Decoded(tokens, scores, lengths, alignments)


def _algorithm(search, source_mask, max_length, row_seeds):
    if type(search) not in ALGORITHMS:
        raise validation.invalid(
            "search", "a Greedy(), Sample() or Beam() object", repr(search)
        )
    validation.check_rank(
        "source_mask", source_mask, 2, "(batch, source_length)"
    )
    source_mask = ops.cast(as_boolean("source_mask", source_mask), "bool")
    if row_seeds is None:
        row_seeds = ops.arange(ops.shape(source_mask)[0], dtype="int32")
    validation.check_rank("row_seeds", row_seeds, 1, "(batch,)")
    _check_rows("row_seeds", row_seeds, source_mask)
    row_seeds = ops.cast(row_seeds, "int32")
    return ALGORITHMS[type(search)](search, source_mask, max_length, row_seeds)


def _constrained(search, prefix, source_mask, max_length):
    """Returns the function from logits to constrained log probabilities."""
    if prefix is not None:
        validation.check_rank("prefix", prefix, 2, "(batch, prefix_length)")
        _check_rows("prefix", prefix, source_mask)
        largest = _largest_id(prefix)
        prefix = fit_prefix(prefix, source_mask, max_length)

    def allowed(logits, tokens, index):
        # In float32, and never as log(softmax()), which loses small ones.
        of_model = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        log_probabilities = of_model
        for constraint in search.constraints:
            log_probabilities = constraint(log_probabilities, tokens, index)
        if prefix is None:
            return log_probabilities
        if largest is not None and largest >= logits.shape[-1]:
            raise validation.invalid(
                "prefix",
                f"ids below the size of the vocabulary, {logits.shape[-1]}",
                f"a prefix with {largest}",
            )
        return force_prefix(log_probabilities, of_model, prefix, index)

    return allowed


def _largest_id(prefix):
    """Returns the largest id; None where there is none, or it is not known."""
    if not hasattr(prefix, "dtype"):
        prefix = np.asarray(prefix)
    values, is_empty = known_values(prefix), 0 in prefix.shape
    dtype = keras.backend.standardize_dtype(prefix.dtype)
    if "int" not in dtype and not is_empty:
        raise validation.invalid("prefix", "integers", f"a prefix of {dtype}")
    if values is None or is_empty:
        return None
    if values.min() < 0:
        raise validation.invalid(
            "prefix", "ids of at least 0", f"a prefix with {values.min()}"
        )
    return int(values.max())


def _check_rows(name, tensor, source_mask):
    shape = validation.shape_of(tensor)
    expected = validation.shape_of(source_mask)[0]
    if None not in (shape[0], expected) and shape[0] != expected:
        raise ValueError(
            f"`{name}` must have one entry for each of the {expected} rows of "
            f"`source_mask`. Received: {name}.shape={shape}."
        )
