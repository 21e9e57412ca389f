"""What makes weights of scores in place of the softmax.

Each works on the last axis and leaves zeros at what is hidden. They need all
scores of a query at once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_attention import validation

Normalizer = str | Callable


def hardmax(scores: Any, visible: Any = None) -> Any:
    """Gives all weight to the largest score, the first of equals.

    It has no gradient.

    Args:
        scores: float tensor (..., key_length), finite where visible.
        visible: boolean tensor that broadcasts to it, True = may attend, or
            None.

    Returns:
        Tensor of the shape and dtype of `scores`. A row with nothing visible
        is zero.
    """
    scores = _from_the_largest(scores, visible)
    is_largest = ops.cast(ops.equal(scores, 0.0), "int32")
    is_first = ops.equal(ops.cumsum(is_largest, axis=-1) * is_largest, 1)
    return _keep_visible(ops.cast(is_first, scores.dtype), visible)


def sparsemax(scores: Any, visible: Any = None) -> Any:
    """Projects scores onto the probability simplex.

        weight[s] = max(score[s] - threshold, 0)

    with the threshold that makes them sum to one (Martins & Astudillo 2016,
    arXiv 1602.02068, algorithm 1). A score that is 1 below the largest has no
    weight at all.

    Args:
        scores: float tensor (..., key_length), finite where visible.
        visible: boolean tensor that broadcasts to it, True = may attend, or
            None.

    Returns:
        Tensor of the shape and dtype of `scores`. A row with nothing visible
        is zero.
    """
    scores = _from_the_largest(scores, visible)
    weights = ops.relu(scores - _above_threshold(scores, _simplex_threshold))
    return _keep_visible(weights, visible)


def entmax15(scores: Any, visible: Any = None) -> Any:
    """1.5-entmax, between the softmax and the sparsemax.

        weight[s] = max(score[s] / 2 - threshold, 0)^2

    with the threshold that makes them sum to one (Peters et al. 2019, arXiv
    1905.05702, algorithm 2). A score that is 2 below the largest has no
    weight at all.

    Args:
        scores: float tensor (..., key_length), finite where visible.
        visible: boolean tensor that broadcasts to it, True = may attend, or
            None.

    Returns:
        Tensor of the shape and dtype of `scores`. A row with nothing visible
        is zero.
    """
    halves = _from_the_largest(scores, visible) / 2
    roots = ops.relu(halves - _above_threshold(halves, _entmax15_threshold))
    return _keep_visible(ops.square(roots), visible)


def sigmoid(scores: Any, visible: Any = None) -> Any:
    """Sigmoids that are made to sum to one: the softmax, smoothed.

    From Chorowski et al. 2015 (arXiv 1506.07503, 2.3): several keys may share
    the weight, where a softmax picks one.

    Args:
        scores: float tensor (..., key_length), finite where visible.
        visible: boolean tensor that broadcasts to it, True = may attend, or
            None.

    Returns:
        Tensor of the shape and dtype of `scores`. A row with nothing visible
        is zero.
    """
    # The softmax of log sigmoid: no sum of sigmoids underflows.
    logarithms = ops.log_sigmoid(scores)
    powers = ops.exp(_from_the_largest(logarithms, visible, lowest=-np.inf))
    total = ops.sum(powers, axis=-1, keepdims=True)
    # Not `maximum`: a total of 1, one visible key, would halve its gradient.
    total = ops.where(total > 0, total, ops.ones_like(total))
    return _keep_visible(powers / total, visible)


NORMALIZERS = {
    "hardmax": hardmax,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
    "sigmoid": sigmoid,
}


def check_normalizer(normalizer: Any) -> Normalizer:
    """Returns `normalizer` if it is a name of one or a function."""
    if callable(normalizer):
        return normalizer
    names = ("softmax", *NORMALIZERS)
    return validation.check_choice("normalizer", normalizer, names)


def normalize(normalizer: Normalizer, scores: Any, visible: Any = None) -> Any:
    """Returns the weights that a normalizer other than "softmax" makes."""
    return NORMALIZERS.get(normalizer, normalizer)(scores, visible)


def _from_the_largest(scores, visible, lowest=-3.0):
    """Returns how far scores are from the largest that is visible.

    None is below `lowest`, where weights are zero; hidden ones are there.
    """
    if visible is not None:
        scores = ops.where(visible, scores, -np.inf)
    top = ops.max(scores, axis=-1, keepdims=True, initial=-np.inf)
    top = ops.where(ops.equal(top, -np.inf), ops.zeros_like(top), top)
    return ops.maximum(scores - ops.stop_gradient(top), lowest)


def _above_threshold(scores, threshold):
    """Returns the threshold (..., 1) that makes weights sum to one.

    Of the n largest scores, `threshold(n, their sum, sum of their squares)`
    is the one if they alone have weight; which do is found by sorting. That
    choice has no gradient, and the threshold is worked out again with one.
    """
    ordered = -ops.sort(-ops.stop_gradient(scores), axis=-1)
    count = ops.cumsum(ops.ones_like(ordered), axis=-1)
    sums = (ops.cumsum(x, axis=-1) for x in (ordered, ops.square(ordered)))
    is_above = ordered > threshold(count, *sums)
    smallest = ops.where(is_above, ordered, np.inf)
    smallest = ops.min(smallest, axis=-1, keepdims=True, initial=np.inf)
    has_weight = ops.cast(scores >= smallest, scores.dtype)
    parts = (has_weight, has_weight * scores, has_weight * ops.square(scores))
    return threshold(*(ops.sum(x, axis=-1, keepdims=True) for x in parts))


def _simplex_threshold(count, total, squares):
    return (total - 1) / count


def _entmax15_threshold(count, total, squares):
    mean = total / count
    deviations = squares - total * mean
    return mean - ops.sqrt(ops.relu(1 - deviations) / count)


def _keep_visible(weights, visible):
    if visible is None:
        return weights
    return ops.where(visible, weights, ops.zeros_like(weights))
