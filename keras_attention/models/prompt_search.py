"""The search for what follows a prompt."""

from typing import Any

from keras import ops

from keras_attention.decoding import Decoded
from keras_attention.decoding.loop import SearchLoop
from keras_attention.decoding.search import Search
from keras_attention.models.generation import without_specials
from keras_attention.models.prompt_ids import aligned
from keras_attention.special_ids import PAD_ID


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
