"""Attention of one position to keys and values kept from step to step.

An implementation of `attend`: the formula is shared, and only the two
products, of query and key and of weights and value, are written for how the
kept keys lie in memory.

Letters: B batch, Q slots (sequences of a row, such as beams), T kept
positions, S source positions, N heads, K key/value heads, G = N / K, H
key_dim, V value_dim.
"""

from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention.functional import biases
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore
from keras_attention.functional.softmax import attention_weights

# Into how many parts a sum of products is split, see `_sum_of_products`.
PARTS = 8


def attend_step(
    *,
    query: Any,
    key: Any,
    value: Any,
    layout: "OwnKeys | OwnHead | SharedKeys",
    score: DotProductScore | AdditiveScore = DotProductScore(),  # noqa: B008 (frozen)
    mask: Any = None,
    bias: Any = None,
    logit_soft_cap: float | None = None,
    sink: Any = None,
    dropout: Dropout | None = None,
    columns: Any = None,
) -> tuple[Any, Any]:
    """Returns what `attend` does for one position of each slot.

    Args:
        query: float tensor (B, Q, N, H).
        key: float tensor, as `layout` has it.
        value: float tensor, as `layout` has it.
        layout: `OwnKeys()`, `OwnHead()` or `SharedKeys()`.
        score: as in `attend`.
        mask: a `Mask`, of which the first query is meant, at the offset that
            the mask has; or a boolean tensor that broadcasts to (B, N, Q, T).
        bias: a `Bias`, of which the first query is meant; or a float tensor
            that broadcasts to (B, N, Q, T).
        logit_soft_cap: as in `attend`.
        sink: as in `attend`.
        dropout: as in `attend`.
        columns: integer tensor (T,) or (B, T): where mask and bias have what
            they say of each kept key. Defaults to the order of the keys.

    Returns:
        The output (B, Q, N, V), and the weights before dropout (B, N, Q, T),
        in the order of the kept keys. Both have the dtype of `query`.

    Masking:
        A query with nothing to attend to has zero weights and zero output.
        What the mask calls padding may hold anything.

    Raises:
        ValueError: if a `Bias` is of other heads or rows than the query.
    """
    dtype, length = query.dtype, layout.length(key)
    query, key, value = (at_least_float32(x) for x in (query, key, value))
    area = (0, 1, 0, length)
    visible, live = mask, None
    if isinstance(mask, masks.Mask):
        visible = mask.block(*area)  # (B or 1, N or 1, 1, T)
        live = mask.key_padding(length)  # (B or 1, T)
        live = None if live is None else live[:, None, None]
    if isinstance(bias, biases.Bias):
        bias.check((query.shape[0], query.shape[2], None, None))
        bias = bias.of_first_query(length)  # (B or 1, N, Q or 1, T)
    visible, bias, live = (_in_order(x, columns) for x in (visible, bias, live))
    if live is not None:
        key, value = layout.keep(key, live), layout.keep(value, live)
    weights = attention_weights(
        layout.scores(score, query, key),
        visible=visible,
        bias=bias,
        logit_soft_cap=logit_soft_cap,
        sink=sink,
    )
    dropped = weights if dropout is None else dropout.apply(weights)
    output = layout.weighted_values(dropped, value)  # (B, Q, N, V)
    return ops.cast(output, dtype), ops.cast(weights, dtype)


class OwnKeys:
    """Each slot has keys of its own: (T, B, Q, K, H).

    Bandwidth-bound: each key is read once, in loops that gather, multiply and
    add. Positions come first, so that a step writes one block of memory.
    """

    def length(self, key: Any) -> Any:
        return ops.shape(key)[0]

    def scores(
        self, score: DotProductScore | AdditiveScore, query: Any, key: Any
    ) -> Any:
        """Returns (B, N, Q, T)."""
        query, key = _side_by_side(score.scale_query(query)[None], key)
        if score.vector is None:
            scores = _sum_of_products(query, key, axis=-1)
        else:
            vector = _vector_of(score, query.shape[3:-1], query.dtype)
            pairs = ops.tanh(query + key)  # (T, B, Q, N, U)
            scores = _sum_of_products(pairs, vector, axis=-1)
        if len(scores.shape) == 5:  # (T, B, Q, K, G)
            heads = scores.shape[3] * scores.shape[4]
            scores = ops.reshape(scores, (*ops.shape(scores)[:3], heads))
        return ops.transpose(scores, (1, 3, 2, 0))

    def weighted_values(self, weights: Any, value: Any) -> Any:
        """Returns (B, Q, N, V)."""
        weights = ops.transpose(weights, (3, 0, 2, 1))  # (T, B, Q, N)
        weights, value = _side_by_side(ops.expand_dims(weights, -1), value)
        output = _sum_of_products(weights, value, axis=0)
        if len(output.shape) == 5:  # (B, Q, K, G, V)
            heads = output.shape[2] * output.shape[3]
            shape = (*ops.shape(output)[:2], heads, output.shape[-1])
            output = ops.reshape(output, shape)
        return output

    def keep(self, tensor: Any, live: Any) -> Any:
        """Returns `tensor` with zeros where `live` (B, 1, 1, T) is False."""
        live = ops.transpose(live, (3, 0, 1, 2))  # (T, B, 1, 1)
        live = ops.expand_dims(live, -1)  # (T, B, 1, 1, 1)
        return ops.where(live, tensor, ops.zeros((), tensor.dtype))


