"""An n-gram model of characters: what a language model must be better than."""

import collections
import math
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Sequence


class WittenBellModel:
    """Interpolated n-grams with the smoothing of Witten & Bell.

    After a history h that was seen N(h) times, followed by T(h) different
    tokens, and with h' the same without its first token,

        p(c | h) = (N(h c) + T(h) p(c | h')) / (N(h) + T(h))

    The empty history falls back on one chance in `vocabulary_size`. The first
    token of a sequence is given, and not counted but in histories. (Chen &
    Goodman 1998, 2.4.)

    Args:
        sequences: the sequences to count in.
        order: length of the longest n-gram.
        vocabulary_size: how many different tokens there are.

    Example:

    >>> from keras_attention.examples.ngrams import WittenBellModel
    >>> model = WittenBellModel([["a", "b", "a", "b"]], 2, vocabulary_size=4)
    >>> round(model.probability(("a",), "b"), 3)
    0.833
    """

    def __init__(
        self,
        sequences: Iterable[Sequence[Hashable]],
        order: int,
        vocabulary_size: int,
    ):
        self.order = order
        self.vocabulary_size = vocabulary_size
        self._followers = collections.defaultdict(collections.Counter)
        for sequence in sequences:
            for place in range(1, len(sequence)):
                for length in range(min(order - 1, place) + 1):
                    history = tuple(sequence[place - length : place])
                    self._followers[history][sequence[place]] += 1

    def probability(self, history: tuple, token: Hashable) -> float:
        """Returns the probability of a token after a history."""
        history = history[max(len(history) - self.order + 1, 0) :]
        found = 1.0 / self.vocabulary_size
        for length in range(len(history) + 1):  # from the shortest
            followers = self._followers.get(history[len(history) - length :])
            if followers is None:  # then no longer one was seen either
                break
            kinds = len(followers)
            found = followers[token] + kinds * found
            found /= followers.total() + kinds
        return found

    def bits(self, sequences: Iterable[Sequence[Hashable]]) -> float:
        """Returns the mean of the bits that a token of the sequences takes."""
        total, count = 0.0, 0
        for sequence in sequences:
            for place in range(1, len(sequence)):
                history = tuple(sequence[max(place - self.order, 0) : place])
                chance = self.probability(history, sequence[place])
                total -= math.log2(chance)
                count += 1
        return total / count
