"""The functions behind the signatures of a SavedModel.

Text is a thin shell of string operations around `generate_tokens`, the
function that `generate` calls too. Every input and output has the batch as its
leading axis, so that a server may join requests and split their answers.

B is the batch, n the hypotheses, S the source and T the target length.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_attention.decoding import score_tokens
from keras_attention.decoding.search import Search
from keras_attention.export import guide_texts
from keras_attention.export import ids
from keras_attention.export import records
from keras_attention.export import shapes
from keras_attention.export.traced import TracedSignatures
from keras_attention.models import Seq2Seq
from keras_attention.models.builder import hides_padding_alone
from keras_attention.models.generation import generate_tokens
from keras_attention.models.parts import takes
from keras_attention.special_ids import PAD_ID


class Signatures(TracedSignatures):
    """The functions of a `Seq2Seq`.

    Each takes and returns dicts of tensors, as its record says.

    Args:
        model: a `Seq2Seq`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the longest target, EOS counted.
        max_source_length: sequences are cut to this many positions, EOS
            counted.
        scope: function that returns a context in which the model computes
            with the weights that are saved.
    """

    def __init__(
        self,
        model: Seq2Seq,
        search: Search,
        max_length: int,
        max_source_length: int,
        scope: Callable,
    ):
        facts = model.encoder_facts
        length = facts.signature.shape[0]
        if facts.signature.is_ids and length is not None:
            max_source_length = min(max_source_length, length)
        super().__init__(model, search, max_length, max_source_length, scope)
        self.source_vocabulary = model.source_vocabulary
        self.target_vocabulary = model.target_vocabulary
        self.needs_source_mask = facts.needs_source_mask
        # The encoded ones; other encoders return what they return.
        self.cuts_sources = facts.keeps_length and length is None
        self.guide_phrases = guide_texts.SEQ2SEQ
        self.may_pad_sources = facts.cuts_padding or (
            facts.needs_source_mask and facts.cuts_hidden
        )
        if model.source_vocabulary is not None:
            self.pads_at_the_end = hides_padding_alone(model)
        self.records = records.records_of(model, search, max_length)

    def n_best(self, inputs: dict) -> dict:
        """Sources -> n targets each, in the search's order, and alignments."""
        arrays = self.read(inputs)
        decoded = self._searched(self._several, arrays)
        longest = tf.maximum(tf.reduce_max(decoded.lengths), 0)
        found = {
            "score": decoded.scores,  # (B, n)
            "alignments": decoded.alignments[:, :, :longest],  # (B, n, T, S)
        }
        if self.source_vocabulary is not None:
            found["source_tokens"] = ids.names_of(
                self.source_vocabulary, arrays["source"]
            )
        if self.target_vocabulary is None:
            return {**found, "ids": decoded.tokens}
        return {**found, **self._target_strings(decoded)}

    def score(self, inputs: dict) -> dict:
        """Sources and targets -> what the model gives these targets, (B,)."""
        labels = self._target(inputs["target"])  # (B, T)
        rows = shapes.at_least_one_row(self.read(inputs))
        labels_of_rows = shapes.at_least_one_row(labels)
        logits = self.model(
            {**rows, "target": ids.after_bos(labels_of_rows[:, :-1])},
            training=False,
        )
        penalty = getattr(self.search, "length_penalty", 0.0)
        total = score_tokens(logits, labels_of_rows)
        scores = score_tokens(logits, labels_of_rows, penalty)
        found = {"score": scores, "log_probability": total}
        return shapes.first_rows(found, labels)

    def encode(self, inputs: dict) -> dict:
        """Sources -> what `decode_step` takes of them."""
        arrays = self.read(inputs)
        encoded = self.model.encode(
            **shapes.at_least_one_row(arrays), training=False
        )
        mask = encoded.mask
        if mask is None:
            mask = tf.ones(tf.shape(encoded.values)[:2], tf.bool)
        found = {
            "encoded": tf.cast(encoded.values, tf.float32),  # (B, S, width)
            "source_mask": mask,  # (B, S)
        }
        for number, state in enumerate(encoded.initial_state or []):
            state = tf.cast(state, tf.float32)  # (B, units)
            found[f"initial_state_{number}"] = state
        return shapes.first_rows(found, arrays["source"])

    def decode_step(self, inputs: dict) -> dict:
        """The ids so far (B, T), BOS left out -> what may follow the last.

        The ids are the whole state: a server may join rows that are at
        different steps. Each step runs over all ids so far. At most
        `max_length` ids are read, and as many positions as of a source.
        """
        said = ids.known_ids(
            inputs["ids"][:, : self.max_length],
            self.model.decoder.vocabulary_size,
        )  # (B, T)
        encoded = self._cut(inputs["encoded"])
        logits, alignments = self._teacher_forced(said, encoded, inputs)
        length = tf.shape(said)[1]
        places = tf.where(said == PAD_ID, 0, tf.range(length) + 1)  # (B, T)
        count = tf.maximum(tf.reduce_max(places, axis=1), 0)  # (B,); 0 of none
        last = tf.one_hot(count, length + 1)[..., None]  # (B, T+1, 1)
        logits = tf.reduce_sum(logits * last, axis=1)  # (B, V)
        found = {"log_probabilities": self._log_probabilities(logits)}
        if alignments is not None:
            alignment = tf.reduce_sum(alignments * last, axis=1)
            found["alignment"] = alignment[:, : tf.shape(encoded)[1]]  # (B, S)
        if self.model.target_vocabulary is not None:
            found["text"] = self._text_of(said)  # (B,)
        return found

    def read(self, inputs: dict) -> dict:
        """Returns the batch of sources that a request holds.

        Args:
            inputs: `text` (B,), or `ids` (B, S), or `source` and perhaps
                `source_mask`.
        """
        facts = self.model.encoder_facts
        if facts.signature.is_ids:
            length = facts.signature.shape[0]
            return {"source": shapes.of_length(self._ids_in(inputs), length)}
        arrays = {"source": inputs["source"]}
        if not self.cuts_sources:
            return arrays
        if facts.needs_source_mask:
            arrays["source_mask"] = inputs["source_mask"]
        return {
            name: shapes.at_least_one_position(self._cut(tensor))
            for name, tensor in arrays.items()
        }

    def _cut(self, tensor):
        """Cuts what has as many positions (B, S, ...) as a source."""
        if not self.cuts_sources:
            return tensor
        return tensor[:, : self.max_source_length]

    def _ids_in(self, inputs):
        """Returns the ids (B, S) of a request of texts or ids."""
        longest = self.max_source_length
        if "text" in inputs:
            vocabulary = self.model.source_vocabulary
            return ids.ids_of(inputs["text"], vocabulary, longest)
        source = inputs["ids" if "ids" in inputs else "source"][:, :longest]
        size = getattr(self.model.encoder, "vocabulary_size", 2**31 - 1)
        return ids.known_ids(source, size)

    def _teacher_forced(self, said, encoded, inputs):
        """Logits (B, T, V), and alignments (B, T, S) or None."""
        decoder, options = self.model.decoder, {}
        aligns = takes(decoder.call, "return_attention_scores")
        if aligns:
            options["return_attention_scores"] = True
        states = self.model.encoder_facts.state_widths
        if states:
            options["initial_state"] = [
                inputs[f"initial_state_{number}"]
                for number in range(len(states))
            ]
        mask = self._cut(inputs["source_mask"])
        found = decoder(
            ids.after_bos(said),
            shapes.at_least_one_position(encoded),
            encoded_mask=shapes.at_least_one_position(mask),
            training=False,
            **options,
        )
        return found if aligns else (found, None)

    def source_specs(self) -> dict:
        """Returns the spec of each array that `read` returns."""
        facts = self.model.encoder_facts
        dtype = facts.signature.dtype
        specs = {"source": tf.TensorSpec((None, *facts.signature.shape), dtype)}
        if facts.needs_source_mask:
            specs["source_mask"] = tf.TensorSpec((None, None), tf.bool)
        return specs

    def search_for(self, arrays: dict, search: Search, row_seeds: Any) -> Any:
        """Returns what a search finds for a batch, a `decoding.Decoded`."""
        return generate_tokens(
            self.model,
            search=search,
            max_length=self.max_length,
            row_seeds=row_seeds,
            **arrays,
        )

    def asked_of(self, name: str, sources: Any) -> dict:
        """Returns inputs of a signature, made from sources alone."""
        made = {"text": sources}
        if sources.dtype != tf.string:
            dtype = self.model.source_signature.dtype
            all_real = tf.ones(tf.shape(sources)[:2], tf.bool)
            made = {"source": tf.cast(sources, dtype), "source_mask": all_real}
        if name == "decode_step":
            nothing_said = tf.zeros([len(sources), 0], tf.int32)
            return {**self.encode(made), "ids": nothing_said}
        names = [tensor.name for tensor in self.records[name].inputs]
        if "ids" in names:
            made["ids"] = self.read(made)["source"]
        return self._with_target(made, names)
