"""Few lengths instead of many: which lengths batches are padded to."""

import itertools
from collections import Counter
from typing import NamedTuple

import numpy as np

from keras_attention.text.units import as_text_tensor
from keras_attention.text.units import split

PAIRS_AT_ONCE = 4096


class Survey(NamedTuple):
    """What one look at all pairs tells.

    Example:

    >>> from keras_attention.training import Survey
    >>> Survey(5, frozenset(), ((3, 4), (7, 9))).buckets[-1]
    (7, 9)
    """

    num_pairs: int  # those that fit
    left_out: frozenset  # numbers, from 0, of the pairs that are too long
    buckets: tuple  # (source_length, target_length), both rising

    def including(self, other):
        """Returns this survey with the buckets of `other`, stretched."""
        *most, last = other.buckets
        last = tuple(map(max, last, self.buckets[-1]))
        return self._replace(buckets=(*most, last))


def survey_pairs(
    pairs,
    source_vocabulary,
    target_vocabulary,
    max_source_length=None,
    max_target_length=None,
    num_buckets=6,
):
    """Reads all pairs once: checks them, counts them, chooses buckets.

    Args:
        pairs: iterable of (source, target).
        source_vocabulary: a `text.Vocabulary`.
        target_vocabulary: a `text.Vocabulary`.
        max_source_length: ids, EOS counted; longer pairs are left out.
        max_target_length: the same for targets.
        num_buckets: the most pairs of lengths to choose.

    Returns:
        A `Survey`.

    Raises:
        ValueError: if the pairs are broken, or none is short enough.

    Example:

    >>> import keras_attention as ka
    >>> from keras_attention.training import survey_pairs
    >>> vocabulary = ka.Vocabulary.build(["abcd"])
    >>> pairs = [("a", "ab"), ("abc", "abcd")]
    >>> survey_pairs(pairs, vocabulary, vocabulary).buckets
    ((2, 3), (4, 5))
    """
    limits = [max_source_length or np.inf, max_target_length or np.inf]
    counts = Counter()
    left_out = []
    pairs = iter(pairs)
    start = 0
    while some := list(itertools.islice(pairs, PAIRS_AT_ONCE)):
        sources, targets = zip(*some, strict=True)
        lengths = np.stack(
            [
                _lengths(sources, source_vocabulary),
                _lengths(targets, target_vocabulary),
            ],
            axis=1,
        )  # (pairs, 2)
        fits = np.all(lengths <= limits, axis=1)
        left_out += (start + np.flatnonzero(~fits)).tolist()
        counts.update(map(tuple, lengths[fits].tolist()))
        start += len(some)
    if not counts:
        raise ValueError(
            "`max_source_length` and `max_target_length` must leave at least "
            f"one pair. Received: {max_source_length} and "
            f"{max_target_length}, with {start} pairs, all longer."
        )
    buckets = choose_buckets(counts, num_buckets)
    return Survey(counts.total(), frozenset(left_out), buckets)


def choose_buckets(counts, num_buckets):
    """Chooses lengths to pad to, such that little padding is added.

    Args:
        counts: how many pairs have these (source_length, target_length).
        num_buckets: the most buckets.

    Returns:
        Tuple of (source_length, target_length), rising on both sides. A pair
        belongs to the first that holds both of its sides.
    """
    sides = []
    for side in (0, 1):
        of_side = Counter()
        for lengths, count in counts.items():
            of_side[lengths[side]] += count
        sides.append(_boundaries(of_side, num_buckets))
    return tuple(dict.fromkeys(zip(*sides, strict=True)))


def _boundaries(counts, number):
    """Returns `number` rising lengths; the sum of padded lengths is least."""
    lengths = np.array(sorted(counts))
    if len(lengths) <= number:
        missing = number - len(lengths)
        return [lengths[0].item()] * missing + lengths.tolist()
    upto = np.cumsum([0] + [counts[length] for length in lengths.tolist()])
    # best[j]: least cost of the j shortest lengths with the buckets so far.
    best = np.where(np.arange(len(upto)) == 0, 0.0, np.inf)
    choices = []
    for _ in range(number):
        cost = np.full(len(upto), np.inf)
        cost[0] = 0.0
        cut = np.zeros(len(upto), int)
        for end in range(1, len(upto)):
            padded = best[:end] + (upto[end] - upto[:end]) * lengths[end - 1]
            cut[end] = np.argmin(padded)
            cost[end] = padded[cut[end]]
        best = cost
        choices.append(cut)
    end, found = len(lengths), []
    for cut in reversed(choices):
        found.append(lengths[end - 1].item())
        end = cut[end] if end else 0
    return found[::-1]


def _lengths(texts, vocabulary):
    """Returns the number of ids of each text, EOS counted."""
    pieces = split(as_text_tensor(texts), vocabulary.unit)
    return pieces.row_lengths().numpy() + 1
