"""What the signatures of all models share: records, functions, tracing."""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_attention import functional
from keras_attention.decoding.constraints import LEAST_FORCED
from keras_attention.decoding.search import Search
from keras_attention.export import ids
from keras_attention.export import records
from keras_attention.export import shapes
from keras_attention.special_ids import BOS_ID


class TracedSignatures:
    """Traces the functions that a SavedModel offers.

    A subclass sets `records`, a dict by name of the signature, the
    vocabularies of sources and targets, whether sources are cut, may be
    padded at the end, and come with a mask, and whether `pads_at_the_end`:
    whether padding of a source stands nowhere else. It defines `n_best`,
    `score`, `encode` and `decode_step`, each from a dict to a dict as its
    record says; `read`, from a request to the batch of its sources, a dict
    whose `source` has a row for each; `source_specs`, what is known of that
    batch; and `search_for`, the search in it. The search is a separate
    function, so signatures that search for the same share its graph.

    Args:
        model: the model.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the longest target, EOS counted.
        max_source_length: the longest source.
        scope: function that returns a context in which the model computes
            with the weights that are saved.
    """

    def __init__(
        self,
        model: Any,
        search: Search,
        max_length: int,
        max_source_length: int,
        scope: Callable,
    ):
        self.model, self.search = model, search
        self.max_length = max_length
        self.max_source_length = max_source_length
        self._scope = scope
        self.records = {}
        self.source_vocabulary = self.target_vocabulary = None
        self.guide_phrases = {}
        self.cuts_sources, self.needs_source_mask = True, False
        self.may_pad_sources = True
        self.pads_at_the_end = False
        best, several = records.best_of(search), records.several_of(search)
        self._best = self._several = self._searching(best)
        if several != best:
            self._several = self._searching(several)
        self._compiled = self._searching(best, True)
        self.functions = {
            "serving_default": self.best,
            "n_best": self.n_best,
            "tokens": self.tokens,
            "score": self.score,
            "encode": self.encode,
            "decode_step": self.decode_step,
            records.COMPILED: self.best_compiled,
        }

    def trace(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns a dict of concrete functions by signature name."""
        return {name: self._traced(name) for name in names}

    def _traced(self, name):
        inputs = self.records[name].inputs

        def run(*tensors):
            names = [tensor.name for tensor in inputs]
            given = dict(zip(names, tensors, strict=True))
            with self._scope():
                return self.functions[name](shapes.of_as_many_rows(given))

        function = tf.function(
            run,
            input_signature=[tensor.spec for tensor in inputs],
            autograph=False,
        )
        is_compiled = name == records.COMPILED
        device = self._any_device if is_compiled else functional.portable
        with device():
            return function.get_concrete_function()

    @contextlib.contextmanager
    def _any_device(self) -> Iterator[None]:
        """Within it, a graph may hold what is for a GPU alone.

        XLA picks when it compiles: what it does not take is no part of the
        program, and the graph loads where there is no GPU.
        """
        declared = functional.declared_batches(
            shapes.compiled_shapes(self.max_source_length),
            padding_is_last=self.pads_at_the_end,
        )
        with functional.target_device("any"), declared:
            yield

    def best(self, inputs: dict) -> dict:
        """Sources -> the best target of each, or the first drawn, (B,)."""
        return self._best_of(self._searched(self._best, self.read(inputs)))

    def best_compiled(self, inputs: dict) -> dict:
        """What `best` gives, by XLA, for few different shapes."""
        arrays = self.read(inputs)
        padded = shapes.pad_to_powers_of_two(arrays, self.may_pad_sources)
        decoded = self._compiled(padded)
        return self._best_of(shapes.first_rows(decoded, arrays["source"]))

    def tokens(self, inputs: dict) -> dict:
        """Ids or arrays -> n targets each, as ids, in the search's order."""
        decoded = self._searched(self._several, self.read(inputs))
        return {
            "ids": decoded.tokens,  # (B, n, T)
            "scores": decoded.scores,  # (B, n)
            "lengths": decoded.lengths,  # (B, n)
        }

    def _searched(self, search, arrays):
        decoded = search(shapes.at_least_one_row(arrays))
        return shapes.first_rows(decoded, arrays["source"])

    def _searching(self, search, jit_compile=None):
        def run(arrays):
            with self._scope():
                seeds = ids.row_seeds(arrays["source"])
                return self.search_for(arrays, search, seeds)

        # XLA knows the shape at each call, so there it may stay open here.
        return tf.function(
            run,
            input_signature=[self.source_specs()],
            jit_compile=jit_compile,
            autograph=False,
        )

    def _target(self, target):
        """Returns ids (B, T) of what is scored, `max_length` at most."""
        if self.target_vocabulary is not None:
            return ids.ids_of(target, self.target_vocabulary, self.max_length)
        size = self.model.decoder.vocabulary_size
        target = ids.known_ids(target[:, : self.max_length], size)
        return shapes.at_least_one_position(target)

    def _log_probabilities(self, logits):
        """Of what may come next, (B, V): neither padding nor BOS."""
        never = tf.range(logits.shape[-1]) <= BOS_ID
        return tf.where(never, LEAST_FORCED, tf.nn.log_softmax(logits))

    def _target_strings(self, decoded):
        """Returns the texts (B, n) of an n-best list and their tokens."""
        longest = tf.maximum(tf.reduce_max(decoded.lengths), 0)
        tokens = decoded.tokens[..., :longest]
        return {
            "text": self._text_of(decoded.tokens),
            "target_tokens": ids.names_of(self.target_vocabulary, tokens),
        }

    def _best_of(self, decoded):
        tokens = decoded.tokens[:, 0]
        found = {"score": decoded.scores[:, 0]}  # (B,)
        if self.target_vocabulary is None:
            return {"ids": tokens, **found}  # (B, T)
        return {"text": self._text_of(tokens), **found}  # (B,)

    def _text_of(self, tokens):
        return ids.valid_utf8(self.target_vocabulary.decode(tokens))

    def _with_target(self, made, names):
        """Returns the inputs of these names; a target is the best one."""
        if "target" in names:
            best = self.functions["serving_default"](made)
            made["target"] = best.get("text", best.get("ids"))
        return {name: made[name] for name in names}
