"""From prompts to what follows: `LanguageModel.generate` and `stream`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.decoding import Beam
from keras_attention.decoding.search import Search
from keras_attention.decoding.search import check_search
from keras_attention.models import sources
from keras_attention.models.batches import graph_function
from keras_attention.models.batches import run_batches
from keras_attention.models.batches import specs_of
from keras_attention.models.generated import GeneratedTexts
from keras_attention.models.generated import GeneratedTokens
from keras_attention.models.generated import decoded_texts
from keras_attention.models.generated import no_tokens
from keras_attention.models.parts import check_positions
from keras_attention.models.prompt_ids import without_marks
from keras_attention.models.prompt_search import continue_prompts
from keras_attention.models.row_seeds import checked_row_seed
from keras_attention.models.row_seeds import checked_row_seeds
from keras_attention.models.source_rows import SourceRows
from keras_attention.models.source_rows import lengths_of
from keras_attention.models.source_rows import next_power_of_two
from keras_attention.models.streaming import pieces_of
from keras_attention.models.streaming import step_functions
from keras_attention.models.tracing import TracedFunctions
from keras_attention.special_ids import PAD_ID


class PromptGenerator:
    """Runs the search of one model over any number of prompts.

    Args:
        model: a `LanguageModel`.
    """

    def __init__(self, model: Any):
        self.model = model
        self.functions = TracedFunctions(model)

    def generate(
        self,
        prompts: Any,
        search: Search,
        max_length: int | None,
        batch_size: int,
        jit_compile: bool,
        verbose: str | int,
        row_seeds: Any,
    ) -> GeneratedTokens | GeneratedTexts:
        """See `LanguageModel.generate`."""
        check_search(search)
        validation.check_positive_integer("batch_size", batch_size)
        max_length = self._max_length(max_length)
        ids, is_text = self._ids_of("prompts", prompts)
        self._check_positions(ids, max_length)
        rows = SourceRows(
            {"source": ids}, lengths_of(ids != PAD_ID), keeps_length=False
        )

        specs = specs_of(rows.arrays)

        def run(arrays, row_seeds):
            prompts = arrays["source"]
            given = (self.model, prompts, search, max_length, row_seeds)
            return continue_prompts(*given)

        found = run_batches(
            self.functions.get(
                (search, max_length, jit_compile),
                lambda: graph_function(run, specs, jit_compile),
            ),
            rows,
            checked_row_seeds(row_seeds, len(rows), "prompts"),
            rows.batches(batch_size),
            jit_compile,
            verbose,
        )
        if found is None:
            found = no_tokens(search, max_length)
        if not is_text:
            return found
        texts = decoded_texts(self.model.vocabulary, found.tokens)
        return GeneratedTexts(texts, *found[1:])

    def stream(
        self,
        prompt: Any,
        search: Search,
        max_length: int | None,
        jit_compile: bool,
        row_seed: int,
    ) -> Iterator[Any]:
        """See `LanguageModel.stream`."""
        check_search(search)
        seeds = checked_row_seed(row_seed)
        max_length = self._max_length(max_length)
        count = getattr(search, "num_samples", 1)
        if isinstance(search, Beam) or count != 1:
            raise validation.invalid(
                "search",
                "Greedy() or a Sample() of one sample, which never take back "
                "what they said",
                repr(search),
            )
        ids, is_text = self._ids_of("prompt", _batch_of_one(prompt))
        self._check_positions(ids, max_length)
        # Few lengths, so that few graphs are traced.
        missing = next_power_of_two(ids.shape[1]) - ids.shape[1]
        ids = np.pad(ids, ((0, 0), (0, missing)))
        said = self._said(ids, search, max_length, jit_compile, seeds)
        return pieces_of(said, self.model.vocabulary) if is_text else said

    def _said(self, ids, search, max_length, jit_compile, seeds):
        """Yields the ids that follow a prompt, EOS too."""
        begin, advance = self.functions.get(
            ("stream", search, max_length, jit_compile),
            lambda: step_functions(self.model, search, max_length, jit_compile),
        )
        carried, is_running = begin(ids, seeds), True
        while is_running:
            carried, token, is_running = advance(carried, seeds)
            if token != PAD_ID:  # else constraints have left no token
                yield int(token)

    def _max_length(self, max_length):
        if max_length is None:
            max_length = self.model.max_length
        return validation.check_positive_integer("max_length", max_length)

    def _check_positions(self, ids, max_length):
        if getattr(self.model.decoder, "max_positions", None) is None:
            return
        is_real = ops.convert_to_numpy(without_marks(ids)) != PAD_ID
        longest = is_real.sum(axis=1).max(initial=0)
        # BOS comes before the prompt, and the last id is never read.
        check_positions(
            "decoder",
            self.model.decoder,
            longest + max_length,
            f"a prompt of {longest} ids and max_length={max_length}",
        )

    def _ids_of(self, name, prompts):
        """Returns the ids of prompts, and whether they are strings."""
        texts = sources.texts_of(prompts, name)
        vocabulary = self.model.vocabulary
        if texts == [] and vocabulary is None:
            texts = None
        if texts is not None:
            if vocabulary is None:
                raise ValueError(
                    f"`{name}` must be ids where the model has no vocabulary. "
                    "Received: strings. Give it one with `set_vocabularies`."
                )
            prompts = np.asarray(vocabulary.encode(texts)) if texts else []
        size = self.model.decoder.vocabulary_size
        return sources.ids_of(prompts, name, size), texts is not None


def _batch_of_one(prompt):
    if isinstance(prompt, (str, bytes)):
        return [prompt]
    try:
        ids = np.asarray(prompt)
    except ValueError:  # lists of different lengths
        ids = np.array(None)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise validation.invalid(
            "prompt", "one string or the ids of one, (length,)", repr(prompt)
        )
    return ids[None]
