"""The rows of a call of `generate`, in batches of like length."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_attention import validation
from keras_attention.masks.booleans import as_boolean
from keras_attention.models import sources
from keras_attention.models.encoding import EncoderFacts


@dataclasses.dataclass(frozen=True)
class SourceRows:
    """Arrays with one entry for each source.

    Args:
        arrays: dict of `source` and, where given, `source_mask` (batch,
            source_length) and `initial_state`, a list.
        lengths: positions up to the last real one of each row; None where
            padding cannot be told, so that none may be added or cut.
        keeps_length: whether each position of a source has its own vector.
        max_positions: padding makes no row longer than this.
    """

    arrays: dict[str, Any]
    lengths: np.ndarray | None
    keeps_length: bool = True
    max_positions: int | None = None

    def __len__(self) -> int:
        return len(self.arrays["source"])

    def batches(self, batch_size: int) -> list[np.ndarray]:
        """Returns row numbers, batch by batch, rows of like length together."""
        order = np.arange(len(self))
        if self.lengths is not None:
            order = np.argsort(self.lengths, kind="stable")
        return [
            order[start : start + batch_size]
            for start in range(0, len(order), batch_size)
        ]

    def take(self, rows: np.ndarray, jit_compile: bool) -> dict[str, Any]:
        """Returns the arrays of some rows, without the padding they share.

        For XLA, which compiles a program for each shape, lengths that may be
        padded are padded to a power of two, or to `max_positions`.
        """
        arrays = keras.tree.map_structure(lambda x: x[rows], self.arrays)
        if self.lengths is None:
            return arrays
        length = kept = self.lengths[rows].max()
        if jit_compile:
            length = next_power_of_two(length)
            if self.max_positions is not None:
                length = max(kept, min(length, self.max_positions))
        for name in {"source", "source_mask"} & set(arrays):
            array = arrays[name][:, :kept]
            widths = [(0, 0)] * array.ndim
            widths[1] = (0, length - array.shape[1])
            arrays[name] = np.pad(array, widths)
        return arrays


def padded_rows(rows: np.ndarray, jit_compile: bool) -> np.ndarray:
    """Repeats the first row, for XLA, up to a power of two."""
    if not jit_compile:
        return rows
    missing = next_power_of_two(len(rows)) - len(rows)
    return np.concatenate([rows, np.repeat(rows[:1], missing)])


def next_power_of_two(size: int) -> int:
    """The smallest power of two that is at least `size`, and at least 1."""
    return 1 << (max(int(size), 1) - 1).bit_length()


def source_rows(
    facts: EncoderFacts,
    source: Any,
    source_mask: Any = None,
    initial_state: Any = None,
) -> SourceRows:
    """Checks what `generate` was given.

    Args:
        facts: those of the model's encoder.
        source: what `sources.ids_of` returned, or arrays of the signature.
        source_mask: boolean (batch, source_length), or None.
        initial_state: list of arrays (batch, units), or None.
    """
    if not facts.signature.is_ids:
        source = sources.arrays_of(source, facts.signature)
    arrays, lengths = {"source": source}, None
    if facts.cuts_padding:
        lengths = lengths_of(source != 0)
    if source_mask is not None:
        mask = _checked_mask(source_mask, source, facts)
        arrays["source_mask"] = mask
        lengths = _lengths_under(mask, lengths, facts)
    if initial_state is not None:
        states = [_as_state(state) for state in initial_state]
        for state in states:
            _check_rows("initial_state", state, len(source))
        arrays["initial_state"] = states
    return SourceRows(arrays, lengths, facts.keeps_length, facts.max_positions)


def _checked_mask(mask, source, facts):
    mask = np.asarray(as_boolean("source_mask", np.asarray(mask)))
    validation.check_rank("source_mask", mask, 2, "(batch, source_length)")
    _check_rows("source_mask", mask, len(source))
    if facts.keeps_length and mask.shape[1] != source.shape[1]:
        raise validation.invalid(
            "source_mask",
            f"of shape {source.shape[:2]}, as the source",
            f"an array of shape {mask.shape}",
        )
    return mask


def _as_state(state):
    """Returns a state as an array; numbers of any float dtype as float32."""
    state = np.asarray(state)
    is_whole = np.issubdtype(state.dtype, np.integer)
    return state if is_whole or state.dtype == bool else state.astype("float32")


def _lengths_under(mask, lengths, facts):
    """Returns the lengths that may be cut to where a mask is given.

    An encoder of ids may read those that the mask hides from the decoder.
    """
    if not facts.cuts_hidden:
        return None
    hidden = lengths_of(mask)
    return hidden if lengths is None else np.maximum(hidden, lengths)


def lengths_of(real: np.ndarray) -> np.ndarray:
    """Positions up to the last real one of each row, at least 1."""
    position = np.arange(1, real.shape[1] + 1)
    return np.max(real * position, axis=1, initial=1)


def _check_rows(name, array, count):
    if array.ndim < 1 or len(array) != count:
        raise validation.invalid(
            name,
            f"of one row for each of the {count} sources",
            f"an array of shape {array.shape}",
        )
