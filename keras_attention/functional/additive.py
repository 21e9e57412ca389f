"""Additive scores without the units axis, and their gradients.

    score[t, s] = sum over u of v[u] * tanh(q[t, u] + k[s, u])

The plain formula builds a (T, S, units) tensor, compiled or not. Here

    tanh(q + k) = 1 - 2 r,    r = 1 / (1 + exp(2 q) * exp(2 k))

so that the exponentials are taken once per position, and one multiplication,
one addition and one reciprocal are left per (t, s, u). Each of the three sums
that forward and backward need, over units, queries and keys, runs in groups
of sixteen terms that a compiler fuses into one pass over its result:

    score     = sum v - 2 * sum over u of v r
    dk[u, s]  = v[u] * sum over t of 4 r (1 - r) dscore[t, s]
    dq[u, t]  = v[u] * sum over s of 4 r (1 - r) dscore[t, s]
    dv[u]     = sum over t, s of (1 - 2 r) dscore[t, s]

Letters as in `tiles.py`, U units.
"""

import dataclasses

from keras import ops

from keras_attention.functional import compiling

GROUP = 16
# exp(2 * 40) squared overflows to a reciprocal of zero, which is right; above
# 44, exp(2 q) itself overflows.
LARGEST = 40.0


@dataclasses.dataclass(frozen=True, eq=False)
class AdditiveKernel:
    """Additive scores of a block.

    Args:
        is_small: boolean scalar: the exponentials are safe.
    """

    is_small: object

    def scores(self, query, key, vector):
        """Returns (N, I, J) from query (N, I, U) and key (K, J, U)."""
        key = _repeat_heads(key, query.shape[0])
        vector = _per_head(vector, query.shape[0])
        return _scores(query, key, vector, self.is_small)

    def gradients(self, query, key, vector, upstream):
        """Returns the gradients of query, key and vector."""
        heads, kv_heads = query.shape[0], key.shape[0]
        query, key, each = _gradients(
            query,
            _repeat_heads(key, heads),
            _per_head(vector, heads),
            upstream,
            self.is_small,
        )
        if kv_heads != heads:
            key = ops.reshape(key, (kv_heads, -1, *ops.shape(key)[1:]))
            key = ops.sum(key, axis=1)  # (K, J, U)
        return query, key, _sum_to(each, vector)


def scores(query, key, vector, mask=None):
    """Returns the scores of all pairs, (B, N, T, S).

    Args:
        query: (B, T, N, U).
        key: (B, S, K, U).
        vector: (U,) or (N, U).
        mask: a `Mask` or None; see `is_small`.
    """
    small = is_small(query, key, mask)
    heads = query.shape[2]
    batch, queries = ops.shape(query)[:2]
    keys = ops.shape(key)[1]

    def run(query, key, vector):
        query, key, vector = map(ops.stop_gradient, (query, key, vector))
        # The heads of all rows of the batch are so many heads of one row.
        tensors = (
            _fold(query, heads),
            _fold(key, heads),
            ops.tile(_per_head(vector, heads), (batch, 1)),  # (B * N, U)
        )

        def gradient(upstream):
            upstream = ops.reshape(upstream, (batch * heads, queries, keys))
            # Through an operator: as plain arguments of a compiled kernel,
            # tensors of the branch of a cond are not found by its gradient.
            *saved, is_safe = map(ops.stop_gradient, (*tensors, small))
            query_sum, key_sum, each = _gradients(*saved, upstream, is_safe)
            each = ops.reshape(each, (batch, heads, -1))
            return (
                _unfold(query_sum, query),
                _unfold(key_sum, key),
                _sum_to(ops.sum(each, axis=0), vector),
            )

        result = _scores(*tensors, small)
        return ops.reshape(result, (batch, heads, queries, keys)), gradient

    return ops.custom_gradient(run)(query, key, vector)


