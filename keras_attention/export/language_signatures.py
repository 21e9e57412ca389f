"""The functions behind the signatures of a `LanguageModel`.

B is the batch, n the hypotheses, P the prompt length, T the length of what
follows, V the vocabulary.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_attention.decoding import token_log_probabilities
from keras_attention.decoding.constraints import LEAST_FORCED
from keras_attention.decoding.scoring import length_divisor
from keras_attention.decoding.search import Search
from keras_attention.export import guide_texts
from keras_attention.export import ids
from keras_attention.export import records
from keras_attention.export import shapes
from keras_attention.export.language_records import language_records_of
from keras_attention.export.traced import TracedSignatures
from keras_attention.models import LanguageModel
from keras_attention.models.prompts import aligned
from keras_attention.models.prompts import continue_prompts
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import PAD_ID
from keras_attention.special_ids import UNKNOWN_ID

# What needs a decoder whose rows are each at a step of its own.
ROW_SIGNATURES = ("encode", "decode_step")


def has_rows(decoder: Any) -> bool:
    """Whether a decoder can run rows that are at different steps."""
    return hasattr(decoder, "start_rows") and hasattr(decoder, "step_rows")


class LanguageSignatures(TracedSignatures):
    """The functions of a `LanguageModel`, each from a dict to a dict.

    Args:
        model: a `LanguageModel`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the most ids that follow a prompt, EOS counted.
        max_source_length: prompts are cut to this many ids.
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
        self._best = self._searching(records.best_of(search))
        self._several = self._searching(records.several_of(search))
        self._compiled = self._searching(records.best_of(search), True)
        self.records = language_records_of(
            model, search, max_length, self._state_specs()
        )
        self.functions = {
            "serving_default": self.best,
            "n_best": self.n_best,
            "tokens": self.tokens,
            "score": self.score,
            "encode": self.encode,
            "decode_step": self.decode_step,
            records.COMPILED: self.best_compiled,
        }

    def best(self, inputs: dict) -> dict:
        """Prompts -> what follows each, and its score (B,)."""
        return self._best_of(self._searched(self._best, inputs))

    def best_compiled(self, inputs: dict) -> dict:
        """What `best` gives, by XLA, for few different shapes."""
        prompts = {"source": self.read(inputs)}
        decoded = self._compiled(shapes.pad_to_powers_of_two(prompts)["source"])
        return self._best_of(shapes.first_rows(decoded, prompts["source"]))

    def n_best(self, inputs: dict) -> dict:
        """Prompts -> n continuations each, best first."""
        decoded = self._searched(self._several, inputs)
        found = {"score": decoded.scores}  # (B, n)
        if self.target_vocabulary is None:
            return {**found, "ids": decoded.tokens}  # (B, n, T)
        longest = tf.maximum(tf.reduce_max(decoded.lengths), 0)
        tokens = decoded.tokens[..., :longest]
        found["target_tokens"] = ids.names_of(self.target_vocabulary, tokens)
        return {**found, "text": self._text_of(decoded.tokens)}  # (B, n)

    def tokens(self, inputs: dict) -> dict:
        """Ids of prompts -> n continuations each, best first, as ids."""
        decoded = self._searched(self._several, inputs)
        return {
            "ids": decoded.tokens,  # (B, n, T)
            "scores": decoded.scores,  # (B, n)
            "lengths": decoded.lengths,  # (B, n)
        }

    def score(self, inputs: dict) -> dict:
        """Prompts and what follows -> what the model gives that, (B,)."""
        given, target = self.read(inputs), self._target(inputs["target"])
        prompt = aligned(shapes.at_least_one_row(given))  # (B, P)
        labels = shapes.at_least_one_row(target)  # (B, T)
        # Without the padding before the prompt, the rows differ in length.
        together = tf.concat([prompt, labels], axis=1)
        length = tf.shape(together)[1]
        position = tf.range(length)
        keys = tf.where(together == PAD_ID, position + length, position)
        order = tf.argsort(keys, axis=1)
        together = tf.gather(together, order, batch_dims=1)
        logits = self.model(together[:, :-1], training=False)
        said = token_log_probabilities(logits, together[:, 1:])
        count = tf.reduce_sum(tf.cast(prompt != PAD_ID, tf.int32), axis=1)
        is_label = position[1:] >= count[:, None]
        total = tf.reduce_sum(tf.where(is_label, said, 0.0), axis=1)
        lengths = tf.reduce_sum(tf.cast(labels != PAD_ID, tf.int32), axis=1)
        penalty = getattr(self.search, "length_penalty", 0.0)
        score = total / length_divisor(lengths, penalty)
        found = {"score": score, "log_probability": total}
        return shapes.first_rows(found, target)

    def encode(self, inputs: dict) -> dict:
        """Prompts -> what may come first, and the state of `decode_step`."""
        prompts = self.read(inputs)
        prompt = aligned(shapes.at_least_one_row(prompts))  # (B, P)
        before, last = prompt[:, :-1], prompt[:, -1]
        state = self.model.decoder.start_rows(
            before, before != PAD_ID, self._room
        )
        logits, state = self.model.decoder.step_rows(last, state)
        said = tf.zeros([tf.shape(prompt)[0], self.max_length], tf.int32)
        found = self._step_outputs(logits, state, said)
        return shapes.first_rows(found, prompts)

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

    def read(self, inputs: dict) -> Any:
        """Returns the ids (B, P) of prompts, `text` (B,) or `ids` (B, P)."""
        if "text" in inputs:
            text, vocabulary = inputs["text"], self.source_vocabulary
            return ids.ids_of(text, vocabulary, self.max_source_length)
        prompts = inputs["ids"][:, : self.max_source_length]
        size = self.model.decoder.vocabulary_size
        return shapes.at_least_one_position(ids.known_ids(prompts, size))

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
            made["ids"] = self.read(made)
        return self._with_target(made, names)

    @property
    def _room(self):
        """How many positions the caches of a row keep."""
        return self.max_source_length + 1 + self.max_length

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
        never = tf.range(logits.shape[-1]) <= BOS_ID
        found = {
            "log_probabilities": tf.where(
                never, LEAST_FORCED, tf.nn.log_softmax(logits)
            ),
            "ids": said,
            **state,
        }
        if self.target_vocabulary is not None:
            found["text"] = self._text_of(said)  # (B,)
        return found

    def _target(self, target):
        if self.target_vocabulary is None:
            return shapes.at_least_one_position(target[:, : self.max_length])
        return ids.ids_of(target, self.target_vocabulary, self.max_length)

    def _searched(self, search, inputs):
        prompts = self.read(inputs)
        decoded = search(shapes.at_least_one_row(prompts))
        return shapes.first_rows(decoded, prompts)

    def _searching(self, search, jit_compile=None):
        def run(prompts):
            with self._scope():
                return continue_prompts(
                    self.model,
                    prompts,
                    search,
                    self.max_length,
                    ids.row_seeds(prompts),
                )

        spec = tf.TensorSpec((None, None), tf.int32)
        return tf.function(
            run,
            input_signature=[spec],
            jit_compile=jit_compile,
            autograph=False,
        )
