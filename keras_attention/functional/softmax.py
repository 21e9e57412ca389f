"""From scores to weights: soft cap, bias, mask, softmax, in this order.

Every implementation that has the scores of a query at hand shares this. The
blockwise one, which never has all of them, shares the parts.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_attention.functional import biases
from keras_attention.functional import normalizers


def attention_weights(
    scores: Any,
    *,
    visible: Any = None,
    bias: Any = None,
    logit_soft_cap: float | None = None,
    sink: Any = None,
    normalizer: normalizers.Normalizer = "softmax",
) -> Any:
    """Returns the weights of these scores.

    Args:
        scores: float32 or float64 tensor (batch, num_heads, query_length,
            key_length).
        visible: boolean tensor that broadcasts to it, True = may attend, or
            None.
        bias: float tensor that broadcasts to it, or None. Minus infinity
            hides a key.
        logit_soft_cap: positive number or None, see `biases.soft_cap`.
        sink: float tensor (num_heads,), see `masked_softmax`, or None.
        normalizer: what makes weights of scores, see `normalizers`.

    Returns:
        Tensor of the shape and dtype of `scores`.
    """
    scores = biases.soft_cap(scores, logit_soft_cap)
    if bias is not None:
        bias = ops.cast(bias, scores.dtype)
        scores = scores + bias
        not_hidden = ops.not_equal(bias, -np.inf)
        if visible is None:
            visible = not_hidden
        else:
            visible = ops.logical_and(visible, not_hidden)
    if normalizer == "softmax":
        return masked_softmax(scores, visible, sink)
    return normalizers.normalize(normalizer, scores, visible)


def masked_softmax(scores: Any, visible: Any = None, sink: Any = None) -> Any:
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
