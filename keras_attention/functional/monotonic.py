"""The maths of monotonic attention: alignments that only move on.

Letters: S key_length, W chunk_size. Leading axes are free.
"""

from typing import Any

from keras import ops

from keras_attention.functional.custom_gradient import first_order_only
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.softmax import attention_weights


def monotonic_alignment(probabilities: Any, previous: Any) -> Any:
    """Returns where a query stops that walks on from where the last stopped.

    It starts at the key where the query before it stopped, stops at a key
    with the probability of that key, and otherwise goes on to the next. In
    the letters of Raffel et al. 2017 (arXiv 1704.00784, equations 8 to 10)

        q[j]     = (1 - p[j - 1]) * q[j - 1] + previous[j]
        alpha[j] = p[j] * q[j]

    where q[j] is the probability that it gets as far as key j. This linear
    recurrence is computed by doubling, in ceil(log2(key_length)) passes,
    without a division: nothing is clipped, and probabilities of exactly 0 and
    1 are as good as any. With these alone, and with a `previous` of one key,
    the result is the first key at or after it whose probability is 1.

    Args:
        probabilities: float32 or float64 tensor (..., key_length) in [0, 1]:
            those of stopping at each key. 0 at keys that must not be chosen.
        previous: tensor of the same shape and dtype, the alignment of the
            query before; 1 at the first key and 0 elsewhere before the first
            query.

    Returns:
        Tensor of the shape and dtype of `probabilities`. Its sum is that of
        `previous` less what walks past the last key.
    """
    goes_on = _later(1 - probabilities, 1)
    return probabilities * _linear_recurrence(goes_on, previous)


def chunk_alignment(
    monotonic: Any,
    scores: Any,
    chunk_size: int,
    visible: Any = None,
    normalizer: Normalizer = "softmax",
) -> Any:
    """Spreads a monotonic alignment over the chunk that ends at each key.

    Monotonic chunkwise attention (Chiu & Raffel 2018, arXiv 1712.05382,
    equation 17), with w = chunk_size and scores u:

        beta[j] = sum over k = j, ..., j + w - 1 of
                  alpha[k] * exp(u[j]) / sum over l = k - w + 1, ..., k of
                                         exp(u[l])

    Each chunk has a softmax of its own, safe whatever the other scores are.

    Args:
        monotonic: float32 or float64 tensor (batch, queries, key_length), what
            `monotonic_alignment` returned.
        scores: tensor of the same shape and dtype, finite where visible.
        chunk_size: number of keys in a chunk, a positive integer.
        visible: boolean tensor that broadcasts to it, True = may attend, or
            None.
        normalizer: what makes weights of the scores of a chunk, see
            `functional.attend`.

    Returns:
        Tensor of the shape and dtype of `monotonic`.
    """
    before = range(chunk_size - 1, -1, -1)  # how far from the end of a chunk
    chunks = ops.stack([_later(scores, by) for by in before], axis=-1)
    exists = ops.ones_like(scores, dtype="bool")
    if visible is not None:
        exists = ops.logical_and(exists, visible)
    exists = ops.stack([_later(exists, by) for by in before], axis=-1)
    weights = attention_weights(
        chunks,
        visible=exists,
        normalizer=normalizer,
    )  # (B, Q, S, W)
    found = monotonic[..., None] * weights
    return sum(
        _earlier(found[..., column], by) for column, by in enumerate(before)
    )  # (B, Q, S)


def _later(tensor, by):
    """Returns entry j - by at key j; zeros, False, before the first key."""
    if by == 0:
        return tensor
    edges = [(0, 0)] * (len(tensor.shape) - 1)
    return ops.pad(tensor, [*edges, (by, 0)])[..., :-by]


def _earlier(tensor, by):
    """Returns entry j + by at key j, zeros after the last key."""
    if by == 0:
        return tensor
    edges = [(0, 0)] * (len(tensor.shape) - 1)
    return ops.pad(tensor, [*edges, (0, by)])[..., by:]


def _solve(decay, added):
    """Returns x with x[j] = decay[j] * x[j - 1] + added[j], x[-1] = 0."""
    length = decay.shape[-1]
    if length is None:
        return _solve_unknown_length(decay, added)
    reach = 1
    while reach < length:
        added = added + decay * _later(added, reach)
        decay = decay * _later(decay, reach)
        reach *= 2
    return added


def _solve_unknown_length(decay, added):
    # The length is one of a graph that TensorFlow traces.
    length = ops.shape(decay)[-1]
    index = ops.arange(length, dtype="int32")

    def later(tensor, by):
        moved = ops.take(tensor, ops.maximum(index - by, 0), axis=-1)
        return ops.where(index >= by, moved, ops.zeros_like(moved))

    def double(reach, decay, added):
        added = added + decay * later(added, reach)
        return 2 * reach, decay * later(decay, reach), added

    _, _, added = ops.while_loop(
        lambda reach, *_: reach < length, double, (1, decay, added)
    )
    return added


def _solve_with_residuals(decay, added):
    solution = _solve(decay, added)
    return solution, (solution,)


def _gradient(decay, added, solution, upstream):
    # The same recurrence, from the last key to the first.
    added_gradient = ops.flip(
        _solve(
            ops.flip(_earlier(decay, 1), axis=-1), ops.flip(upstream, axis=-1)
        ),
        axis=-1,
    )
    return added_gradient * _later(solution, 1), added_gradient


# By hand, because XLA cannot differentiate a loop without a known bound, and
# so that the passes need not be kept.
_linear_recurrence = first_order_only(
    _solve_with_residuals,
    _gradient,
    error="The alignment of monotonic attention has no second derivative. "
    "Take first derivatives of it only.",
)
