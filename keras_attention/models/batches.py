"""A search over many rows: batches in, results in order out."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_attention.models.generated import GeneratedTokens
from keras_attention.models.source_rows import SourceRows
from keras_attention.models.source_rows import padded_rows


def specs_of(arrays: dict[str, Any]) -> dict[str, Any]:
    """Returns the shape and dtype of each array, in lists as they come.

    All axes are None, for any size, but of `initial_state`, a list, only the
    first: a decoder checks the widths of its states.
    """
    return {
        name: [((None, *x.shape[1:]), x.dtype.name) for x in value]
        if isinstance(value, list)
        else ((None,) * value.ndim, value.dtype.name)
        for name, value in sorted(arrays.items())
    }


def graph_function(
    run: Callable, specs: dict[str, Any], jit_compile: bool
) -> Callable:
    """Returns `run(arrays, row_seeds)` as one graph, or compiled by XLA.

    Args:
        run: the function.
        specs: shape and dtype of each array, as `specs_of` returns them.
        jit_compile: whether XLA compiles it, a program for each shape.
    """
    # On JAX a compiled closure would freeze the weights of today, so there
    # the loop, which JAX compiles by itself, is run as it is.
    if keras.config.backend() != "tensorflow":
        return run
    import tensorflow as tf

    if jit_compile:  # one program per shape, so shapes must be static
        return tf.function(run, jit_compile=True, autograph=False)
    arrays = {
        name: [tf.TensorSpec(*one) for one in spec]
        if isinstance(spec, list)
        else tf.TensorSpec(*spec)
        for name, spec in specs.items()
    }
    rows = tf.TensorSpec((None,), tf.int32)
    return tf.function(run, input_signature=(arrays, rows), autograph=False)


def run_batches(
    run: Callable,
    rows: SourceRows,
    seeds: np.ndarray,
    batches: list,
    jit_compile: bool,
    verbose: str | int,
) -> GeneratedTokens | None:
    """Returns what `run` makes of all rows, in order; None of no row.

    Args:
        run: `graph_function`, from arrays and row seeds to a `Decoded`.
        rows: the rows.
        seeds: row seeds (rows,).
        batches: row numbers, batch by batch.
        jit_compile: whether batches are padded to few shapes.
        verbose: 1 shows a progress bar, 0 none, "auto" for many batches.
    """
    bar = _progress_bar(len(batches), verbose)
    found = []
    for number, batch in enumerate(batches, start=1):
        padded = padded_rows(batch, jit_compile)
        decoded = run(rows.take(padded, jit_compile), seeds[padded])
        found.append([np.asarray(x)[: len(batch)] for x in decoded])
        if bar is not None:
            bar.update(number)
    return _in_order(found, batches, rows) if found else None


def _progress_bar(num_batches, verbose):
    if verbose == 0 or (verbose == "auto" and num_batches < 10):
        return None
    return keras.utils.Progbar(num_batches, unit_name="batch")


def _in_order(found, batches, rows):
    """Joins the batches, pads their alignments and restores the order."""
    tokens, scores, lengths, alignments = zip(*found, strict=True)
    longest = max(part.max(initial=0) for part in lengths)
    if rows.lengths is None or not rows.keeps_length:
        width = max(part.shape[3] for part in alignments)
    else:  # a batch was cut, or padded for XLA
        width = rows.arrays["source"].shape[1]
    total = np.zeros((len(rows), tokens[0].shape[1], longest, width), "float32")
    for batch, part in zip(batches, alignments, strict=True):
        part = part[:, :, :longest, :width]
        total[batch, :, : part.shape[2], : part.shape[3]] = part
    back = np.argsort(np.concatenate(batches), kind="stable")
    ordered = (np.concatenate(x)[back] for x in (tokens, scores, lengths))
    return GeneratedTokens(*ordered, total)
