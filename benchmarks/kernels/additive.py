"""Additive attention in Triton: what `make.py` makes the PTX of the package of.

    score[t, s] = sum over u of v[u] tanh(q[t, u] + k[s, u])
                = sum v - 2 * sum over u of v[u] r[t, s, u]
    r           = 1 / (1 + exp(2 q) exp(2 k))

A program holds a few rows of one head in registers, all units of them, and
meets one position of the other side after the other: queries meet keys in
`forward` and `query_gradients`, keys meet queries in `key_gradients`. So no
sum over queries or keys leaves the registers, each r is taken once in a
kernel, and memory holds neither scores nor weights. The sums are

    dk[s, u] = 4 v[u] * sum over t of r (1 - r) dscore[t, s]
    dq[t, u] = 4 v[u] * sum over s of r (1 - r) dscore[t, s]
    dv[u]    = sum over t, s of (1 - 2 r) dscore[t, s]
    dscore   = weight * (upstream . value - delta),  delta = upstream . output

All tensors are float32, in the layout of `attend`: query (B, T, N, U), key
(B, S, K, U), value (B, S, K, V), vector (N, U), upstream and output (B, T, N,
V), logsumexp and delta (B, N, T). U and V are WIDTH, a power of two from 32 on:
whoever calls pads units and values with zeros, which add nothing. A query sees
keys where it is before `query_lengths` and they are before `key_lengths`, both
int32 (B,), and, if causal, none after it and no more than `window`. A query
that sees none has zero output, zero logsumexp and zero gradients.

`is_small`, int32 (1,), is 1 if no exponential overflows; query and key are
then exp(2 q) and exp(2 k). Else they are as they are, and any number is safe.
`sizes` is int32 (6,): T, S, N, K, whether causal, window. XLA passes pointers
alone, so numbers come in tensors too.
"""

import triton
import triton.language as tl


@triton.jit
def _reciprocal(x):
    """Returns 1 / x to a last bit: a division takes seven instructions more."""
    return tl.inline_asm_elementwise(
        "rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1
    )


@triton.jit
def _share(row, other, IS_SMALL: tl.constexpr):
    """Returns r, (ROWS, WIDTH)."""
    if IS_SMALL:
        return _reciprocal(1.0 + row * other)
    return _reciprocal(1.0 + tl.exp(2.0 * (row + other)))  # 1 / inf is 0


@triton.jit
def _sizes(sizes):
    return (
        tl.load(sizes),
        tl.load(sizes + 1),
        tl.load(sizes + 2),
        tl.load(sizes + 3),
        tl.load(sizes + 4) != 0,
        tl.load(sizes + 5),
    )


@triton.jit
def _is_near(query, key, is_causal, window):
    """Whether a key is where a causal query looks; one of them is (ROWS,)."""
    return (query >= key) & (query - key < window) | (not is_causal)


@triton.jit
def _keys_of(first_row, last_row, key_length, is_causal, window):
    """Returns the range of keys that rows of queries see."""
    first, last = key_length * 0, key_length  # a zero that may change
    if is_causal:
        first = tl.maximum(first, first_row - window + 1)
        last = tl.minimum(last, last_row + 1)
    return first, last


@triton.jit
def _queries_of(first_row, last_row, query_length, is_causal, window):
    """Returns the range of queries that see rows of keys."""
    first, last = query_length * 0, query_length  # a zero that may change
    if is_causal:
        first = first_row
        last = tl.minimum(last, last_row + window)
    return first, last


