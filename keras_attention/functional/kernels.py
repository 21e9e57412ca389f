"""The products of the dot-product score on blocks, and their gradients.

The blockwise path knows nothing else of a score: each score has a kernel with
these two methods. Letters as in `blockwise/grid.py`.
"""

import dataclasses

from keras import ops


@dataclasses.dataclass(frozen=True, eq=False)
class DotProductKernel:
    """Scores q . k of queries that have been scaled before."""

    def scores(self, query, key, vector):
        """Returns (P, K, R, J) from query (P, K, R, H), key (P, K, J, H)."""
        return multiply(query, ops.swapaxes(key, 2, 3))

    def gradients(self, query, key, vector, scores_gradient):
        """Returns the gradients of query and key; None for the vector."""
        query_gradient = multiply(scores_gradient, key)  # (P, K, R, H)
        columns = ops.swapaxes(scores_gradient, 2, 3)  # (P, K, J, R)
        return query_gradient, multiply(columns, query), None


def multiply(left, right):
    """Returns the products of matrices (P, K, A, B) and (P, K, B, C).

    As matrices of one batch axis: XLA on CPU is a tenth slower with two.
    """
    parts, heads, rows, inner = ops.shape(left)
    columns = ops.shape(right)[3]
    left = ops.reshape(left, (parts * heads, rows, inner))
    right = ops.reshape(right, (parts * heads, inner, columns))
    return ops.reshape(ops.matmul(left, right), (parts, heads, rows, columns))
