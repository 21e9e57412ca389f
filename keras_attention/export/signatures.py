"""The signatures of a SavedModel, traced from a `Seq2Seq`.

Text is a thin shell of string operations around `decode_ids`, the function
that `generate` calls too. Every input and output has the batch as its leading
axis, so that a server may join requests and split their answers.

B is the batch, n the hypotheses, S the source and T the target length.
"""

import dataclasses

import tensorflow as tf

from keras_attention.decoding import Beam
from keras_attention.models.generation import decode_ids
from keras_attention.text import EOS_ID
from keras_attention.text import PAD_ID
from keras_attention.text import UNKNOWN_ID

COMPILED = "compiled"  # the one signature that needs XLA


class Signatures:
    """Traces the functions that a SavedModel offers.

    The decode of ids is a function of its own, so signatures that search for
    the same share its graph.

    Args:
        model: a `Seq2Seq` with vocabularies.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the longest target, EOS counted.
        max_source_length: sources are cut to this many ids, EOS counted.
    """

    def __init__(self, model, search, max_length, max_source_length):
        self.model = model
        self.max_length = max_length
        self.max_source_length = max_source_length
        self._best = self._decoder(best_of(search))
        self._several = self._decoder(several_of(search))
        self._compiled = self._decoder(best_of(search), jit_compile=True)

    def trace(self):
        """Returns a dict of concrete functions by signature name."""
        text = tf.TensorSpec((None,), tf.string, name="text")
        ids = tf.TensorSpec((None, None), tf.int32, name="ids")
        return {
            "serving_default": _traced(self.best_text, text),
            "n_best": _traced(self.several_texts, text),
            "tokens": _traced(self.several_ids, ids),
            COMPILED: _traced(self.best_text_compiled, text),
        }

    def best_text(self, text):
        """text (B,) -> the best target of each, text (B,) and score (B,)."""
        source = self._encode(text)
        decoded = self._best(_at_least_one_row(source))
        return self._best_text(_first_rows(decoded, source))

    def best_text_compiled(self, text):
        """What `best_text` gives, by XLA, for few different shapes."""
        source = self._encode(text)
        decoded = self._compiled(_pad_to_powers_of_two(source))
        return self._best_text(_first_rows(decoded, source))

    def several_texts(self, text):
        """text (B,) -> n targets each, best first, and their alignments."""
        source = self._encode(text)
        decoded = self._several(_at_least_one_row(source))
        decoded = _first_rows(decoded, source)
        longest = tf.maximum(tf.reduce_max(decoded.lengths), 0)
        tokens = decoded.tokens[..., :longest]
        return {
            "text": self._decode_text(decoded.tokens),  # (B, n)
            "score": decoded.scores,  # (B, n)
            "alignments": decoded.alignments[:, :, :longest],  # (B, n, T, S)
            "source_tokens": _names(self.model.source_vocabulary, source),
            "target_tokens": _names(self.model.target_vocabulary, tokens),
        }

    def several_ids(self, ids):
        """ids (B, S) -> n targets each, best first, as ids (B, n, T)."""
        source = self._checked_ids(ids)
        decoded = self._several(_at_least_one_row(source))
        decoded = _first_rows(decoded, source)
        return {
            "ids": decoded.tokens,
            "scores": decoded.scores,  # (B, n)
            "lengths": decoded.lengths,  # (B, n)
        }

    def _decoder(self, search, jit_compile=None):
        def decode_source(source):
            return decode_ids(
                self.model, source, search, self.max_length, row_seeds(source)
            )

        # XLA knows the shape at each call, so there it may stay open here.
        spec = tf.TensorSpec((None, None), tf.int32)
        return tf.function(
            decode_source,
            input_signature=(spec,),
            jit_compile=jit_compile,
            autograph=False,
        )

    def _encode(self, text):
        return self.model.source_vocabulary.encode(
            text, max_length=self.max_source_length
        )  # (B, S)

    def _checked_ids(self, ids):
        ids = ids[:, : self.max_source_length]
        known = (ids >= 0) & (ids < self.model.encoder.vocabulary_size)
        ids = tf.where(known, ids, UNKNOWN_ID)
        missing = tf.maximum(1 - tf.shape(ids)[1], 0)
        return tf.pad(ids, [[0, 0], [0, missing]])  # at least one position

    def _best_text(self, decoded):
        return {
            "text": self._decode_text(decoded.tokens[:, 0]),  # (B,)
            "score": decoded.scores[:, 0],  # (B,)
        }

    def _decode_text(self, tokens):
        return _valid_utf8(self.model.target_vocabulary.decode(tokens))


def best_of(search):
    """Returns the search that stops as soon as the best is known."""
    if isinstance(search, Beam):
        return dataclasses.replace(search, num_hypotheses=1)
    return search


def several_of(search):
    """Returns the search for n-best lists: a beam's width unless it says."""
    if isinstance(search, Beam) and search.num_hypotheses == 1:
        return dataclasses.replace(search, num_hypotheses=search.width)
    return search


def row_seeds(source):
    """Returns int32 (B,): what tells the random bits of a row from another's.

    A row's place in a batch is chance on a server, so the ids of the row
    decide: the same text is answered the same way in every batch.
    """
    position = tf.range(tf.shape(source)[1])
    weight = 2 * position * 40503 + 31013  # odd; wraps around
    return tf.reduce_sum(source * weight, axis=1)


def _traced(function, spec):
    function = tf.function(function, input_signature=(spec,), autograph=False)
    return function.get_concrete_function()


def _at_least_one_row(source):
    """Gives an empty batch a row of EOS; some kernels fail on no rows."""
    missing = tf.maximum(1 - tf.shape(source)[0], 0)
    return tf.pad(source, [[0, missing], [0, 0]], constant_values=EOS_ID)


def _first_rows(decoded, source):
    """Leaves the rows of `decoded` that answer a row of `source`."""
    batch = tf.shape(source)[0]
    return tf.nest.map_structure(lambda tensor: tensor[:batch], decoded)


def _pad_to_powers_of_two(source):
    """Pads (B, S) ids on both axes, so that few shapes are ever compiled.

    Rows that are added repeat the first one, so they end when it does.
    """
    batch, length = tf.unstack(tf.shape(source))
    source = _at_least_one_row(source)
    source = tf.pad(source, [[0, 0], [0, _power_of_two(length) - length]])
    rows = tf.range(_power_of_two(batch))
    return tf.gather(source, tf.where(rows < batch, rows, 0))


def _power_of_two(size):
    """The smallest power of two that is at least `size`, and at least 1."""
    powers = tf.bitwise.left_shift(1, tf.range(31))
    return tf.reduce_min(tf.boolean_mask(powers, powers >= size))


def _names(vocabulary, ids):
    names = tf.where(ids == PAD_ID, "", vocabulary.token_strings(ids))
    return _valid_utf8(names)


def _valid_utf8(text):
    return tf.strings.unicode_transcode(
        text, "UTF-8", "UTF-8", errors="replace"
    )