def _fold(tensor, heads):
    """Returns (B * N, L, U) from (B, L, K, U)."""
    tensor = ops.repeat(tensor, heads // tensor.shape[2], axis=2)
    _, length, _, units = ops.shape(tensor)
    tensor = ops.transpose(tensor, (0, 2, 1, 3))  # (B, N, L, U)
    return ops.reshape(tensor, (-1, length, units))


def _unfold(gradient, tensor):
    """Returns the gradient of `tensor` (B, L, K, U) from (B * N, L, U)."""
    batch, length, kv_heads, units = ops.shape(tensor)
    gradient = ops.reshape(gradient, (batch, kv_heads, -1, length, units))
    return ops.transpose(ops.sum(gradient, axis=2), (0, 2, 1, 3))


def is_small(query, key, mask=None):
    """True if no pre-activation is too large for its exponential.

    Args:
        query: (B, T, N, U).
        key: (B, S, K, U).
        mask: a `Mask` or None; positions that it calls padding do not count.
    """
    live_queries = live_keys = None
    if mask is not None:
        live_queries = mask.live_queries(ops.shape(query)[1])
        live_keys = mask.live_keys(ops.shape(key)[1])
    return ops.logical_and(
        _all_small(query, live_queries), _all_small(key, live_keys)
    )


def _all_small(tensor, live):
    largest = ops.max(ops.abs(ops.stop_gradient(tensor)), axis=(2, 3))
    small = largest <= LARGEST  # (B, L)
    if live is not None:
        small = ops.logical_or(small, ops.logical_not(live))
    return ops.all(small)


@compiling.compiled
def _scores(query, key, vector, is_small):
    """Returns (N, I, J) from (N, I, U), (N, J, U) and (N, U)."""
    shape = (*ops.shape(query)[:2], ops.shape(key)[1])

    def sum_with(prepare, share):
        units = [
            _groups(ops.transpose(prepare(x), (2, 0, 1)))  # (U, N, ..)
            for x in (query, key)
        ]
        weights = _groups(ops.transpose(vector))  # (U, N)

        def term(query, key, weight):
            shares = share(query[:, :, None], key[:, None, :])  # (N, I, J)
            return weight[:, None, None] * shares

        return _sum(term, (*units, weights), ops.zeros(shape, query.dtype))

    total = ops.sum(vector, axis=1)[:, None, None]  # (N, 1, 1)
    return total - 2.0 * _either(is_small, sum_with)


@compiling.compiled
def _gradients(query, key, vector, upstream, is_small):
    """Returns the gradients, (N, I, U), (N, J, U) and (N, U)."""

    def sum_with(prepare, share):
        a, b = prepare(query), prepare(key)
        key_sums = _sums_over_rows(share, a, b, upstream, True)
        query_sums = _sums_over_rows(
            share, b, a, ops.transpose(upstream, (0, 2, 1)), False
        )
        return (*key_sums, *query_sums)

    slope_key, shares, slope_query = _either(is_small, sum_with)
    scale = 4.0 * vector[:, :, None]  # (N, U, 1)
    total = ops.sum(upstream, axis=(1, 2))[:, None]  # (N, 1)
    return (
        ops.transpose(scale * slope_query, (0, 2, 1)),
        ops.transpose(scale * slope_key, (0, 2, 1)),
        total - 2.0 * ops.sum(shares, axis=2),
    )


def _sums_over_rows(share, rows, columns, upstream, with_shares):
    """Returns sums over the rows, (N, U, J): of the slopes, of the shares.

    Args:
        share: function of a row and a column that gives r.
        rows: (N, I, U).
        columns: (N, J, U).
        upstream: (N, I, J).
        with_shares: also return the second sum.
    """
    columns = ops.transpose(columns, (0, 2, 1))  # (N, U, J)
    rows = _groups(ops.transpose(rows, (1, 0, 2)))  # (I, N, U)
    upstream = _groups(ops.transpose(upstream, (1, 0, 2)))  # (I, N, J)

    def slope(row, upstream):
        shares = share(row[:, :, None], columns)  # (N, U, J)
        return shares * (1.0 - shares) * upstream[:, None, :]

    def plain(row, upstream):
        return share(row[:, :, None], columns) * upstream[:, None, :]

    zeros = ops.zeros_like(columns)
    sums = [_sum(slope, (rows, upstream), zeros)]
    if with_shares:
        sums.append(_sum(plain, (rows, upstream), zeros))
    return sums


def _either(is_small, sum_with):
    """Calls `sum_with` with exponentials, or with tanh where unsafe."""

    def exponential(tensor):
        return ops.exp(2.0 * ops.clip(tensor, -LARGEST, LARGEST))

    return ops.cond(
        is_small,
        lambda: sum_with(exponential, lambda a, b: 1.0 / (1.0 + a * b)),
        lambda: sum_with(lambda x: x, lambda a, b: 0.5 - 0.5 * ops.tanh(a + b)),
    )


def _groups(tensor):
    """Cuts the first axis into groups of `GROUP`, padded with zeros."""
    length = ops.shape(tensor)[0]
    groups = -(-length // GROUP)
    surplus = groups * GROUP - length
    if not (isinstance(surplus, int) and surplus == 0):
        zeros = ops.zeros((surplus, *ops.shape(tensor)[1:]), tensor.dtype)
        tensor = ops.concatenate([tensor, zeros], axis=0)
    return ops.reshape(tensor, (groups, GROUP, *ops.shape(tensor)[1:]))


def _sum(term, groups, total):
    """Sums `term` over the entries of all groups, one group at a time."""
    count = ops.shape(groups[0])[0]

    def add_group(index, total):
        group = [ops.take(tensor, index, axis=0) for tensor in groups]
        for position in range(GROUP):
            total = total + term(*(tensor[position] for tensor in group))
        return index + 1, total

    _, total = ops.while_loop(
        lambda index, _: index < count, add_group, (0, total)
    )
    return total


def _repeat_heads(key, heads):
    return ops.repeat(key, heads // key.shape[0], axis=0)


def _sum_to(gradient, vector):
    """Sums the gradient (N, U) to the shape of the vector."""
    if len(vector.shape) == 1 or vector.shape[0] == 1:
        gradient = ops.sum(gradient, axis=0)
    return ops.reshape(gradient, vector.shape)


def _per_head(vector, heads):
    units = vector.shape[-1]
    return ops.broadcast_to(ops.reshape(vector, (-1, units)), (heads, units))
