"""Few lengths instead of many: which lengths batches are padded to."""

from collections import Counter

import numpy as np


def choose_buckets(
    counts: Counter, num_buckets: int, multiple: int = 1
) -> tuple:
    """Chooses lengths to pad to, such that little padding is added.

    Args:
        counts: how many pairs have these (source_length, target_length).
        num_buckets: the most buckets.
        multiple: each length chosen is a multiple of it.

    Returns:
        Tuple of (source_length, target_length), rising on both sides. A pair
        belongs to the first that holds both of its sides.
    """
    sides = []
    for side in (0, 1):
        of_side = Counter()
        for lengths, count in counts.items():
            of_side[-(-lengths[side] // multiple) * multiple] += count
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
