"""From prompts to what follows: batches in, results in order out."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.decoding import Beam
from keras_attention.decoding import Decoded
from keras_attention.decoding.loop import SearchLoop
from keras_attention.decoding.search import Search
from keras_attention.decoding.search import check_search
from keras_attention.models import sources
from keras_attention.models.generation import GeneratedTexts
from keras_attention.models.generation import GeneratedTokens
from keras_attention.models.generation import checked_row_seed
from keras_attention.models.generation import checked_row_seeds
from keras_attention.models.generation import decoded_texts
from keras_attention.models.generation import graph_function
from keras_attention.models.generation import no_tokens
from keras_attention.models.generation import run_batches
from keras_attention.models.generation import without_specials
from keras_attention.models.parts import check_positions
from keras_attention.models.source_rows import SourceRows
from keras_attention.models.source_rows import lengths_of
from keras_attention.models.source_rows import next_power_of_two
from keras_attention.models.tracing import TracedFunctions
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID

REPLACEMENT = "\ufffd"  # what half a character of UTF-8 is read as


def continue_prompts(
    model: Any, prompts: Any, search: Search, max_length: int, row_seeds: Any
) -> Decoded:
    """Searches for what follows each prompt.

    The one way from prompts to ids: `generate` and the exported signatures
    both call it. PAD and BOS are never said.

    Args:
        model: a `LanguageModel`.
        prompts: ids (batch, prompt_length), as in `LanguageModel.generate`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the most ids that follow, EOS counted.
        row_seeds: as in `decoding.decode`.

    Returns:
        A `decoding.Decoded`, whose alignments are empty.
    """
    loop = loop_of(model, search, max_length, row_seeds)
    carried = loop.start(aligned(prompts))
    carried = ops.while_loop(loop.is_unfinished, loop.advance, carried)
    return loop.results(*carried)


def loop_of(
    model: Any, search: Search, max_length: int, row_seeds: Any
) -> SearchLoop:
    """Returns the search of `continue_prompts`, started with `aligned` ids."""
    # Nothing is aligned with a prompt, so its mask has no position.
    nothing = ops.zeros((ops.shape(row_seeds)[0], 0), dtype="bool")
    return SearchLoop(
        AfterPrompt(model.decoder),
        nothing,
        without_specials(search),
        max_length,
        row_seeds=row_seeds,
    )


def aligned(ids: Any) -> Any:
    """Returns prompts that begin with BOS and end in the same column.

    Args:
        ids: integer tensor (batch, length). Padding and BOS are left out
            wherever they stand, and so is EOS and what comes after it.

    Returns:
        int32 tensor (batch, length + 1), padded at the beginning.
    """
    ids = without_marks(ids)
    ids = ops.pad(ids, ((0, 0), (1, 0)), constant_values=BOS_ID)  # (B, P)
    return _sorted_by(ids == PAD_ID, ids)


def real_ids_first(ids: Any) -> Any:
    """Returns ids (batch, length) with all padding at the end."""
    return _sorted_by(ids != PAD_ID, ids)


def last_ids(ids: Any, count: int) -> Any:
    """Returns the last ids of prompts, which matter most to what follows.

    Args:
        ids: integer tensor (batch, length), as `aligned` reads them.
        count: integer, how many ids of a prompt are kept.

    Returns:
        int32 tensor (batch, at most count), padded at the end, the same
        wherever the padding of `ids` was.
    """
    ids = without_marks(ids)
    is_real = ops.cast(ids != PAD_ID, "int32")
    after = ops.sum(is_real, axis=1, keepdims=True)
    after = after - ops.cumsum(is_real, axis=1)  # real ids after each
    ids = ops.where(after < count, ids, PAD_ID)
    return real_ids_first(ids)[:, :count]


def without_marks(ids: Any) -> Any:
    """Returns ids as int32, 0 at BOS, at EOS and at what comes after it."""
    ids = ops.cast(ids, "int32")
    has_ended = ops.cumsum(ops.cast(ids == EOS_ID, "int32"), axis=1) > 0
    left_out = ops.logical_or(ids == BOS_ID, has_ended)
    return ops.where(left_out, PAD_ID, ids)


def _sorted_by(comes_first, ids):
    """Returns the ids that come first, then the others, each in order."""
    length = ops.shape(ids)[1]
    position = ops.arange(length, dtype="int32")
    # Distinct keys, so that ids keep their order in any sort.
    keys = ops.where(comes_first, position, position + length)
    return ops.take_along_axis(ids, ops.argsort(keys, axis=1), axis=1)


class AfterPrompt:
    """A decoder of the step protocol that goes on where a prompt ended.

    Args:
        decoder: that of a `LanguageModel`.
    """

    def __init__(self, decoder: Any):
        self.decoder = decoder

    def start(
        self, prompt: Any, source_mask: Any, max_length: int, beams: int = 1
    ) -> dict[str, Any]:
        """Reads all but the last id of `aligned` prompts."""
        before, last = prompt[:, :-1], prompt[:, -1][:, None]
        state = self.decoder.start(
            before, ops.not_equal(before, PAD_ID), max_length, beams=beams
        )
        return {"decoder": state, "last": last}

    def step(
        self,
        tokens: Any,
        state: dict[str, Any],
        index: Any,
        ancestors: Any = None,
    ) -> tuple[Any, dict[str, Any], Any]:
        """Runs a step, the first of which reads the last id of the prompt."""
        tokens = ops.where(index == 0, state["last"], tokens)  # (B, K)
        logits, inner, _ = self.decoder.step(
            tokens, state["decoder"], index, ancestors=ancestors
        )
        alignment = ops.zeros((*ops.shape(tokens), 0), dtype="float32")
        return logits, {**state, "decoder": inner}, alignment

    def reorder(self, state: dict[str, Any], parents: Any) -> dict[str, Any]:
        """Returns the state after each beam took the place of a parent."""
        inner = self.decoder.reorder(state["decoder"], parents)
        return {"decoder": inner, "last": state["last"]}


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

        def run(arrays, row_seeds):
            prompts = arrays["source"]
            given = (self.model, prompts, search, max_length, row_seeds)
            return continue_prompts(*given)

        found = run_batches(
            self.functions.get(
                (search, max_length, jit_compile),
                lambda: graph_function(run, rows.arrays, jit_compile),
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
        return _pieces(said, self.model.vocabulary) if is_text else said

    def _said(self, ids, search, max_length, jit_compile, seeds):
        """Yields the ids that follow a prompt, EOS too."""
        begin, advance = self.functions.get(
            ("stream", search, max_length, jit_compile),
            lambda: _step_functions(
                self.model, search, max_length, jit_compile
            ),
        )
        carried, is_running = begin(ids, seeds), True
        while is_running:
            carried, token, is_running = advance(carried, seeds)
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


def _step_functions(model, search, max_length, jit_compile):
    """Returns two functions: to what is carried at first, and one step on."""

    def begin(ids, row_seeds):
        loop = loop_of(model, search, max_length, row_seeds)
        return loop.start(aligned(ids))

    def advance(carried, row_seeds):
        loop = loop_of(model, search, max_length, row_seeds)
        carried = loop.advance(*carried)
        token = carried[2].inputs[0, 0]
        return carried, token, loop.is_unfinished(*carried)

    if keras.config.backend() != "tensorflow":
        return begin, advance
    import tensorflow as tf

    options = {"jit_compile": jit_compile or None, "autograph": False}
    return tf.function(begin, **options), tf.function(advance, **options)


def _pieces(said, vocabulary):
    """Yields what each id adds to the text, as soon as it is certain.

    A tokenizer of bytes may need several ids for one character: until they
    are there, its text ends in U+FFFD, and is held back.

    Raises:
        ValueError: at the end, if a piece that was yielded is no part of it.
    """
    ids, shown = [], ""
    for token in said:
        ids.append(token)
        (text,) = decoded_texts(vocabulary, np.array([ids], "int32"))
        if text.startswith(shown) and not text.endswith(REPLACEMENT):
            if text != shown:
                yield text[len(shown) :]
            shown = text
    if not text.startswith(shown):
        raise validation.invalid(
            "vocabulary",
            "a tokenizer whose text of the first ids begins that of all, to be "
            "streamed",
            f"one that decodes to {text!r} after {shown!r}",
            "Use `generate`.",
        )
    if text != shown:
        yield text[len(shown) :]