class OwnHead(OwnKeys):
    """Each slot has keys of its own, of one head: (T, B, Q, 1, H).

    All heads of the query read each key, so these are matrix products, and
    nothing as large as the heads and the keys together is ever made.
    """

    def scores(self, score: DotProductScore, query: Any, key: Any) -> Any:
        """Returns (B, N, Q, T)."""
        query = score.scale_query(query)
        return ops.einsum("bqnh,tbqh->bnqt", query, key[..., 0, :])

    def weighted_values(self, weights: Any, value: Any) -> Any:
        """Returns (B, Q, N, V)."""
        return ops.einsum("bnqt,tbqv->bqnv", weights, value[..., 0, :])


class SharedKeys:
    """All slots of a row share the keys of a source: (B, K, S, H).

    They lie as a matrix product wants them, so no step moves them.
    """

    def length(self, key: Any) -> Any:
        return ops.shape(key)[2]

    def scores(
        self, score: DotProductScore | AdditiveScore, query: Any, key: Any
    ) -> Any:
        """Returns (B, N, Q, S)."""
        batch, slots, heads, width = ops.shape(query)
        kv_heads, length = key.shape[1], ops.shape(key)[2]
        query = ops.swapaxes(score.scale_query(query), 1, 2)  # (B, N, Q, H)
        if score.vector is None:
            rows = (batch, kv_heads, heads // kv_heads * slots, width)
            query = ops.reshape(query, rows)  # (B, K, G * Q, H)
            scores = ops.einsum("bkqh,bksh->bkqs", query, key)
        else:
            groups = (batch, kv_heads, heads // kv_heads, slots, 1, width)
            query = ops.reshape(query, groups)
            vector = _vector_of(score, query.shape[1:3], query.dtype)
            pairs = ops.tanh(query + key[:, :, None, None])
            scores = ops.sum(pairs * vector[..., None, None, :], axis=-1)
        return ops.reshape(scores, (batch, heads, slots, length))

    def weighted_values(self, weights: Any, value: Any) -> Any:
        """Returns (B, Q, N, V)."""
        batch, heads, slots, length = ops.shape(weights)
        kv_heads, width = value.shape[1], value.shape[3]
        rows = (batch, kv_heads, heads // kv_heads * slots, length)
        output = ops.matmul(ops.reshape(weights, rows), value)
        output = ops.reshape(output, (batch, heads, slots, width))
        return ops.swapaxes(output, 1, 2)

    def keep(self, tensor: Any, live: Any) -> Any:
        """Returns `tensor` with zeros where `live` (B, 1, 1, S) is False."""
        live = ops.swapaxes(live, 2, 3)  # (B, 1, S, 1)
        return ops.where(live, tensor, ops.zeros((), tensor.dtype))


def _side_by_side(heads, key):
    """Returns heads (..., N, W) and keys (..., K, H) that broadcast.

    Where groups of heads share a key, as (..., K, G, W) and (..., K, 1, H).
    """
    kv_heads, groups = key.shape[-2], heads.shape[-2] // key.shape[-2]
    if groups == 1:
        return heads, key
    shape = (*ops.shape(heads)[:-2], kv_heads, groups, heads.shape[-1])
    return ops.reshape(heads, shape), ops.expand_dims(key, -2)


def _vector_of(score, heads, dtype):
    """Returns the vector of an additive score, (*heads, U), or shared."""
    vector = ops.cast(score.vector, dtype)
    if len(vector.shape) == 1 or vector.shape[0] == 1:
        return vector
    return ops.reshape(vector, (*heads, vector.shape[1]))


def _in_order(tensor, columns):
    """Returns the last axis of `tensor` in the order of the kept keys."""
    if tensor is None or columns is None or tensor.shape[-1] == 1:
        return tensor
    if len(columns.shape) == 1:
        return ops.take(tensor, columns, axis=-1)
    missing = 4 - len(tensor.shape)
    tensor = ops.reshape(tensor, (1,) * missing + tuple(ops.shape(tensor)))
    return ops.take_along_axis(tensor, columns[:, None, None], axis=-1)


def _sum_of_products(first, second, axis):
    """Returns sum(first * second, axis); both are equally long on the axis.

    XLA's CPU compiler writes all products to memory before it sums more than
    32 of them. So parts of the axis, where its length allows, are multiplied
    and added up number by number, which it does in one vectorised loop; what
    is written and summed then is an eighth.
    """
    length = second.shape[axis]
    parts = PARTS if length and length % PARTS == 0 else 1
    pairs = zip(
        ops.split(first, parts, axis),
        ops.split(second, parts, axis),
        strict=True,
    )
    return ops.sum(sum(one * other for one, other in pairs), axis=axis)