@triton.jit
def _forward(
    query, key, value, vector, query_lengths, key_lengths, sizes,
    output, logsumexp,
    IS_SMALL: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    queries, keys, heads, key_heads, causal, window = _sizes(sizes)
    head, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    key_head = head // (heads // key_heads)
    query_length = tl.load(query_lengths + batch)
    key_length = tl.load(key_lengths + batch)
    first_row = tl.program_id(0) * ROWS
    rows = first_row + tl.arange(0, ROWS)
    columns = tl.arange(0, WIDTH)[None, :]  # so that no load changes layout

    seen = (rows < query_length)[:, None]
    row = (batch * queries + rows) * heads + head  # of (B, T, N)
    q = tl.load(query + row[:, None] * WIDTH + columns, mask=seen, other=0.0)
    v = tl.load(vector + head * WIDTH + columns)
    total = tl.sum(v)

    highest = tl.full((ROWS,), float("-inf"), tl.float32)
    divisor = tl.zeros((ROWS,), tl.float32)
    result = tl.zeros((ROWS, WIDTH), tl.float32)
    first, last = _keys_of(
        first_row, first_row + ROWS - 1, key_length, causal, window
    )
    for position in range(first, last):
        other = (batch * keys + position) * key_heads + key_head
        k = tl.load(key + other * WIDTH + columns)
        x = tl.load(value + other * WIDTH + columns)
        share = _share(q, k, IS_SMALL)
        score = total - 2.0 * tl.sum(v * share, axis=1)
        is_near = _is_near(rows, position, causal, window)
        score = tl.where(is_near, score, float("-inf"))
        higher = tl.maximum(highest, score)
        # Minus infinity less itself is not a number.
        base = tl.where(higher == float("-inf"), 0.0, higher)
        weight = tl.exp(score - base)
        rest = tl.exp(highest - base)
        divisor = divisor * rest + weight
        result = result * rest[:, None] + weight[:, None] * x
        highest = higher

    is_empty = (divisor == 0.0) | (rows >= query_length)
    result = result / tl.where(is_empty, 1.0, divisor)[:, None]
    result = tl.where(is_empty[:, None], 0.0, result)
    known = tl.where(is_empty, 0.0, highest) + tl.log(
        tl.where(is_empty, 1.0, divisor)
    )
    inside = rows < queries
    tl.store(
        output + row[:, None] * WIDTH + columns,
        result,
        mask=inside[:, None],
    )
    statistic = (batch * heads + head) * queries + rows  # of (B, N, T)
    tl.store(logsumexp + statistic, known, mask=inside)


@triton.jit
def _query_gradients(
    query, key, value, vector, query_lengths, key_lengths, sizes,
    upstream, logsumexp, delta, query_gradient, vector_gradient,
    IS_SMALL: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    queries, keys, heads, key_heads, causal, window = _sizes(sizes)
    block = tl.program_id(0)
    head, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    key_head = head // (heads // key_heads)
    query_length = tl.load(query_lengths + batch)
    key_length = tl.load(key_lengths + batch)
    first_row = block * ROWS
    rows = first_row + tl.arange(0, ROWS)
    columns = tl.arange(0, WIDTH)[None, :]  # so that no load changes layout
    is_row = rows < query_length

    seen = is_row[:, None]
    row = (batch * queries + rows) * heads + head  # of (B, T, N)
    q = tl.load(query + row[:, None] * WIDTH + columns, mask=seen, other=0.0)
    v = tl.load(vector + head * WIDTH + columns)
    total = tl.sum(v)
    above = tl.load(
        upstream + row[:, None] * WIDTH + columns,
        mask=is_row[:, None],
        other=0.0,
    )
    statistic = (batch * heads + head) * queries + rows  # of (B, N, T)
    known = tl.load(logsumexp + statistic, mask=is_row, other=0.0)
    common = tl.load(delta + statistic, mask=is_row, other=0.0)

    slopes = tl.zeros((ROWS, WIDTH), tl.float32)
    shares = tl.zeros((ROWS, WIDTH), tl.float32)
    sums = tl.zeros((ROWS,), tl.float32)
    first, last = _keys_of(
        first_row, first_row + ROWS - 1, key_length, causal, window
    )
    for position in range(first, last):
        other = (batch * keys + position) * key_heads + key_head
        k = tl.load(key + other * WIDTH + columns)
        x = tl.load(value + other * WIDTH + columns)
        share = _share(q, k, IS_SMALL)
        score = total - 2.0 * tl.sum(v * share, axis=1)
        is_near = _is_near(rows, position, causal, window) & is_row
        weight = tl.exp(tl.where(is_near, score - known, float("-inf")))
        gradient = tl.sum(above * x, axis=1) - common
        gradient = weight * gradient
        part = gradient[:, None] * share
        shares += part
        slopes += part * (1.0 - share)
        sums += gradient

    tl.store(
        query_gradient + row[:, None] * WIDTH + columns,
        4.0 * v * slopes,
        mask=(rows < queries)[:, None],
    )
    each = tl.sum(sums) - 2.0 * tl.sum(shares, axis=0, keep_dims=True)
    place = (batch * heads + head) * tl.num_programs(0) + block
    tl.store(vector_gradient + place * WIDTH + columns, each)


@triton.jit
def _key_gradients(
    query, key, value, vector, query_lengths, key_lengths, sizes,
    upstream, logsumexp, delta, key_gradient, value_gradient,
    IS_SMALL: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    queries, keys, heads, key_heads, causal, window = _sizes(sizes)
    key_head, batch = tl.program_id(1), tl.program_id(2).to(tl.int64)
    group = heads // key_heads
    query_length = tl.load(query_lengths + batch)
    key_length = tl.load(key_lengths + batch)
    first_row = tl.program_id(0) * ROWS
    rows = first_row + tl.arange(0, ROWS)
    columns = tl.arange(0, WIDTH)[None, :]  # so that no load changes layout
    is_row = rows < key_length

    seen = is_row[:, None]
    row = (batch * keys + rows) * key_heads + key_head  # of (B, S, K)
    k = tl.load(key + row[:, None] * WIDTH + columns, mask=seen, other=0.0)
    x = tl.load(
        value + row[:, None] * WIDTH + columns,
        mask=is_row[:, None],
        other=0.0,
    )
    key_sum = tl.zeros((ROWS, WIDTH), tl.float32)
    value_sum = tl.zeros((ROWS, WIDTH), tl.float32)
    first, last = _queries_of(
        first_row, first_row + ROWS - 1, query_length, causal, window
    )
    for member in range(0, group):
        head = key_head * group + member
        v = tl.load(vector + head * WIDTH + columns)
        total = tl.sum(v)
        slopes = tl.zeros((ROWS, WIDTH), tl.float32)
        for position in range(first, last):
            other = (batch * queries + position) * heads + head
            q = tl.load(query + other * WIDTH + columns)
            above = tl.load(upstream + other * WIDTH + columns)
            statistic = (batch * heads + head) * queries + position
            known = tl.load(logsumexp + statistic)
            common = tl.load(delta + statistic)
            share = _share(q, k, IS_SMALL)
            score = total - 2.0 * tl.sum(v * share, axis=1)
            is_near = _is_near(position, rows, causal, window) & is_row
            weight = tl.exp(tl.where(is_near, score - known, float("-inf")))
            gradient = tl.sum(x * above, axis=1) - common
            part = (weight * gradient)[:, None] * share
            slopes += part * (1.0 - share)
            value_sum += weight[:, None] * above
        key_sum += 4.0 * v * slopes

    inside = rows < keys
    tl.store(
        key_gradient + row[:, None] * WIDTH + columns,
        key_sum,
        mask=inside[:, None],
    )
    tl.store(
        value_gradient + row[:, None] * WIDTH + columns,
        value_sum,
        mask=inside[:, None],
    )


@triton.jit
def forward(
    query, key, value, vector, query_lengths, key_lengths, is_small, sizes,
    output, logsumexp,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program for ROWS queries, a head and a row of the batch."""
    if tl.load(is_small) != 0:
        _forward(
            query, key, value, vector, query_lengths, key_lengths, sizes,
            output, logsumexp, True, ROWS, WIDTH,
        )  # fmt: skip
    else:
        _forward(
            query, key, value, vector, query_lengths, key_lengths, sizes,
            output, logsumexp, False, ROWS, WIDTH,
        )  # fmt: skip


@triton.jit
def query_gradients(
    query, key, value, vector, query_lengths, key_lengths, is_small, sizes,
    upstream, logsumexp, delta, query_gradient, vector_gradient,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """As `forward`. The gradient of the vector is (B, N, programs, U)."""
    if tl.load(is_small) != 0:
        _query_gradients(
            query, key, value, vector, query_lengths, key_lengths, sizes,
            upstream, logsumexp, delta, query_gradient, vector_gradient,
            True, ROWS, WIDTH,
        )  # fmt: skip
    else:
        _query_gradients(
            query, key, value, vector, query_lengths, key_lengths, sizes,
            upstream, logsumexp, delta, query_gradient, vector_gradient,
            False, ROWS, WIDTH,
        )  # fmt: skip


@triton.jit
def key_gradients(
    query, key, value, vector, query_lengths, key_lengths, is_small, sizes,
    upstream, logsumexp, delta, key_gradient, value_gradient,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One program for ROWS keys, a key head and a row of the batch."""
    if tl.load(is_small) != 0:
        _key_gradients(
            query, key, value, vector, query_lengths, key_lengths, sizes,
            upstream, logsumexp, delta, key_gradient, value_gradient,
            True, ROWS, WIDTH,
        )  # fmt: skip
    else:
        _key_gradients(
            query, key, value, vector, query_lengths, key_lengths, sizes,
            upstream, logsumexp, delta, key_gradient, value_gradient,
            False, ROWS, WIDTH,
        )  # fmt: skip
