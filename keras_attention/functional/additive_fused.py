"""Additive scores as the formula has them, for XLA on an accelerator.

    score[t, s] = sum over u of v[u] * tanh(q[t, u] + k[s, u])

XLA fuses sum, tanh and addition into one loop over (t, s, u) that keeps a sum
alone; a GPU has an instruction for tanh. What `additive.py` does against the
costs of tanh and of long loops is for processors. Outside XLA what is summed
has to be written to memory first: only for what is compiled.

A tanh that two sums shared would be written to memory, too, or not, as a
compiler sees fit. So each sum has its own, with the axes that it sums last;
no two of them are the same tensor.

Letters as in `blockwise/grid.py`, U units; N stands for all heads of all P
tiles.
"""

from typing import Any

from keras import ops


def scores(query: Any, key: Any, vector: Any) -> Any:
    """Returns (N, I, J) from (N, I, U), (N, J, U) and (N, U)."""
    tanh = ops.tanh(query[:, :, None] + key[:, None])  # (N, I, J, U)
    return ops.sum(tanh * vector[:, None, None], axis=3)


def gradients(
    query: Any, key: Any, vector: Any, upstream: Any
) -> tuple[Any, Any, Any]:
    """Returns those of query, key and vector from that of the scores.

    Args:
        query: (N, I, U).
        key: (N, J, U).
        vector: (N, U).
        upstream: (N, I, J).
    """
    columns = ops.transpose(upstream, (0, 2, 1))  # (N, J, I)
    query_units, key_units = (  # (N, U, I), (N, U, J)
        ops.transpose(x, (0, 2, 1)) for x in (query, key)
    )
    pairs = query_units[..., None] + key_units[:, :, None]  # (N, U, I, J)
    return (
        _sum_slopes(query, key_units, upstream) * vector[:, None],
        _sum_slopes(key, query_units, columns) * vector[:, None],
        ops.sum(ops.tanh(pairs) * upstream[:, None], axis=(2, 3)),
    )


def _sum_slopes(rows, columns, upstream):
    """Returns (N, A, U) from (N, A, U), (N, U, C) and (N, A, C)."""
    tanh = ops.tanh(rows[..., None] + columns[:, None])  # (N, A, U, C)
    slopes = (1.0 - ops.square(tanh)) * upstream[:, :, None]
    return ops.sum(slopes, axis=3)
