"""The products of the dot-product score on blocks, and their gradients.

The blockwise path knows nothing else of a score: each score has a kernel with
these two methods. Letters as in `blockwise/grid.py`.
"""

import dataclasses
from typing import Any

from keras import ops


@dataclasses.dataclass(frozen=True, eq=False)
class DotProductKernel:
    """Scores q . k of queries that have been scaled before."""

    def scores(self, query: Any, key: Any, vector: Any) -> Any:
        """Returns (P, K, R, J) from query (P, K, R, H), key (P, K, J, H)."""
        return multiply(query, key, transpose_right=True)

    def gradients(
        self, query: Any, key: Any, vector: Any, scores_gradient: Any
    ) -> tuple[Any, Any, None]:
        """Returns the gradients of query and key; None for the vector."""
        query_gradient = multiply(scores_gradient, key)  # (P, K, R, H)
        key_gradient = multiply(scores_gradient, query, transpose_left=True)
        return query_gradient, key_gradient, None


def multiply(
    left: Any,
    right: Any,
    transpose_left: bool = False,
    transpose_right: bool = False,
) -> Any:
    """Returns the products of matrices (P, K, A, B) and (P, K, B, C).

    As matrices of one batch axis, and transposed next to the product: XLA on
    CPU is up to a fifth slower otherwise.
    """
    heads = ops.shape(left)[:2]

    def matrices(tensor, transpose):
        sizes = ops.shape(tensor)[2:]
        tensor = ops.reshape(tensor, (heads[0] * heads[1], *sizes))
        return ops.transpose(tensor, (0, 2, 1)) if transpose else tensor

    product = ops.matmul(
        matrices(left, transpose_left), matrices(right, transpose_right)
    )
    return ops.reshape(product, (*heads, *ops.shape(product)[1:]))
