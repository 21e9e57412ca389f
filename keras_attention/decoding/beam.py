"""Beam search with live and finished sets of fixed size.

B is the batch, K the beam width, N the hypotheses to return, T the maximum
length, S the source length, V the vocabulary, C = 2K candidates.
"""

import dataclasses
from typing import Any
from typing import NamedTuple

from keras import ops

from keras_attention.decoding import slots
from keras_attention.decoding.scoring import coverage_reward
from keras_attention.decoding.scoring import length_divisor
from keras_attention.special_ids import BOS_ID as BOS
from keras_attention.special_ids import EOS_ID as EOS
from keras_attention.special_ids import PAD_ID as PAD

IMPOSSIBLE = -float("inf")  # the log probability of what does not exist


class Hypotheses(NamedTuple):
    """Hypotheses with their scores, best first; J of them in a row."""

    tokens: Any  # (B, J, T)
    scores: Any  # (B, J)
    lengths: Any  # (B, J)
    paths: Any  # (B, J, T), the slot at each position


class Beams(NamedTuple):
    """The search at one step of the loop."""

    inputs: Any  # (B, K), the tokens to feed next
    ancestors: Any  # (B, K, T)
    tokens: Any  # (B, K, T)
    log_probabilities: Any  # (B, K), best first
    coverage: Any  # (B, K, S), attention summed over the target so far
    finished: Any  # N `Hypotheses`
    running: Any  # (B,)


class Candidates(NamedTuple):
    """One more token on a live beam."""

    log_probabilities: Any  # (B, C)
    parents: Any  # (B, C), the slots extended
    tokens: Any  # (B, C)

    def best(self, count: int) -> "Candidates":
        return Candidates(*(field[:, :count] for field in self))


