"""Additive scores without the units axis, and their gradients.

    score[t, s] = sum over u of v[u] * tanh(q[t, u] + k[s, u])

The plain formula builds a (T, S, units) tensor, compiled or not. Here

    tanh(q + k) = 1 - 2 r,    r = 1 / (1 + exp(2 q) * exp(2 k))

so that the exponentials are taken once per position, and one multiplication,
one addition and one reciprocal are left per (t, s, u). Division is what a
processor does slowest, so two neighbours x, y = 1 / r share one:

    v / x + w / y = (v y + w x) / (x y)

Each of the three sums that forward and backward need, over units, queries and
keys, runs in groups of sixteen terms that a compiler fuses into one pass over
its result:

    score     = sum v - 2 * sum over u of v r
    dk[u, s]  = v[u] * sum over t of 4 r (1 - r) dscore[t, s]
    dq[u, t]  = v[u] * sum over s of 4 r (1 - r) dscore[t, s]
    dv[u]     = sum over t, s of (1 - 2 r) dscore[t, s]

Letters as in `blockwise/grid.py`, U units.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention.functional import additive_fused
from keras_attention.functional import compiling
from keras_attention.functional.custom_gradient import first_order_only
from keras_attention.functional.kernels import Products
from keras_attention.functional.precision import at_least_float32
from keras_attention.masks import Mask
from keras_attention.masks import ranges

# Measured: under XLA on a CPU, groups of eight take four times as long, and of
# thirty-two no less.
GROUP = 16
# Of so many queries and keys of unknown length: units at once.
FEW, UNITS_OF_FEW = 8, 128
# With pre-activations up to 16, 1 / r is at most exp(64). The product of two
# overflows, and makes both r zero, only where both are 10 ** -10 or less.
LARGEST = 16.0
SECOND_DERIVATIVE = (
    "`score` must be a `DotProductScore` where second derivatives are taken of "
    "sequences this long. Received: an `AdditiveScore`, whose long scores have "
    "a first derivative alone. Take shorter sequences, or project the query."
)


@dataclasses.dataclass(frozen=True, eq=False)
class AdditiveKernel:
    """Additive scores of a block.

    Args:
        is_small: boolean scalar: the exponentials are safe.
        group: how many query heads share a key head.
        is_fused: whether the formula is left to XLA; see `additive_fused`.
    """

    is_small: Any
    group: int
    is_fused: bool = False

    def on_accelerator(self, products: Products) -> "AdditiveKernel":
        """Returns the kernel for many blocks at once, compiled by XLA."""
        return dataclasses.replace(self, is_fused=True)

    def scores(self, query: Any, key: Any, vector: Any) -> Any:
        """Returns (P, K, R, J) from query (P, K, R, U) and key (P, K, J, U)."""
        folded = self._fold(query, key, vector)
        if self.is_fused:
            scores = additive_fused.scores(*folded)  # (P * N, I, J)
        else:
            scores = _scores(*folded, self.is_small)
        shape = (*ops.shape(query)[:3], ops.shape(key)[2])
        return ops.reshape(scores, shape)

    def gradients(
        self, query: Any, key: Any, vector: Any, scores_gradient: Any
    ) -> tuple[Any, Any, Any]:
        """Returns the gradients of query, key and vector."""
        folded = self._fold(query, key, vector)
        rows, keys = ops.shape(folded[0])[:2], ops.shape(key)[2]
        upstream = ops.reshape(scores_gradient, (*rows, keys))
        if self.is_fused:
            sums = additive_fused.gradients(*folded, upstream)
        else:
            sums = _gradients(*folded, upstream, self.is_small)
        query_sum, key_sum, each = sums
        parts, key_heads, _, units = ops.shape(key)
        key_sum = ops.reshape(key_sum, (parts, key_heads, -1, keys, units))
        each = ops.reshape(each, (parts, -1, units))  # (P, N, U)
        return (
            ops.reshape(query_sum, ops.shape(query)),
            ops.sum(key_sum, axis=2),  # (P, K, J, U)
            sum_to(ops.sum(each, axis=0), vector),
        )

    def _fold(self, query, key, vector):
        """Returns (P * N, I, U), (P * N, J, U) and (P * N, U)."""
        parts, key_heads, rows, units = ops.shape(query)
        group = self.group
        shape = (parts * key_heads * group, rows // group, units)
        query = ops.reshape(query, shape)
        key = at_least_float32(key)
        key = ops.reshape(key, (parts * key_heads, ops.shape(key)[2], units))
        vector = per_head(vector, key_heads * group)
        return (
            query,
            ops.repeat(key, group, axis=0),
            ops.tile(vector, (parts, 1)),
        )


def scores(query: Any, key: Any, vector: Any, mask: Mask | None = None) -> Any:
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
    # The beams of a step of a decoder: a program for each length of a source
    # would cost more than it saves.
    are_few = key.shape[1] is None and (query.shape[1] or FEW + 1) <= FEW

    def solve(query, key, vector):
        # The heads of all rows of the batch are so many heads of one row.
        folded = (
            _fold(query, heads),
            _fold(key, heads),
            ops.tile(per_head(vector, heads), (batch, 1)),  # (B * N, U)
        )
        if are_few:
            return _scores_of_few(query, key, vector), folded
        result = _scores(*folded, small)
        return ops.reshape(result, (batch, heads, queries, keys)), folded

    def differentiate(query, key, vector, *folded_and_upstream):
        *folded, upstream = folded_and_upstream
        upstream = ops.reshape(upstream, (batch * heads, queries, keys))
        # Through an operator: as a plain argument of a compiled kernel, a
        # tensor of the branch of a cond is not found by its gradient.
        is_safe = ops.stop_gradient(small)
        query_sum, key_sum, each = _gradients(*folded, upstream, is_safe)
        each = ops.reshape(each, (batch, heads, -1))
        return (
            _unfold(query_sum, query, heads),
            _unfold(key_sum, key, heads),
            sum_to(ops.sum(each, axis=0), vector),
        )

    run = first_order_only(solve, differentiate, error=SECOND_DERIVATIVE)
    return run(query, key, vector)


def _scores_of_few(query, key, vector):
    """Returns (B, N, T, S) from (B, T, N, U) and (B, S, K, U), by the formula.

    Few units at once, so that (B, T, S, N, units) stays small.
    """
    key = ops.repeat(key, query.shape[2] // key.shape[2], axis=2)
    total = 0.0
    for start in range(0, query.shape[3], UNITS_OF_FEW):
        part = slice(start, start + UNITS_OF_FEW)
        pairs = query[:, :, None, :, part] + key[:, None, :, :, part]
        pairs = ops.tanh(pairs) * vector[..., part]  # (B, T, S, N, part)
        total = total + ops.sum(pairs, axis=-1)
    return ops.transpose(total, (0, 3, 1, 2))


def _fold(tensor, heads):
    """Returns (B * N, L, U) from (B, L, K, U)."""
    tensor = ops.repeat(tensor, heads // tensor.shape[2], axis=2)
    batch, length, _, units = ops.shape(tensor)
    tensor = ops.transpose(tensor, (0, 2, 1, 3))  # (B, N, L, U)
    return ops.reshape(tensor, (batch * heads, length, units))


def _unfold(gradient, tensor, heads):
    """Returns the gradient of `tensor` (B, L, K, U) from (B * N, L, U)."""
    batch, length, kv_heads, units = ops.shape(tensor)
    shape = (batch, kv_heads, heads // kv_heads, length, units)
    gradient = ops.reshape(gradient, shape)
    return ops.transpose(ops.sum(gradient, axis=2), (0, 2, 1, 3))


def is_small(query: Any, key: Any, mask: Mask | None = None) -> Any:
    """True if no pre-activation is too large for its exponential.

    Args:
        query: (B, T, N, U).
        key: (B, S, K, U).
        mask: a `Mask` or None; positions that it calls padding do not count.
    """
    query_padding = key_padding = None
    if mask is not None:
        query_padding = mask.query_padding(ops.shape(query)[1])
        key_padding = mask.key_padding(ops.shape(key)[1])
    return ops.logical_and(
        _all_small(query, query_padding), _all_small(key, key_padding)
    )


def _all_small(tensor, live):
    sizes = ops.abs(ops.stop_gradient(tensor))
    largest = ops.max(sizes, axis=(2, 3), initial=0.0)
    small = largest <= LARGEST  # (B, L)
    if live is not None:
        small = ops.logical_or(small, ops.logical_not(live))
    return ops.all(small)


@compiling.separately_compiled
def _scores(query, key, vector, is_small):
    """Returns (N, I, J) from (N, I, U), (N, J, U) and (N, U)."""
    shape = (*ops.shape(query)[:2], ops.shape(key)[1])

    def sum_with(prepare, shares):
        units = [
            _groups(ops.transpose(prepare(x), (0, 2, 1)))  # (.., N, 16, ..)
            for x in (query, key)
        ]
        weights = _groups(vector[:, :, None])

        def add(total, group):
            part = 0.0
            for one, other in _neighbours(group):
                pairs = [
                    (q[:, :, None], k[:, None]) for q, k, _ in (one, other)
                ]
                *numerators, divisor = shares(*pairs)  # (N, I, J)
                weighted = one[2][:, :, None] * numerators[0]
                weighted = weighted + other[2][:, :, None] * numerators[1]
                part = part + weighted / divisor
            return total + part

        groups = (*units, weights)
        return _sum(add, groups, ops.zeros(shape, query.dtype))

    total = ops.sum(vector, axis=1)[:, None, None]  # (N, 1, 1)
    return total - 2.0 * _either(is_small, sum_with)


@compiling.separately_compiled
def _gradients(query, key, vector, upstream, is_small):
    """Returns the gradients, (N, I, U), (N, J, U) and (N, U)."""

    def sum_with(prepare, shares):
        a, b = prepare(query), prepare(key)
        columns = ops.transpose(upstream, (0, 2, 1))
        slopes = _sums_over_rows(shares, a, b, upstream, True)
        return (
            ops.real(slopes),
            ops.imag(slopes),
            _sums_over_rows(shares, b, a, columns, False),
        )

    slope_key, share, slope_query = _either(is_small, sum_with)
    scale = 4.0 * vector[:, :, None]  # (N, U, 1)
    total = ops.sum(upstream, axis=(1, 2))[:, None]  # (N, 1)
    return (
        ops.transpose(scale * slope_query, (0, 2, 1)),
        ops.transpose(scale * slope_key, (0, 2, 1)),
        total - 2.0 * ops.sum(share, axis=2),
    )


def _sums_over_rows(shares, rows, columns, upstream, with_shares):
    """Returns the sum of the slopes r (1 - r) dscore over the rows, (N, U, J).

    Args:
        shares: `_by_reciprocal` or `_by_tanh`.
        rows: (N, I, U).
        columns: (N, J, U).
        upstream: (N, I, J).
        with_shares: the result is complex, and its imaginary part the sum of
            the shares r dscore.
    """
    columns = ops.transpose(columns, (0, 2, 1))  # (N, U, J)

    def add(total, group):
        slope = share = 0.0
        for neighbours in _neighbours(group):
            pairs = [(row[:, :, None], columns) for row, _ in neighbours]
            *numerators, divisor = shares(*pairs)  # (N, U, J)
            inverse = 1.0 / divisor
            for numerator, (_, upstream) in zip(
                numerators, neighbours, strict=True
            ):
                ratio = numerator * inverse
                part = ratio * upstream[:, None]
                share = share + part
                slope = slope + part * (1.0 - ratio)
        return total + (_complex(slope, share) if with_shares else slope)

    zeros = ops.zeros_like(columns)
    total = _complex(zeros, zeros) if with_shares else zeros
    return _sum(add, (_groups(rows), _groups(upstream)), total)


def _either(is_small, sum_with):
    """Calls `sum_with` with exponentials, or with tanh where unsafe."""

    def exponential(tensor):
        return ops.exp(2.0 * ops.clip(tensor, -LARGEST, LARGEST))

    return ops.cond(
        is_small,
        lambda: sum_with(exponential, _by_reciprocal),
        lambda: sum_with(lambda x: x, _by_tanh),
    )


def _by_reciprocal(one, other):
    """Returns the shares r of two pairs (a, b): numerators, and a divisor."""
    one, other = (1.0 + a * b for a, b in (one, other))
    return other, one, one * other


def _by_tanh(one, other):
    one, other = (0.5 - 0.5 * ops.tanh(a + b) for a, b in (one, other))
    return one, other, 1.0


def _groups(tensor):
    """Cuts (N, L, X) into (groups, N, GROUP, X), padded with zeros.

    A group of one row lies together: side by side over all rows, its sixteen
    lines would fall on the same place of a cache.
    """
    rows, length, width = ops.shape(tensor)
    groups = ranges.maximum(-(-length // GROUP), 1)
    surplus = groups * GROUP - length
    if not (isinstance(surplus, int) and surplus == 0):
        zeros = ops.zeros((rows, surplus, width), tensor.dtype)
        tensor = ops.concatenate([tensor, zeros], axis=1)
    tensor = ops.reshape(tensor, (rows, groups, GROUP, width))
    return ops.transpose(tensor, (1, 0, 2, 3))


def _sum(add, groups, total):
    """Calls `add(total, group)` with one group of each tensor at a time."""
    count = ops.shape(groups[0])[0]

    def add_group(index, total):
        group = [ops.take(tensor, index, axis=0) for tensor in groups]
        return index + 1, add(total, group)

    _, total = ops.while_loop(
        lambda index, _: index < count, add_group, (0, total)
    )
    return total


def _neighbours(group):
    """Returns the pairs of neighbouring entries, one of each tensor."""
    entries = [
        [tensor[:, position] for tensor in group] for position in range(GROUP)
    ]
    return zip(entries[::2], entries[1::2], strict=True)


def _complex(real, imaginary):
    """Joins two results in one.

    XLA on CPU gives each result a loop of its own, and two such loops would
    each compute all shares.
    """
    dtype = "complex128" if ops.dtype(real) == "float64" else "complex64"
    return ops.cast(real, dtype) + 1j * ops.cast(imaginary, dtype)


def sum_to(gradient: Any, vector: Any) -> Any:
    """Sums the gradient (N, U) to the shape of the vector."""
    if len(vector.shape) == 1 or vector.shape[0] == 1:
        gradient = ops.sum(gradient, axis=0)
    return ops.reshape(gradient, vector.shape)


def per_head(vector: Any, heads: int) -> Any:
    """Returns the vector of each head, (N, U), from (U,), (1, U) or (N, U)."""
    units = vector.shape[-1]
    return ops.broadcast_to(ops.reshape(vector, (-1, units)), (heads, units))
