"""Row seeds: what tells the samples of the rows of a batch apart."""

from typing import Any

import numpy as np

from keras_attention import validation


def checked_row_seeds(
    row_seeds: Any, count: int, rows: str = "sources"
) -> np.ndarray:
    """Returns what tells the samples of `count` rows apart, int32 (count,).

    Args:
        row_seeds: a list or an array, or None for the indices of the rows.
        count: how many rows there are.
        rows: what they are, for errors.

    Raises:
        ValueError: if there is another number of them, or they are no
            integers of 32 bits.
    """
    if row_seeds is None:
        return np.arange(count, dtype="int32")
    try:
        seeds = np.asarray(row_seeds)
    except ValueError:  # lists of different lengths
        seeds = np.array(None)
    if seeds.shape != (count,):
        raise validation.invalid(
            "row_seeds",
            f"one integer for each of the {count} {rows}",
            f"an array of shape {seeds.shape}",
        )
    if count and not _are_int32(seeds):
        expected = f"integers from {-(2**31)} to {2**31 - 1}"
        raise validation.invalid("row_seeds", expected, repr(row_seeds))
    return seeds.astype("int32")


def checked_row_seed(row_seed: Any) -> np.ndarray:
    """Returns the seed of one row as `checked_row_seeds` returns several."""
    if not validation.is_integer(row_seed) or not _are_int32(
        np.array([row_seed])
    ):
        expected = f"an integer from {-(2**31)} to {2**31 - 1}"
        raise validation.invalid("row_seed", expected, repr(row_seed))
    return np.array([row_seed], "int32")


def _are_int32(numbers):
    """Whether an array, not empty, holds integers that int32 can hold."""
    return (
        numbers.dtype.kind in "iu"
        and numbers.min() >= -(2**31)
        and numbers.max() < 2**31
    )