@dataclasses.dataclass(frozen=True, eq=False)
class BeamSearch:
    """Runs `Beam` for the loop of `decode`."""

    search: Any
    source_mask: Any
    max_length: int
    row_seeds: Any = None

    @property
    def width(self) -> int:
        return self.search.width

    def begin(self) -> Beams:
        """Returns the beams before the first step: one live, none finished."""
        batch, source_length = ops.shape(self.source_mask)
        shape = (batch, self.width)
        first = ops.where(self._is_first(), 0.0, IMPOSSIBLE)  # (K,)
        return Beams(
            inputs=ops.full(shape, BOS, dtype="int32"),
            ancestors=slots.own_slots(*shape, self.max_length),
            tokens=ops.full((*shape, self.max_length), PAD, dtype="int32"),
            log_probabilities=ops.broadcast_to(
                ops.cast(first, "float32"), shape
            ),
            coverage=ops.zeros((*shape, source_length), dtype="float32"),
            finished=self._none_finished(batch),
            running=ops.ones((batch,), dtype="bool"),
        )

    def running(self, beams: Beams) -> Any:
        """Returns which rows may still find something better, boolean."""
        return beams.running

    def advance(
        self, beams: Beams, log_probabilities: Any, alignment: Any, index: Any
    ) -> tuple[Beams, Any]:
        """Extends the live beams by a token.

        Returns the beams and the parents (B, K), the slots they extend.
        """
        beams = beams._replace(coverage=beams.coverage + alignment)
        ending, live = self._extend(beams.log_probabilities, log_probabilities)
        finished = self._finish(beams, ending, index)
        tokens = slots.gather_slots(beams.tokens, live.parents)  # (B, K, T)
        extended = Beams(
            inputs=live.tokens,
            ancestors=slots.descend(beams.ancestors, live.parents, index),
            tokens=slots.write_at(tokens, live.tokens, index),
            log_probabilities=live.log_probabilities,
            coverage=slots.gather_slots(beams.coverage, live.parents),
            finished=finished,
            running=self._may_improve(beams.running, live, finished),
        )
        return extended, live.parents

    def results(self, beams: Beams) -> tuple[Any, Any, Any, Any]:
        """Returns tokens, scores, lengths and the slots gone through.

        Live beams take the places that no finished hypothesis fills. A row
        that stopped early has none: it is full, or all its beams are dead.
        """
        count = self.search.num_hypotheses
        unfinished = self._unfinished(beams)
        both = _join(beams.finished, unfinished)  # (B, 2N, ...)
        filled = ops.sum(
            ops.cast(beams.finished.scores > IMPOSSIBLE, "int32"), axis=-1
        )[:, None]  # (B, 1)
        places = ops.arange(count, dtype="int32")
        source = ops.where(places < filled, places, places - filled + count)
        found = _choose(both, source)
        exists = found.scores > IMPOSSIBLE  # (B, N)
        return (
            ops.where(exists[..., None], found.tokens, PAD),
            found.scores,
            ops.where(exists, found.lengths, 0),
            found.paths,
        )

    def _none_finished(self, batch):
        shape = (batch, self.search.num_hypotheses)
        empty = ops.zeros((*shape, self.max_length), dtype="int32")
        return Hypotheses(
            tokens=ops.full_like(empty, PAD),
            scores=ops.full(shape, IMPOSSIBLE, dtype="float32"),
            lengths=ops.zeros(shape, dtype="int32"),
            paths=empty,
        )

    def _is_first(self):
        """Which slots are live before the first step, boolean (K,)."""
        return ops.arange(self.width, dtype="int32") == 0

    def _distinct(self, hypotheses):
        """Leaves out what is there twice; here nothing can be."""
        return hypotheses

    def _extend(self, totals, log_probabilities):
        """The candidates (B, K) that may end now, and those that go on.

        Args:
            totals: (B, K), log probabilities of the live beams.
            log_probabilities: (B, K, V), of one more token.
        """
        candidates = self._candidates(totals, log_probabilities)
        return candidates.best(self.width), self._survivors(candidates)

    def _candidates(self, totals, log_probabilities):
        """The 2K best continuations: even if K of them end, K go on."""
        width, vocabulary = self.width, log_probabilities.shape[-1]
        totals = totals[..., None] + log_probabilities
        flat = ops.reshape(totals, (-1, width * vocabulary))  # (B, K*V)
        count = min(2 * width, width * vocabulary)
        best, chosen = slots.largest(flat, count)  # (B, C)
        return Candidates(best, chosen // vocabulary, chosen % vocabulary)

    def _finish(self, beams, ended, index):
        """The N best of those finished before and those that end now."""
        scores = self._scores(ended.log_probabilities, index + 1)
        if self.search.coverage_penalty:
            reward = self._coverage_reward(beams)[..., None]  # (B, K, 1)
            scores = scores + slots.gather_slots(reward, ended.parents)[..., 0]
        # A row that stopped is frozen, whatever its batch-mates still need.
        counts = ops.logical_and(ended.tokens == EOS, beams.running[:, None])
        tokens = slots.gather_slots(beams.tokens, ended.parents)  # (B, K, T)
        new = Hypotheses(
            tokens=slots.write_at(tokens, ended.tokens, index),
            scores=ops.where(counts, scores, IMPOSSIBLE),
            lengths=ops.zeros_like(ended.tokens) + index + 1,
            paths=slots.gather_slots(beams.ancestors, ended.parents),
        )
        both = self._distinct(_join(beams.finished, new))  # (B, N + K, ...)
        best = ops.top_k(both.scores, self.search.num_hypotheses)[1]
        return _choose(both, best)

    def _survivors(self, candidates):
        """The K best candidates that do not end."""
        going_on = ops.where(
            candidates.tokens == EOS, IMPOSSIBLE, candidates.log_probabilities
        )
        best, chosen = ops.top_k(going_on, self.width)  # (B, K)
        return Candidates(
            best,
            _pick(candidates.parents, chosen),
            _pick(candidates.tokens, chosen),
        )

    def _may_improve(self, running, live, finished):
        """Whether a live beam can still reach the worst finished one.

        Log probabilities only fall, so with an exponent of at least 0 the
        score of today's log probability at the greatest length, with perfect
        coverage, is the best that any continuation can get.
        """
        divisor = length_divisor(self.max_length, self.search.length_penalty)
        hope = ops.max(live.log_probabilities, axis=-1) / divisor  # (B,)
        worst = ops.min(finished.scores, axis=-1)
        # -inf > -inf is false: a row whose beams are all dead stops too.
        improves = hope > worst
        if self.width == 1:
            # Nothing to compare with: greedy search, whatever the penalty.
            improves = ops.logical_and(improves, worst == IMPOSSIBLE)
        return ops.logical_and(running, improves)

    def _unfinished(self, beams):
        """The N best live beams, as hypotheses of the greatest length."""
        scores = self._scores(beams.log_probabilities, self.max_length)
        if self.search.coverage_penalty:
            scores = scores + self._coverage_reward(beams)
        lengths = ops.zeros_like(beams.inputs) + self.max_length
        live = Hypotheses(beams.tokens, scores, lengths, beams.ancestors)
        live = self._distinct(live)
        best = ops.top_k(live.scores, self.search.num_hypotheses)[1]
        return _choose(live, best)

    def _scores(self, log_probabilities, length):
        divisor = length_divisor(length, self.search.length_penalty)
        return log_probabilities / divisor

    def _coverage_reward(self, beams):
        return coverage_reward(
            beams.coverage, self.source_mask, self.search.coverage_penalty
        )


def _pick(values, chosen):
    """values (B, C), chosen (B, J) -> (B, J)."""
    return slots.gather_slots(values, chosen)


def _join(first, second):
    pairs = zip(first, second, strict=True)
    return Hypotheses(*(ops.concatenate(pair, axis=1) for pair in pairs))


def _choose(hypotheses, chosen):
    return Hypotheses(*(slots.gather_slots(h, chosen) for h in hypotheses))
