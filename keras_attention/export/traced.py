"""What the signatures of all models share: records, functions, tracing."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_attention.decoding.search import Search
from keras_attention.export import ids


class TracedSignatures:
    """Traces the functions that a SavedModel offers.

    A subclass sets `records` and `functions`, dicts by name of the signature,
    the vocabularies of sources and targets, whether sources are cut, and
    whether they come with a mask.

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
        self.records, self.functions = {}, {}
        self.source_vocabulary = self.target_vocabulary = None
        self.guide_phrases = {}
        self.cuts_sources, self.needs_source_mask = True, False

    def trace(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns a dict of concrete functions by signature name."""
        return {name: self._traced(name) for name in names}

    def _traced(self, name):
        inputs = self.records[name].inputs

        def run(*tensors):
            names = [tensor.name for tensor in inputs]
            with self._scope():
                return self.functions[name](
                    dict(zip(names, tensors, strict=True))
                )

        function = tf.function(
            run,
            input_signature=[tensor.spec for tensor in inputs],
            autograph=False,
        )
        return function.get_concrete_function()

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
