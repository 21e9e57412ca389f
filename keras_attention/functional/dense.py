"""Attention with the whole score matrix: the definition, step by step.

Letters as in `attention.py`.
"""

from typing import Any

from keras import ops

from keras_attention.functional.biases import Bias
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.precision import at_least_float32
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore
from keras_attention.functional.softmax import attention_weights
from keras_attention.masks import Mask


def attend_dense(
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore | AdditiveScore,
    mask: Mask | None,
    bias: Bias | None,
    logit_soft_cap: float | None,
    sink: Any,
    dropout: Dropout | None,
    normalizer: Normalizer = "softmax",
) -> tuple[Any, Any]:
    output_dtype = query.dtype
    # The product itself must be in float32: in float16 it overflows before
    # any scale could help.
    query, key, value = (at_least_float32(x) for x in (query, key, value))
    scores = score.scores(query, key, mask)  # (B, N, T, S)
    area = (0, ops.shape(query)[1], 0, ops.shape(key)[1])
    weights = attention_weights(
        scores,
        visible=None if mask is None else mask.block(*area),
        bias=None if bias is None else bias.block(*area),
        logit_soft_cap=logit_soft_cap,
        sink=sink,
        normalizer=normalizer,
    )
    output = weighted_values(weights, value, dropout)
    return ops.cast(output, output_dtype), ops.cast(weights, output_dtype)


def weighted_values(
    weights: Any, value: Any, dropout: Dropout | None = None
) -> Any:
    """Returns (B, T, N, V) from weights (B, N, T, S), value (B, S, K, V)."""
    if dropout is not None:
        weights = dropout.apply(weights)
    heads, kv_heads = weights.shape[1], value.shape[2]
    if heads == kv_heads:
        return ops.einsum("bnts,bsnv->btnv", weights, value)
    batch, _, queries, keys = ops.shape(weights)
    groups = heads // kv_heads
    weights = ops.reshape(weights, (batch, kv_heads, groups, queries, keys))
    output = ops.einsum("bkgts,bskv->btkgv", weights, value)
    return ops.reshape(output, (batch, queries, heads, value.shape[-1]))
