"""The scores of one block of queries and keys, and their gradients.

The blockwise path knows nothing else of a score function. Letters as in
`tiles.py`.
"""

import dataclasses

from keras import ops


@dataclasses.dataclass(frozen=True, eq=False)
class DotProductKernel:
    """Scores q . k of queries that have been scaled before."""

    def scores(self, query, key, vector):
        """Returns (N, I, J) from query (N, I, H) and key (K, J, H)."""
        rows = _share_heads(query, key.shape[0])  # (K, G * I, H)
        scores = ops.matmul(rows, ops.transpose(key, (0, 2, 1)))
        return _part_heads(scores, query.shape[0])

    def gradients(self, query, key, vector, upstream):
        """Returns the gradients of query and key; None for the vector."""
        heads, kv_heads = query.shape[0], key.shape[0]
        upstream = _share_heads(upstream, kv_heads)  # (K, G * I, J)
        rows = _share_heads(query, kv_heads)
        query_gradient = _part_heads(ops.matmul(upstream, key), heads)
        key_gradient = ops.matmul(ops.transpose(upstream, (0, 2, 1)), rows)
        return query_gradient, key_gradient, None


def weighted_values(weights, value):
    """Returns (N, I, V) from weights (N, I, J) and value (K, J, V)."""
    rows = _share_heads(weights, value.shape[0])
    return _part_heads(ops.matmul(rows, value), weights.shape[0])


def weights_gradient(upstream, value):
    """Returns the gradient of the weights, (N, I, J)."""
    rows = _share_heads(upstream, value.shape[0])
    gradient = ops.matmul(rows, ops.transpose(value, (0, 2, 1)))
    return _part_heads(gradient, upstream.shape[0])


def value_gradient(weights, upstream, kv_heads):
    """Returns the gradient of the values, (K, J, V)."""
    columns = ops.transpose(_share_heads(weights, kv_heads), (0, 2, 1))
    return ops.matmul(columns, _share_heads(upstream, kv_heads))


def _share_heads(tensor, kv_heads):
    """Stacks the queries that share a key head: (N, I, ..) -> (K, G*I, ..)."""
    heads, queries, width = tensor.shape
    if heads == kv_heads:
        return tensor
    return ops.reshape(tensor, (kv_heads, -1, width))


def _part_heads(tensor, heads):
    if tensor.shape[0] == heads:
        return tensor
    return ops.reshape(tensor, (heads, -1, tensor.shape[2]))
