"""The signatures of a SavedModel, traced from a `Seq2Seq`.

Text is a thin shell of string operations around `decode_ids`, the function
that `generate` calls too. Every input and output has the batch as its leading
axis, so that a server may join requests and split their answers.

B is the batch, n the hypotheses, S the source and T the target length.
"""

import dataclasses
import functools

import tensorflow as tf

from keras_attention.decoding import Beam
from keras_attention.decoding import score_tokens
from keras_attention.decoding.constraints import LEAST_FORCED
from keras_attention.export import bounds
from keras_attention.export import shapes
from keras_attention.models.generation import decode_ids
from keras_attention.text import BOS_ID
from keras_attention.text import PAD_ID
from keras_attention.text import UNKNOWN_ID

COMPILED = "compiled"  # the one signature that needs XLA
PORTABLE = (
    "serving_default",
    "n_best",
    "tokens",
    "score",
    "encode",
    "decode_step",
)
NAMES = (*PORTABLE, COMPILED)


class Signatures:
    """Traces the functions that a SavedModel offers.

    The decode of ids is a function of its own, so signatures that search for
    the same share its graph.

    Args:
        model: a `Seq2Seq` with vocabularies.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the longest target, EOS counted.
        max_source_length: sources are cut to this many ids, EOS counted.
        scope: function that returns a context in which the model computes
            with the weights that are saved.
    """

    def __init__(self, model, search, max_length, max_source_length, scope):
        self.model = model
        self._scope = scope
        self.max_length = max_length
        self.max_source_length = max_source_length
        self._search = search
        self._best = self._decoder(best_of(search))
        self._several = self._decoder(several_of(search))
        self._compiled = self._decoder(best_of(search), jit_compile=True)

    def trace(self):
        """Returns a dict of concrete functions by signature name."""
        text = tf.TensorSpec((None,), tf.string, name="text")
        target = tf.TensorSpec((None,), tf.string, name="target")
        ids = tf.TensorSpec((None, None), tf.int32, name="ids")
        mask = tf.TensorSpec((None, None), tf.bool, name="source_mask")
        width = self.model.encoder.output_width
        encoded = tf.TensorSpec((None, None, width), tf.float32, name="encoded")
        functions = {
            "serving_default": (self.best_text, text),
            "n_best": (self.several_texts, text),
            "tokens": (self.several_ids, ids),
            "score": (self.score, text, target),
            "encode": (self.encode, text),
            "decode_step": (self.decode_step, encoded, mask, ids),
            COMPILED: (self.best_text_compiled, text),
        }
        return {
            name: self._function(function, specs).get_concrete_function()
            for name, (function, *specs) in functions.items()
        }

    def best_text(self, text):
        """text (B,) -> the best target of each, text (B,) and score (B,)."""
        source = self.source_ids(text)
        decoded = self._best(shapes.at_least_one_row(source))
        return self._best_text(shapes.first_rows(decoded, source))

    def best_text_compiled(self, text):
        """What `best_text` gives, by XLA, for few different shapes."""
        source = self.source_ids(text)
        decoded = self._compiled(shapes.pad_to_powers_of_two(source))
        return self._best_text(shapes.first_rows(decoded, source))

    def several_texts(self, text):
        """text (B,) -> n targets each, best first, and their alignments."""
        source = self.source_ids(text)
        decoded = self._several(shapes.at_least_one_row(source))
        decoded = shapes.first_rows(decoded, source)
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
        decoded = self._several(shapes.at_least_one_row(source))
        decoded = shapes.first_rows(decoded, source)
        return {
            "ids": decoded.tokens,
            "scores": decoded.scores,  # (B, n)
            "lengths": decoded.lengths,  # (B, n)
        }

    def score(self, text, target):
        """text, target (B,) -> what the model gives this target, (B,)."""
        source = self.source_ids(text)
        labels = ids_of(
            target, self.model.target_vocabulary, self.max_length
        )  # (B, T)
        rows = shapes.at_least_one_row(source)
        labels_of_rows = shapes.at_least_one_row(labels)
        logits = self.model(
            {"source": rows, "target": _after_bos(labels_of_rows[:, :-1])},
            training=False,
        )
        penalty = getattr(self._search, "length_penalty", 0.0)
        total = score_tokens(logits, labels_of_rows)
        scores = score_tokens(logits, labels_of_rows, penalty)
        found = {"score": scores, "log_probability": total}
        return shapes.first_rows(found, labels)

    def encode(self, text):
        """text (B,) -> what `decode_step` takes of it."""
        source = self.source_ids(text)
        rows = shapes.at_least_one_row(source)
        encoded = self.model.encoder(rows, training=False)
        mask = self.model.encoder.compute_mask(rows)
        found = {
            "encoded": tf.cast(encoded, tf.float32),  # (B, S, width)
            "source_mask": mask,  # (B, S)
        }
        return shapes.first_rows(found, source)

    def decode_step(self, encoded, source_mask, ids):
        """The ids so far (B, T), BOS left out -> what may follow the last.

        The ids are the whole state: a server may join rows that are at
        different steps. Each step runs over all ids so far. At most
        `max_length` ids and `max_source_length` positions are read.
        """
        ids = _known_ids(
            ids[:, : self.max_length], self.model.decoder.vocabulary_size
        )
        encoded = encoded[:, : self.max_source_length]
        source_mask = source_mask[:, : self.max_source_length]
        source_length = tf.shape(encoded)[1]
        logits, alignments = self.model.decoder(
            _after_bos(ids),
            shapes.at_least_one_position(encoded),
            encoded_mask=shapes.at_least_one_position(source_mask),
            return_attention_scores=True,
            training=False,
        )
        length = tf.shape(ids)[1]
        places = tf.where(ids == PAD_ID, 0, tf.range(length) + 1)  # (B, T)
        said = tf.maximum(tf.reduce_max(places, axis=1), 0)  # (B,); 0 of none
        last = tf.one_hot(said, length + 1)[..., None]  # (B, T+1, 1)
        logits = tf.reduce_sum(logits * last, axis=1)  # (B, V)
        alignment = tf.reduce_sum(alignments * last, axis=1)
        never = tf.range(logits.shape[-1]) <= BOS_ID
        return {
            "log_probabilities": tf.where(
                never, LEAST_FORCED, tf.nn.log_softmax(logits)
            ),
            "alignment": alignment[:, :source_length],  # (B, S)
            "text": self._decode_text(ids),  # (B,)
        }

    def source_ids(self, text):
        """text (B,) -> the ids that the encoder reads, (B, S)."""
        return ids_of(
            text, self.model.source_vocabulary, self.max_source_length
        )

    def _decoder(self, search, jit_compile=None):
        def decode_source(source):
            return decode_ids(
                self.model, source, search, self.max_length, row_seeds(source)
            )

        # XLA knows the shape at each call, so there it may stay open here.
        specs = [tf.TensorSpec((None, None), tf.int32)]
        return self._function(decode_source, specs, jit_compile)

    def _function(self, function, specs, jit_compile=None):
        @functools.wraps(function)
        def run(*tensors):
            with self._scope():
                return function(*tensors)

        return tf.function(
            run,
            input_signature=specs,
            jit_compile=jit_compile,
            autograph=False,
        )

    def _checked_ids(self, ids):
        ids = ids[:, : self.max_source_length]
        ids = _known_ids(ids, self.model.encoder.vocabulary_size)
        return shapes.at_least_one_position(ids)

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


