"""Beam search in groups that keep away from each other's tokens.

Vijayakumar et al. 2016, arXiv 1610.02424. B is the batch, K the beam width, G
the groups, W = K / G the width of one, V the vocabulary, C = 2W candidates.
"""

import dataclasses

from keras import ops

from keras_attention.decoding import slots
from keras_attention.decoding.beam import IMPOSSIBLE
from keras_attention.decoding.beam import BeamSearch
from keras_attention.decoding.beam import Candidates
from keras_attention.special_ids import EOS_ID as EOS


@dataclasses.dataclass(frozen=True, eq=False)
class DiverseBeamSearch(BeamSearch):
    """Runs a `Beam` of several groups for the loop of `decode`.

    Group g has the slots from g W on, so parents stay inside their group.
    """

    @property
    def group_width(self) -> int:
        return self.width // self.search.num_groups

    def _is_first(self):
        """One live slot in each group, boolean (K,)."""
        return ops.arange(self.width, dtype="int32") % self.group_width == 0

    def _extend(self, totals, log_probabilities):
        """Group by group: each knows what those before it chose."""
        width, vocabulary = self.group_width, log_probabilities.shape[-1]
        penalty = ops.zeros_like(log_probabilities[:, :1])  # (B, 1, V)
        ending, live = [], []
        for first in range(0, self.width, width):
            group = slice(first, first + width)
            extended = totals[:, group, None] + log_probabilities[:, group]
            candidates, ranks = self._group_candidates(
                extended, extended - penalty, first
            )
            chosen = _survivors(candidates, ranks, width)
            ending.append(candidates.best(width))
            live.append(chosen)
            said = ops.one_hot(chosen.tokens, vocabulary, dtype="float32")
            exists = ops.cast(chosen.log_probabilities > IMPOSSIBLE, "float32")
            counts = ops.einsum("bw,bwv->bv", exists, said)[
                :, None
            ]  # (B, 1, V)
            penalty = penalty + self.search.diversity_strength * counts
        return _side_by_side(ending), _side_by_side(live)

    def _group_candidates(self, extended, ranked, first):
        """The 2W best of (B, W, V) in the order of `ranked`, and their ranks.

        Their log probabilities are those of the model.
        """
        width, vocabulary = extended.shape[1:]
        flat = ops.reshape(ranked, (-1, width * vocabulary))  # (B, W*V)
        count = min(2 * width, width * vocabulary)
        ranks, chosen = slots.largest(flat, count)  # (B, C)
        extended = ops.reshape(extended, (-1, width * vocabulary))
        candidates = Candidates(
            slots.gather_slots(extended, chosen),
            chosen // vocabulary + first,
            chosen % vocabulary,
        )
        return candidates, ranks

    def _distinct(self, hypotheses):
        """Leaves out what another group has found before."""
        tokens, scores = hypotheses.tokens, hypotheses.scores
        same = ops.all(tokens[:, :, None] == tokens[:, None], axis=-1)
        exists = scores > IMPOSSIBLE  # (B, J)
        places = ops.arange(tokens.shape[1], dtype="int32")
        before = places[:, None] < places  # (J, J)
        same = ops.logical_and(same, before)  # (B, J, J)
        known = ops.any(ops.logical_and(same, exists[..., None]), axis=1)
        return hypotheses._replace(scores=ops.where(known, IMPOSSIBLE, scores))


def _survivors(candidates, ranks, width):
    """The W candidates of the highest ranks that do not end."""
    ends = candidates.tokens == EOS
    chosen = ops.top_k(ops.where(ends, IMPOSSIBLE, ranks), width)[1]  # (B, W)
    going_on = candidates._replace(
        log_probabilities=ops.where(
            ends, IMPOSSIBLE, candidates.log_probabilities
        )
    )
    return Candidates(*(slots.gather_slots(x, chosen) for x in going_on))


def _side_by_side(groups):
    """Joins the candidates (B, W) of all groups to (B, K)."""
    fields = zip(*groups, strict=True)
    return Candidates(*(ops.concatenate(field, axis=1) for field in fields))
