"""Pairs in a known order, cut into batches; NumPy and lists alone.

An item is (source, target, number of its bucket). The order follows from a
random generator and nothing else.
"""

import itertools
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from keras_attention import validation
from keras_attention.training.survey import LEFT_OUT
from keras_attention.training.survey import Survey

BATCHES_PER_WINDOW = 64


def items_of(pairs: Iterable, numbers: np.ndarray) -> Iterator:
    """Yields the items of the pairs that are not left out.

    Args:
        pairs: iterable of (source, target).
        numbers: the bucket of each, see `Survey.bucket_numbers`.

    Raises:
        ValueError: if there are not as many pairs as were surveyed.
    """
    reading = iter(pairs)
    for number in numbers.tobytes():
        pair = next(reading, None)
        if pair is None:
            raise _changed(numbers, "fewer")
        if number != LEFT_OUT:
            yield (*pair, number)
    if next(reading, None) is not None:
        raise _changed(numbers, "more")


def shuffled(
    items: Iterator, buffer_size: int, order: np.random.Generator
) -> Iterator:
    """Shuffles within a buffer, half of which stays for the next filling."""
    held = []
    while filling := list(itertools.islice(items, buffer_size - len(held))):
        held += filling
        held = [held[place] for place in order.permutation(len(held))]
        if len(held) == buffer_size:
            half = -(-buffer_size // 2)
            yield from held[:half]
            held = held[half:]
    yield from held


def batches_of(
    items: Iterator,
    survey: Survey,
    batch_size: int,
    batch_tokens: int | None,
    order: np.random.Generator | None,
    drop_remainder: bool = False,
) -> Iterator:
    """Yields (items of a batch, number of the bucket it is padded to).

    Args:
        items: iterator of items, shuffled or not.
        survey: the survey of the pairs.
        batch_size: rows of a batch.
        batch_tokens: see `make_dataset`.
        order: shuffles batches; None leaves them in order.
        drop_remainder: whether to leave out what fills no batch.
    """
    rows = survey.rows(batch_size, batch_tokens)
    if batch_tokens is None:
        yield from _of_equal_rows(items, rows[0], order, drop_remainder)
    else:
        yield from _of_own_rows(items, rows, order, drop_remainder)


def _of_equal_rows(items, batch_size, order, drop_remainder):
    """Sorts each window of 64 batches by bucket, and cuts it.

    All batches are full but the last of all, so that their number is known.
    """
    size = batch_size * BATCHES_PER_WINDOW
    while window := list(itertools.islice(items, size)):
        if drop_remainder:  # the last to come, not the longest
            window = window[: len(window) // batch_size * batch_size]
        buckets = np.array([bucket for *_, bucket in window])
        places = np.argsort(buckets, kind="stable")
        starts = np.arange(0, len(window), batch_size)
        if order is not None:
            starts = order.permutation(len(starts)) * batch_size
        for start in starts:
            rows = places[start : start + batch_size]
            yield [window[place] for place in rows], int(buckets[rows[-1]])


def _of_own_rows(items, rows, order, drop_remainder):
    """Fills one batch for each bucket at a time, and yields those filled.

    What is not full at the end comes last: at most one batch for each bucket,
    so that the number of batches is known.
    """
    filling = [[] for _ in rows]
    for item in items:
        bucket = item[-1]
        filling[bucket].append(item)
        if len(filling[bucket]) == rows[bucket]:
            yield filling[bucket], bucket
            filling[bucket] = []
    if drop_remainder:
        return
    rest = [bucket for bucket, batch in enumerate(filling) if batch]
    for bucket in rest if order is None else order.permutation(rest):
        yield filling[bucket], int(bucket)


def _changed(numbers, received):
    return validation.invalid(
        "pairs",
        f"the {len(numbers):,} pairs that were surveyed",
        received,
        "Has a file changed since?",
    )
