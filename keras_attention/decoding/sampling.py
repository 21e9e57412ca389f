"""Drawing tokens: temperature, the filters, and the draw itself."""

import math
from typing import Any

from keras import ops

from keras_attention.decoding.search import Sample
from keras_attention.functional.dropout import random_uniform

# Float32 has smaller numbers, which a processor may take for 0.
COLDEST = 1e-30


def draw(
    search: Sample, log_probabilities: Any, row_seeds: Any, index: Any
) -> Any:
    """Draws one token for each row and sample.

    Args:
        search: the `Sample` object.
        log_probabilities: float32, shape (B, K, V).
        row_seeds: int32, shape (B,).
        index: int32 scalar, the position.

    Returns:
        int32 tensor of shape (B, K).
    """
    logits = _tempered(log_probabilities, search.temperature)
    logits = keep_top_k(logits, search.top_k)
    logits = keep_top_p(logits, search.top_p)
    logits = keep_min_p(logits, search.min_p)
    uniform = random_uniform(
        search.seed,
        row_seeds[:, None, None],
        index,
        ops.arange(search.num_samples, dtype="int32")[:, None],
        ops.arange(logits.shape[-1], dtype="int32"),
    )  # (B, K, V)
    # The largest of logits with Gumbel noise is distributed as their softmax.
    gumbel = -ops.log(-ops.log(uniform))
    return most_probable(logits + gumbel)[0]


def _tempered(log_probabilities, temperature):
    """Returns logits of which the largest is 0, divided by the temperature.

    So the coldest is greedy search, where dividing log probabilities would
    leave nothing that is finite.
    """
    best = ops.max(log_probabilities, axis=-1, keepdims=True)
    best = ops.where(ops.isfinite(best), best, 0.0)
    return (log_probabilities - best) / max(temperature, COLDEST)


def most_probable(logits: Any) -> tuple[Any, Any]:
    """Returns the first of the largest on the last axis, and its value."""
    # Two reductions that a compiler vectorises; `argmax` it does not.
    size = logits.shape[-1]
    best = ops.max(logits, axis=-1, keepdims=True)
    places = ops.where(logits == best, ops.arange(size, dtype="int32"), size)
    # Where all are NaN: the last index, not one out of range.
    return ops.minimum(ops.min(places, axis=-1), size - 1), best[..., 0]


def keep_top_k(logits: Any, top_k: int | None) -> Any:
    """Returns logits with all but the `top_k` largest at -inf."""
    if top_k is None or top_k >= logits.shape[-1]:
        return logits
    return _keep_from(logits, ops.top_k(logits, top_k)[0][..., -1:])


def keep_top_p(logits: Any, top_p: float | None) -> Any:
    """Returns logits with all but the head that holds `top_p` at -inf."""
    if top_p is None or top_p == 1:
        return logits
    sorted_logits = ops.top_k(logits, logits.shape[-1])[0]
    probabilities = ops.softmax(sorted_logits, axis=-1)
    # A token stays while those before it hold less than `top_p`: the first
    # always does.
    before = ops.cumsum(probabilities, axis=-1) - probabilities
    kept = ops.where(before < top_p, sorted_logits, float("inf"))
    return _keep_from(logits, ops.min(kept, axis=-1, keepdims=True))


def keep_min_p(logits: Any, min_p: float | None) -> Any:
    """Returns logits with those below `min_p` of the best one at -inf."""
    if min_p is None:
        return logits
    best = ops.max(logits, axis=-1, keepdims=True)
    return _keep_from(logits, best + math.log(min_p))


def _keep_from(logits, threshold):
    return ops.where(logits >= threshold, logits, -float("inf"))
