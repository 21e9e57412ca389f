"""The shapes of the batches to come, said beforehand.

A fused kernel is made for one shape, and a graph of `fit` is traced for
batches of unknown shape. What will come is known where batches are made.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Iterable
from collections.abc import Iterator

from keras_attention import validation


@dataclasses.dataclass(frozen=True)
class Batches:
    """What is known of the batches to come.

    Args:
        shapes: (rows, length, ...) of each kind of batch.
        padding_is_last: whether padding stands at the end of each row only.
    """

    shapes: tuple[tuple[int, ...], ...] = ()
    padding_is_last: bool = False

    def of_attention(
        self, rows: int | None, queries: int | None, keys: int | None
    ) -> list[tuple[int, int, int]]:
        """Returns each (rows, queries, keys) that may come, once.

        Args:
            rows, queries, keys: sizes that are known, or None. Queries and
                keys with one length in common are those of one sequence.
        """
        known = (rows, queries, keys)
        if None not in known:
            return [known]
        found = {
            (batch, query_length, key_length): None
            for batch, *lengths in self.shapes
            for query_length in lengths
            for key_length in lengths
            if all(
                given is None or given == size
                for given, size in zip(
                    known, (batch, query_length, key_length), strict=True
                )
            )
        }
        return list(found)


_batches = contextvars.ContextVar("batches", default=None)


@contextlib.contextmanager
def declared_batches(
    shapes: Iterable[tuple[int, ...]], *, padding_is_last: bool = False
) -> Iterator[None]:
    """Within it, graphs are traced for batches of these shapes.

    A graph of unknown shape has fused attention for each of them, and the
    other implementations for all else. Where "auto" would be dense for each of
    them, attention is dense whatever comes, and the graph about half as large.
    Trace inside it what will run on such batches: `fit`, say.

    Args:
        shapes: (rows, length, ...) of each kind of batch, such as (rows,
            source length, target length); `Survey.shapes` has them.
        padding_is_last: whether padding stands at the end of each row and
            nowhere else, as `make_dataset` has it. It is not checked. Without
            it each boolean mask is looked at when the program runs.

    Raises:
        ValueError: if a shape does not hold positive integers.

    Example:

    >>> from keras_attention import functional
    >>> with functional.declared_batches([(64, 128, 64)]):
    ...     pass  # fit, or trace
    """
    shapes = tuple(map(_checked, shapes))
    token = _batches.set(Batches(shapes, bool(padding_is_last)))
    try:
        yield
    finally:
        _batches.reset(token)


def _checked(shape):
    if not isinstance(shape, Iterable):
        raise validation.invalid(
            "shapes", "a list of (rows, length, ...)", repr(shape)
        )
    return tuple(
        validation.check_positive_integer("shapes", size) for size in shape
    )


def current_batches() -> Batches:
    """Returns what `declared_batches` said last."""
    return _batches.get() or Batches()
