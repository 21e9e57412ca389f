"""The one reading of all pairs before a training.

It checks them, counts tokens, measures lengths, takes a digest, and holds a
share out. In memory are the counts, two small integers for each pair, and
the pairs held out.
"""

import heapq
import itertools
from collections.abc import Iterable
from collections.abc import Iterator

from keras_attention.training.identity import PairDigest
from keras_attention.training.pairs import share_of
from keras_attention.training.survey import PAIRS_AT_ONCE
from keras_attention.training.survey import Tally


class HeldOut:
    """A share of the pairs, the same sources each time, found on the way.

    Which share depends on the number of pairs, which is known at the end
    alone: `share`, but of so many pairs that it would be more than `at_most`,
    that many. So it only falls while pairs are read, and a pair that was held
    out so far may become one to train on, but never the other way round.

    Args:
        share: number in (0, 1).
        at_most: the most pairs, roughly: the share is one of sources.
    """

    def __init__(self, share: float, at_most: int):
        self.share = share
        self._at_most = at_most
        self._count = 0
        self._heap = []  # (-share, number, pair): the next to go first

    def take(self, numbered: list) -> list:
        """Takes (number, pair)s; returns those that are to be trained on."""
        self._count += len(numbered)
        self.share = min(self.share, self._at_most / self._count)
        rest = []
        for number, pair in numbered:
            share = share_of(pair[0])
            if share < self.share:
                heapq.heappush(self._heap, (-share, number, pair))
            else:
                rest.append((number, pair))
        while self._heap and -self._heap[0][0] >= self.share:
            rest.append(heapq.heappop(self._heap)[1:])
        return rest

    def pairs(self) -> list:
        """Returns the pairs held out, in their order."""
        return [pair for _, _, pair in sorted(self._heap, key=lambda e: e[1])]


def read_once(
    pairs: Iterable, tally: Tally, held_out: HeldOut | None = None
) -> PairDigest:
    """Reads all pairs once.

    Args:
        pairs: iterable of (source, target).
        tally: gets the pairs to train on, which may come late.
        held_out: takes a share, if given.

    Returns:
        The digest of all pairs, those held out included.
    """
    digest = PairDigest()
    for numbered in _some_at_once(enumerate(pairs)):
        for _, pair in numbered:
            digest.add(pair)
        if held_out is not None:
            numbered = held_out.take(numbered)
        if numbered:
            tally.add(numbered)
    return digest


def _some_at_once(items: Iterator) -> Iterator:
    while some := list(itertools.islice(items, PAIRS_AT_ONCE)):
        yield some
