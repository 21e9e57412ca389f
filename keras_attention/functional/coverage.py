"""The loss that keeps attention from coming back to where it was."""

from typing import Any

from keras import ops

from keras_attention.functional.precision import at_least_float32
from keras_attention.masks.booleans import as_boolean


def coverage_loss(weights: Any, mask: Any = None) -> Any:
    """Returns how much each query attends to what was attended to before.

        loss[t] = sum over s of min(weights[t, s], coverage[t, s])

    with the coverage, the sum of the weights of all queries before t (See et
    al. 2017, arXiv 1704.04368, equations 10 and 12). The paper adds the mean
    over the real queries to the loss of the model, with the factor 1.

    Args:
        weights: float tensor (batch, query_length, key_length), as attention
            layers return them.
        mask: boolean tensor (batch, query_length), True = a real query, or
            None. The others cover nothing and lose nothing.

    Returns:
        Tensor (batch, query_length), of at least float32.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import coverage_loss
    >>> coverage_loss(np.array([[[0.5, 0.5], [1.0, 0.0]]], "float32")).numpy()
    array([[0. , 0.5]], dtype=float32)
    """
    weights = at_least_float32(ops.convert_to_tensor(weights))
    if mask is not None:
        mask = as_boolean("mask", mask)[:, :, None]  # (B, T, 1)
        weights = ops.where(mask, weights, ops.zeros_like(weights))
    earlier = ops.pad(weights, ((0, 0), (1, 0), (0, 0)))[:, :-1]  # (B, T, S)
    coverage = ops.cumsum(earlier, axis=1)
    return ops.sum(ops.minimum(weights, coverage), axis=-1)  # (B, T)
