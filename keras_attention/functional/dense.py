"""Attention with the whole score matrix: the definition, step by step.

Letters as in `attention.py`.
"""

import numpy as np
from keras import ops

from keras_attention.functional import biases
from keras_attention.functional.precision import at_least_float32


def attend_dense(
    query, key, value, score, mask, bias, logit_soft_cap, sink, dropout
):
    output_dtype = query.dtype
    # The product itself must be in float32: in float16 it overflows before
    # any scale could help.
    query, key, value = (at_least_float32(x) for x in (query, key, value))
    scores = score.scores(query, key, mask)  # (B, N, T, S)
    scores = biases.soft_cap(scores, logit_soft_cap)
    area = (0, ops.shape(query)[1], 0, ops.shape(key)[1])
    visible = None if mask is None else mask.block(*area)
    if bias is not None:
        bias = ops.cast(bias.block(*area), scores.dtype)
        scores = scores + bias
        visible = _without_hidden(visible, bias)
    weights = masked_softmax(scores, visible, sink)
    dropped = weights if dropout is None else dropout.apply(weights)
    output = _weighted_values(dropped, value)
    return ops.cast(output, output_dtype), ops.cast(weights, output_dtype)


def _without_hidden(visible, bias):
    """Returns `visible` with False where the bias is minus infinity."""
    not_hidden = ops.not_equal(bias, -np.inf)
    if visible is None:
        return not_hidden
    return ops.logical_and(visible, not_hidden)


def masked_softmax(scores, visible=None, sink=None):
    """Softmax over the last axis, zero where `visible` is False.

    Args:
        scores: float32 or float64 tensor (batch, num_heads, query_length,
            key_length), finite where visible.
        visible: boolean tensor that broadcasts to it, or None.
        sink: tensor (num_heads,) that joins the denominator, or None.

    Returns:
        Tensor of the shape of `scores`. A row with nothing visible is zero,
        and so are its gradients.
    """
    if visible is not None:
        # Minus infinity in all of a row would make it NaN.
        sees_something = ops.any(visible, axis=-1, keepdims=True)
        hidden = ops.where(sees_something, -np.inf, 0.0)
        scores = ops.where(visible, scores, ops.cast(hidden, scores.dtype))
    if sink is None and scores.shape[-1] == 1:
        # The softmax of a single key, about which `ops.softmax` would warn.
        weights = ops.exp(scores - scores)
    elif sink is None:
        weights = ops.softmax(scores, axis=-1)
    else:
        sink = ops.cast(ops.reshape(sink, (1, -1, 1, 1)), scores.dtype)
        # The largest of no keys is asked for where the key length is 0.
        top = ops.max(scores, axis=-1, keepdims=True, initial=-np.inf)
        top = ops.maximum(top, sink)
        top = ops.stop_gradient(top)
        powers = ops.exp(scores - top)
        total = ops.sum(powers, axis=-1, keepdims=True) + ops.exp(sink - top)
        weights = powers / total
    if visible is not None:
        # Only a row with nothing visible has anything left to clear.
        weights = ops.where(visible, weights, ops.zeros_like(weights))
    return weights


def _weighted_values(weights, value):
    """Returns (B, T, N, V) from weights (B, N, T, S), value (B, S, K, V)."""
    heads, kv_heads = weights.shape[1], value.shape[2]
    if heads == kv_heads:
        return ops.einsum("bnts,bsnv->btnv", weights, value)
    batch, _, queries, keys = ops.shape(weights)
    groups = heads // kv_heads
    weights = ops.reshape(weights, (batch, kv_heads, groups, queries, keys))
    output = ops.einsum("bkgts,bskv->btkgv", weights, value)
    return ops.reshape(output, (batch, queries, heads, value.shape[-1]))
