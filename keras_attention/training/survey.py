"""What is known of all pairs before the first step: lengths, and batches."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

from keras_attention import validation
from keras_attention.training.buckets import choose_buckets
from keras_attention.training.tokenization import KnownTokens
from keras_attention.training.tokenization import Tokenizer

PAIRS_AT_ONCE = 4096
BATCH_SIZE = 64  # rows, where nothing else is said
LEFT_OUT = np.iinfo(np.uint8).max  # in place of the number of a bucket


@dataclasses.dataclass(frozen=True)
class Survey:
    """What one reading of all pairs tells.

    `lengths`, one row a pair, those left out included, is all that is kept of
    a pair: two integers of the smallest dtype that holds the longest text.

    Args:
        num_pairs: number of the pairs that fit.
        left_out: numbers, from 0, of the pairs that are too long.
        buckets: tuple of (source_length, target_length), both rising.
        lengths: integers (pairs, 2), ids of source and target, EOS counted.

    Example:

    >>> from keras_attention.training import Survey
    >>> Survey(5, frozenset(), ((3, 4), (7, 9))).buckets[-1]
    (7, 9)
    """

    num_pairs: int
    left_out: frozenset
    buckets: tuple
    lengths: np.ndarray | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    @property
    def longest(self) -> tuple[int, int]:
        """The ids of the longest source and of the longest target that fit."""
        fitting = self.bucket_numbers() != LEFT_OUT  # (pairs,)
        return tuple(self.lengths[fitting].max(axis=0).tolist())

    def including(self, other: "Survey") -> "Survey":
        """Returns this survey with the buckets of `other`, stretched."""
        *most, last = other.buckets
        last = tuple(map(max, last, self.buckets[-1]))
        return dataclasses.replace(self, buckets=(*most, last))

    def bucket_numbers(self) -> np.ndarray:
        """Returns the bucket of each pair, uint8; 255 for those left out.

        Raises:
            ValueError: if the survey does not come from `survey_pairs`.
        """
        if self.lengths is None:
            raise validation.invalid(
                "survey", "a result of `survey_pairs`", f"{self!r:.80}"
            )
        sides = [
            np.searchsorted(limits, self.lengths[:, side])
            for side, limits in enumerate(zip(*self.buckets, strict=True))
        ]
        numbers = np.maximum(*sides).astype(np.uint8)  # (pairs,)
        numbers[list(self.left_out)] = LEFT_OUT
        return numbers

    def rows(
        self, batch_size: int = BATCH_SIZE, batch_tokens: int | None = None
    ) -> tuple:
        """Returns the rows that a batch of each bucket has.

        `batch_size` rows, or with `batch_tokens` so many that rows times the
        longer of the two lengths is at most that; never more than there are
        pairs for.

        Raises:
            ValueError: if a number is out of range, or both are given.
        """
        check_batching(batch_size, batch_tokens)
        if batch_tokens is None:
            return (min(batch_size, self.num_pairs),) * len(self.buckets)
        longest = max(self.buckets[-1])
        if batch_tokens < longest:
            raise validation.invalid(
                "batch_tokens",
                f"at least {longest}, the length of the longest text, padded",
                batch_tokens,
                "Give more, or leave out long pairs with max_source_length "
                "and max_target_length.",
            )
        return tuple(
            max(1, min(batch_tokens // max(lengths), count))
            for lengths, count in zip(self.buckets, self._counts(), strict=True)
        )

    def shapes(
        self, batch_size: int = BATCH_SIZE, batch_tokens: int | None = None
    ) -> tuple:
        """Returns the shapes that batches have, one for each bucket in use.

        Args:
            batch_size: rows of a batch.
            batch_tokens: see `make_dataset`.

        Returns:
            Tuple of (rows, source_length, target_length).

        Raises:
            ValueError: if a number is out of range, or both are given.

        Example:

        >>> import keras_attention as ka
        >>> from keras_attention.training import survey_pairs
        >>> pairs = [("a", "ab"), ("b", "ba"), ("abc", "abcd")]
        >>> vocabulary = ka.Vocabulary.build(["abcd"])
        >>> survey = survey_pairs(pairs, vocabulary, vocabulary)
        >>> survey.shapes(batch_size=2)
        ((2, 2, 3), (2, 4, 5))
        >>> survey.shapes(batch_tokens=7)
        ((2, 2, 3), (1, 4, 5))
        """
        rows = self.rows(batch_size, batch_tokens)
        of_buckets = zip(rows, self.buckets, self._counts(), strict=True)
        return tuple((n, *lengths) for n, lengths, count in of_buckets if count)

    def num_batches(
        self,
        batch_size: int = BATCH_SIZE,
        batch_tokens: int | None = None,
        drop_remainder: bool = False,
    ) -> int:
        """Returns the number of batches of one epoch."""
        rows = self.rows(batch_size, batch_tokens)
        counts = self._counts()
        if batch_tokens is None:  # a batch may hold pairs of several buckets
            rows, counts = rows[:1], [self.num_pairs]
        missing = 0 if drop_remainder else 1
        return sum(
            (count + missing * (size - 1)) // size
            for count, size in zip(counts, rows, strict=True)
        )

    def _counts(self):
        """Returns the number of pairs of each bucket."""
        numbers = self.bucket_numbers()
        counts = np.bincount(numbers, minlength=LEFT_OUT + 1)
        return counts[: len(self.buckets)].tolist()


class Tally:
    """Collects the lengths of pairs, in any order, for their `Survey`.

    Args:
        sides: what measures sources and what measures targets, such as
            `tokenization.KnownTokens`.
        limits: the most ids of a source and of a target, or None.
    """

    def __init__(
        self,
        sides: Sequence,
        limits: tuple[int | None, int | None] = (None, None),
    ):
        self._sides = sides
        self._limits = limits
        self._fitting = Counter()  # (source_length, target_length)
        self._numbers, self._lengths = [], []

    def add(self, numbered: Iterable) -> None:
        """Measures (number, (source, target)), at least one."""
        numbers, pairs = zip(*numbered, strict=True)
        sides = zip(self._sides, zip(*pairs, strict=True), strict=True)
        lengths = [side.lengths(texts) for side, texts in sides]
        lengths = np.stack(lengths, axis=1)  # (pairs, 2)
        kept = lengths[self._fits(lengths)].tolist()
        self._fitting.update(map(tuple, kept))
        smallest = np.min_scalar_type(lengths.max())
        self._lengths.append(lengths.astype(smallest))
        self._numbers.append(np.array(numbers, np.int64))

    def survey(
        self, num_buckets: int, pad_to_multiple_of: int | None = None
    ) -> Survey:
        """Returns the survey of all pairs, in the order of their numbers.

        Args:
            num_buckets: the most buckets.
            pad_to_multiple_of: see `survey_pairs`.

        Raises:
            ValueError: if none is short enough.
        """
        order = np.argsort(np.concatenate(self._numbers))
        lengths = np.concatenate(self._lengths)[order]
        if not self._fitting:
            raise ValueError(
                "`max_source_length` and `max_target_length` must leave at "
                f"least one pair. Received: {self._limits[0]} and "
                f"{self._limits[1]}, with {len(lengths)} pairs, all longer."
            )
        left_out = np.flatnonzero(~self._fits(lengths)).tolist()
        return Survey(
            self._fitting.total(),
            frozenset(left_out),
            choose_buckets(self._fitting, num_buckets, pad_to_multiple_of or 1),
            lengths,
        )

    def _fits(self, lengths):
        limits = [np.inf if n is None else n for n in self._limits]
        return np.all(lengths <= limits, axis=1)


def survey_pairs(
    pairs: Iterable,
    source_vocabulary: Tokenizer,
    target_vocabulary: Tokenizer,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    num_buckets: int = 6,
    pad_to_multiple_of: int | None = None,
) -> Survey:
    """Reads all pairs once: checks them, counts them, chooses buckets.

    Args:
        pairs: iterable of (source, target), at least one.
        source_vocabulary: a `text.Vocabulary`, or another tokenizer.
        target_vocabulary: the same for targets.
        max_source_length: ids, EOS counted; longer pairs are left out.
        max_target_length: the same for targets.
        num_buckets: the most pairs of lengths to choose, below 255.
        pad_to_multiple_of: each length chosen is a multiple of it. What
            multiplies matrices of half precision likes multiples of 8, fused
            attention those of 64. None: the lengths that pad least.

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
    for name, most in (
        ("max_source_length", max_source_length),
        ("max_target_length", max_target_length),
    ):
        validation.check_positive_integer(name, most, optional=True)
    validation.check_positive_integer("num_buckets", num_buckets)
    if num_buckets >= LEFT_OUT:
        raise validation.invalid(
            "num_buckets", f"below {LEFT_OUT}", num_buckets
        )
    validation.check_positive_integer(
        "pad_to_multiple_of", pad_to_multiple_of, optional=True
    )
    sides = map(KnownTokens, (source_vocabulary, target_vocabulary))
    tally = Tally(tuple(sides), (max_source_length, max_target_length))
    numbered = enumerate(pairs)
    while some := list(itertools.islice(numbered, PAIRS_AT_ONCE)):
        tally.add(some)
    return tally.survey(num_buckets, pad_to_multiple_of)


def check_batching(batch_size: int, batch_tokens: int | None) -> None:
    """Checks the two arguments that say how large batches are.

    Raises:
        ValueError: if a number is out of range, or both are given.
    """
    validation.check_positive_integer("batch_size", batch_size)
    validation.check_positive_integer(
        "batch_tokens", batch_tokens, optional=True
    )
    if batch_tokens is not None and batch_size != BATCH_SIZE:
        raise validation.invalid(
            "batch_size",
            f"left at {BATCH_SIZE} where `batch_tokens` is given, which takes "
            "its place",
            batch_size,
        )