def ids_of(text, vocabulary, max_length):
    """text (B,) -> at most `max_length` ids each, EOS counted, (B, length)."""
    limit = bounds.bytes_read(getattr(vocabulary, "unit", None), max_length)
    text = bounds.cut_to_bytes(text, limit)
    return vocabulary.encode(text, max_length=max_length)


def row_seeds(source):
    """Returns int32 (B,): what tells the random bits of a row from another's.

    A row's place in a batch is chance on a server, so the ids of the row
    decide: the same text is answered the same way in every batch.
    """
    position = tf.range(tf.shape(source)[1])
    weight = 2 * position * 40503 + 31013  # odd; wraps around
    return tf.reduce_sum(source * weight, axis=1)


def _known_ids(ids, vocabulary_size):
    known = (ids >= 0) & (ids < vocabulary_size)
    return tf.where(known, ids, UNKNOWN_ID)


def _after_bos(ids):
    return tf.pad(ids, [[0, 0], [1, 0]], constant_values=BOS_ID)


def _names(vocabulary, ids):
    names = tf.where(ids == PAD_ID, "", vocabulary.token_strings(ids))
    return _valid_utf8(names)


def _valid_utf8(text):
    return tf.strings.unicode_transcode(
        text, "UTF-8", "UTF-8", errors="replace"
    )
