"""The functions behind the signatures of a `LanguageModel`.

B is the batch, n the hypotheses, P the prompt length, T the length of what
follows, V the vocabulary.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_attention.decoding import token_log_probabilities
from keras_attention.decoding.scoring import length_divisor
from keras_attention.decoding.search import Search
from keras_attention.export import bounds
from keras_attention.export import guide_texts
from keras_attention.export import ids
from keras_attention.export import shapes
from keras_attention.export.language_records import language_records_of
from keras_attention.export.traced import TracedSignatures
from keras_attention.models import LanguageModel
from keras_attention.models.prompt_ids import aligned
from keras_attention.models.prompt_ids import last_ids
from keras_attention.models.prompt_ids import real_ids_first
from keras_attention.models.prompt_search import continue_prompts
from keras_attention.special_ids import PAD_ID
from keras_attention.special_ids import UNKNOWN_ID

# What needs a decoder whose rows are each at a step of its own.
ROW_SIGNATURES = ("encode", "decode_step")


def has_rows(decoder: Any) -> bool:
    """Whether a decoder can run rows that are at different steps."""
    return hasattr(decoder, "start_rows") and hasattr(decoder, "step_rows")


def room(max_source_length: int, max_length: int) -> int:
    """Returns the number of positions of BOS, a prompt and what follows."""
    return 1 + max_source_length + max_length


class LanguageSignatures(TracedSignatures):
    """The functions of a `LanguageModel`, each from a dict to a dict.

    Args:
        model: a `LanguageModel`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the most ids that follow a prompt, EOS counted.
        max_source_length: the last ids of a prompt that are read, so many.
        scope: function that returns a context in which the model computes
            with the weights that are saved.
    """

    def __init__(
        self,
        model: LanguageModel,
        search: Search,
        max_length: int,
        max_source_length: int,
        scope: Callable,
    ):
        super().__init__(model, search, max_length, max_source_length, scope)
        self.source_vocabulary = self.target_vocabulary = model.vocabulary
        self.guide_phrases = guide_texts.LANGUAGE_MODEL
        if model.vocabulary is not None:
            self.guide_phrases = guide_texts.LANGUAGE_MODEL_OF_TEXT
        self.records = language_records_of(
            model, search, max_length, self._state_specs()
        )

    def n_best(self, inputs: dict) -> dict:
        """Prompts -> n continuations each, in the search's order."""
        decoded = self._searched(self._several, self.read(inputs))
        found = {"score": decoded.scores}  # (B, n)
        if self.target_vocabulary is None:
            return {**found, "ids": decoded.tokens}  # (B, n, T)
        return {**found, **self._target_strings(decoded)}

    def score(self, inputs: dict) -> dict:
        """Prompts and what follows -> what the model gives that, (B,)."""
        target = self._target(inputs["target"])
        prompt = self._aligned(self.read(inputs))  # (B, P)
        labels = shapes.at_least_one_row(target)  # (B, T)
        # Without the padding before the prompt, the rows differ in length.
        together = real_ids_first(tf.concat([prompt, labels], axis=1))
        logits = self.model(together[:, :-1], training=False)
        said = token_log_probabilities(logits, together[:, 1:])
        count = tf.reduce_sum(tf.cast(prompt != PAD_ID, tf.int32), axis=1)
        position = tf.range(1, tf.shape(together)[1])
        is_label = position >= count[:, None]
        total = tf.reduce_sum(tf.where(is_label, said, 0.0), axis=1)
        lengths = tf.reduce_sum(tf.cast(labels != PAD_ID, tf.int32), axis=1)
        penalty = getattr(self.search, "length_penalty", 0.0)
        score = total / length_divisor(lengths, penalty)
        found = {"score": score, "log_probability": total}
        return shapes.first_rows(found, target)

    def encode(self, inputs: dict) -> dict:
        """Prompts -> what may come first, and the state of `decode_step`."""
        prompts = self.read(inputs)
        prompt = self._aligned(prompts)  # (B, P)
        before, last = prompt[:, :-1], prompt[:, -1]
        state = self.model.decoder.start_rows(
            before, before != PAD_ID, self._room
        )
        logits, state = self.model.decoder.step_rows(last, state)
        said = tf.zeros([tf.shape(prompt)[0], self.max_length], tf.int32)
        found = self._step_outputs(logits, state, said)
        return shapes.first_rows(found, prompts["source"])

    def decode_step(self, inputs: dict) -> dict:
        """The id chosen (B,) and the state -> what may follow, and the state.

        Rows may be at different steps. What leaves the room that there is
        changes that row alone.
        """
        given = shapes.at_least_one_row(inputs)
        size = self.model.decoder.vocabulary_size
        token = ids.known_ids(given["token"], size)  # (B,)
        said = given["ids"]  # (B, T)
        count = tf.reduce_sum(tf.cast(said != PAD_ID, tf.int32), axis=1)
        is_next = tf.range(self.max_length) == count[:, None]
        said = tf.where(is_next, token[:, None], said)
        state = {name: given[name] for name in self._state_specs()}
        state["position"] = tf.clip_by_value(
            state["position"], 0, self._room - 1
        )
        logits, state = self.model.decoder.step_rows(token, state)
        found = self._step_outputs(logits, state, said)
        return shapes.first_rows(found, inputs["token"])

    def read(self, inputs: dict) -> dict:
        """Returns the ids (B, P) of prompts, `text` (B,) or `ids` (B, P).

        Of a prompt the last ids are read, wherever its padding stands: the
        same prompt gets the same ids, and so the same random bits.
        """
        count = self.max_source_length
        if "text" in inputs:
            unit = getattr(self.source_vocabulary, "unit", None)
            limit = bounds.bytes_read(unit, count)
            text = bounds.cut_to_last_bytes(inputs["text"], limit)
            prompts = self.source_vocabulary.encode(text)
        else:
            size = self.model.decoder.vocabulary_size
            prompts = ids.known_ids(inputs["ids"], size)
        prompts = last_ids(prompts, count)
        return {"source": shapes.at_least_one_position(prompts)}

    def source_specs(self) -> dict:
        """Returns the spec of what `read` returns."""
        return {"source": tf.TensorSpec((None, None), tf.int32)}

    def search_for(self, arrays: dict, search: Search, row_seeds: Any) -> Any:
        """Returns what a search finds for a batch, a `decoding.Decoded`."""
        return continue_prompts(
            self.model, arrays["source"], search, self.max_length, row_seeds
        )

    def asked_of(self, name: str, sources: Any) -> dict:
        """Returns inputs of a signature, made from prompts alone."""
        made = {"text": sources}
        if sources.dtype != tf.string:
            made = {"ids": tf.cast(sources, tf.int32)}
        names = [tensor.name for tensor in self.records[name].inputs]
        if name == "decode_step":
            token = tf.fill([len(sources)], UNKNOWN_ID)
            made = {**self.encode(made), "token": token}
        elif "ids" in names:
            made["ids"] = self.read(made)["source"]
        return self._with_target(made, names)

    @property
    def _room(self):
        """How many positions the caches of a row keep."""
        return room(self.max_source_length, self.max_length)

    def _state_specs(self):
        """Returns shape and dtype of each tensor of a row's state, by name."""
        if not has_rows(self.model.decoder):
            return {}
        if not hasattr(self, "_specs"):
            one = tf.TensorSpec((1, 1), tf.int32)
            start = tf.function(
                lambda ids: self.model.decoder.start_rows(
                    ids, ids != PAD_ID, self._room
                ),
                autograph=False,
            )
            found = start.get_concrete_function(one).structured_outputs
            self._specs = {n: (t.shape[1:], t.dtype) for n, t in found.items()}
        return self._specs

    def _step_outputs(self, logits, state, said):
        found = {
            "log_probabilities": self._log_probabilities(logits),
            "ids": said,
            **state,
        }
        if self.target_vocabulary is not None:
            found["text"] = self._text_of(said)  # (B,)
        return found

    def _aligned(self, arrays):
        """Returns the `aligned` prompts of a batch, of one row at least."""
        return aligned(shapes.at_least_one_row(arrays["source"]))
