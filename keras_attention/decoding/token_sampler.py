"""Greedy search and sampling: each slot appends one token a step.

The slots of a row do not compete, so none is ever reordered. B is the batch,
K the slots (samples), T the maximum length, V the vocabulary.
"""

import dataclasses
from typing import Any
from typing import NamedTuple

from keras import ops

from keras_attention.decoding import slots
from keras_attention.decoding.sampling import draw
from keras_attention.decoding.sampling import most_probable
from keras_attention.decoding.search import Sample
from keras_attention.special_ids import BOS_ID as BOS
from keras_attention.special_ids import EOS_ID as EOS
from keras_attention.special_ids import PAD_ID as PAD


class SamplerState(NamedTuple):
    """The sequences of all slots at one step of the loop."""

    inputs: Any  # (B, K), the tokens to feed next
    ancestors: Any  # (B, K, T), each its own
    tokens: Any  # (B, K, T)
    log_probabilities: Any  # (B, K)
    lengths: Any  # (B, K)
    running: Any  # (B, K)


@dataclasses.dataclass(frozen=True, eq=False)
class TokenSampler:
    """Runs `Greedy` or `Sample` for the loop of `decode`."""

    search: Any
    source_mask: Any
    max_length: int
    row_seeds: Any

    @property
    def width(self) -> int:
        if isinstance(self.search, Sample):
            return self.search.num_samples
        return 1

    def begin(self) -> SamplerState:
        """Returns the state before the first step."""
        batch = ops.shape(self.source_mask)[0]
        shape = (batch, self.width)
        return SamplerState(
            inputs=ops.full(shape, BOS, dtype="int32"),
            ancestors=slots.own_slots(*shape, self.max_length),
            tokens=ops.full((*shape, self.max_length), PAD, dtype="int32"),
            log_probabilities=ops.zeros(shape, dtype="float32"),
            lengths=ops.zeros(shape, dtype="int32"),
            running=ops.ones(shape, dtype="bool"),
        )

    def running(self, state: SamplerState) -> Any:
        """Returns which sequences have not ended, boolean."""
        return state.running

    def advance(
        self,
        state: SamplerState,
        log_probabilities: Any,
        alignment: Any,
        index: Any,
    ) -> tuple[SamplerState, None]:
        """Appends a token to each running sequence; the others are frozen.

        Returns the state and the parents, None as no slot moves.
        """
        running = state.running
        if isinstance(self.search, Sample):
            chosen = draw(self.search, log_probabilities, self.row_seeds, index)
            gained = ops.take_along_axis(
                log_probabilities, chosen[..., None], axis=-1
            )[..., 0]  # (B, K)
        else:
            chosen, gained = most_probable(log_probabilities)  # (B, K)
        gained = ops.where(running, gained, 0.0)
        # Where constraints leave no token, a row ends with what it has said.
        running = ops.logical_and(running, gained != -float("inf"))
        chosen = ops.where(running, chosen, PAD)
        grown = SamplerState(
            inputs=chosen,
            ancestors=state.ancestors,
            tokens=slots.write_at(state.tokens, chosen, index),
            log_probabilities=state.log_probabilities + gained,
            lengths=state.lengths + ops.cast(running, "int32"),
            running=ops.logical_and(running, chosen != EOS),
        )
        return grown, None

    def results(self, state: SamplerState) -> tuple[Any, Any, Any, Any]:
        """Returns tokens, scores, lengths and ancestors."""
        return (
            state.tokens,
            state.log_probabilities,
            state.lengths,
            state.ancestors,
        )
