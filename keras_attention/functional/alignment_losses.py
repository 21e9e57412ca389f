"""How far attention is from where it should look, position by position.

Functions of the weights that attention layers return. B is the batch, T the
target length, S the source length.
"""

from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.functional.precision import at_least_float32

KINDS = ("cross_entropy", "squared_error")
# What a weight of 0 counts as where the target says otherwise.
LEAST_WEIGHT = 1e-7


def guided_alignment_loss(
    weights: Any,
    target_mask: Any,
    source_mask: Any,
    alignment: Any,
    kind: str = "cross_entropy",
) -> Any:
    """Returns how much attention differs from alignments that are given.

    With a the weights, g the alignment and S the real source positions (Chen
    et al. 2016, arXiv 1607.01628, section 3.2; the types "ce" and "mse" of
    OpenNMT-tf):

        cross_entropy   loss[t] = -sum over s of g[t, s] log a[t, s]
        squared_error   loss[t] = 1/S sum over s of (g[t, s] - a[t, s])^2

    The entries of a row of g are divided by their sum first: a token that is
    aligned with n source positions looks at each with 1/n. A row of zeros
    tells nothing, so its loss is 0.

    Args:
        weights: float tensor (batch, target_length, source_length).
        target_mask: boolean (batch, target_length), True = a real token.
        source_mask: boolean (batch, source_length), True = a real position.
        alignment: tensor (batch, target_length, source_length) of numbers of
            at least 0, such as 0 and 1.
        kind: "cross_entropy" or "squared_error".

    Returns:
        Tensor (batch, target_length), of at least float32.

    Masking:
        0 where the target is not real. Weights and alignments of source
        positions that are not real do not count.

    Raises:
        ValueError: if `kind` is unknown, or the shape of `alignment` differs
            from that of `weights`.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import guided_alignment_loss
    >>> real = np.ones((1, 1), bool), np.ones((1, 2), bool)
    >>> weights, alignment = np.array([[[0.25, 0.75]]]), np.array([[[0, 1]]])
    >>> loss = guided_alignment_loss(weights, *real, alignment)
    >>> print(np.round(loss, 4))  # -log 0.75
    [[0.2877]]
    """
    validation.check_choice("kind", kind, KINDS)
    weights = at_least_float32(ops.convert_to_tensor(weights))
    _check_same_shape(alignment, weights)
    real = ops.cast(_both(target_mask, source_mask), weights.dtype)
    alignment = ops.cast(alignment, weights.dtype) * real  # (B, T, S)
    totals = ops.sum(alignment, axis=-1, keepdims=True)  # (B, T, 1)
    aligned = ops.divide_no_nan(alignment, totals)
    if kind == "cross_entropy":
        logarithms = ops.log(ops.maximum(weights, LEAST_WEIGHT))
        return -ops.sum(aligned * logarithms, axis=-1)  # (B, T)
    gaps = real * (aligned - weights) ** 2
    is_told = ops.cast(totals[..., 0] > 0, weights.dtype)  # (B, T)
    return is_told * _mean_over_real(gaps, real)


def diagonal_alignment(
    target_mask: Any, source_mask: Any, width: float = 0.2
) -> Any:
    """Returns alignments near the diagonal, for pairs told in the same order.

    With T and S the real lengths of a pair (Tachibana et al. 2017, arXiv
    1710.08969, section 4.1, whose W is 1 minus this):

        alignment[t, s] = exp(-(s / S - t / T)^2 / (2 width^2))

    A target for `guided_alignment_loss` where nobody knows better, and the
    measure of `diagonal_alignment_loss`.

    Args:
        target_mask: boolean (batch, target_length), True = a real token.
        source_mask: boolean (batch, source_length), True = a real position.
        width: number above 0: the standard deviation, in parts of a length.

    Returns:
        float32 tensor (batch, target_length, source_length), 0 where target
        or source is not real.

    Raises:
        ValueError: if `width` is not above 0.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import diagonal_alignment
    >>> real = np.ones((1, 2), bool)
    >>> print(np.round(diagonal_alignment(real, real, width=0.5), 4))
    [[[1.     0.6065]
      [0.6065 1.    ]]]
    """
    validation.check_positive_number("width", width)
    targets = _relative_places(target_mask)[:, :, None]  # (B, T, 1)
    sources = _relative_places(source_mask)[:, None]  # (B, 1, S)
    found = ops.exp(-((sources - targets) ** 2) / (2.0 * width**2))
    both = _both(target_mask, source_mask)  # (B, T, S)
    return ops.where(both, found, ops.zeros_like(found))


def diagonal_alignment_loss(
    weights: Any, target_mask: Any, source_mask: Any, width: float = 0.2
) -> Any:
    """Returns how much attention lies away from the diagonal.

    Guided attention of Tachibana et al. 2017, arXiv 1710.08969, section 4.1,
    for speech and other pairs told in the same order. With S the real source
    positions; the paper's loss is the mean over the real t:

        loss[t] = 1/S sum over s of weights[t, s] (1 - alignment[t, s])

    Args:
        weights: float tensor (batch, target_length, source_length).
        target_mask: boolean (batch, target_length), True = a real token.
        source_mask: boolean (batch, source_length), True = a real position.
        width: as in `diagonal_alignment`, which makes the alignment.

    Returns:
        Tensor (batch, target_length), of at least float32.

    Masking:
        0 where the target is not real. Weights of source positions that are
        not real do not count.

    Raises:
        ValueError: if `width` is not above 0.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import diagonal_alignment_loss
    >>> real = np.ones((1, 2), bool)
    >>> loss = diagonal_alignment_loss(np.eye(2)[None], real, real)
    >>> print(np.round(loss, 4))
    [[0. 0.]]
    """
    weights = at_least_float32(ops.convert_to_tensor(weights))
    alignment = diagonal_alignment(target_mask, source_mask, width)
    real = ops.cast(_both(target_mask, source_mask), weights.dtype)
    away = real * (1.0 - ops.cast(alignment, weights.dtype))  # (B, T, S)
    return _mean_over_real(weights * away, real)


def _relative_places(mask):
    """Returns float32 (B, L): index over the number of real positions."""
    mask = ops.cast(mask, "float32")  # (B, L)
    lengths = ops.maximum(ops.sum(mask, axis=1, keepdims=True), 1.0)
    # Counts real positions, so that padding in front does not matter either.
    return (ops.cumsum(mask, axis=1) - 1.0) / lengths


def _both(target_mask, source_mask):
    target_mask = ops.cast(target_mask, "bool")[:, :, None]  # (B, T, 1)
    return ops.logical_and(target_mask, ops.cast(source_mask, "bool")[:, None])


def _mean_over_real(values, real):
    """Returns the mean over S of (B, T, S) values that are 0 elsewhere."""
    return ops.divide_no_nan(ops.sum(values, axis=-1), ops.sum(real, axis=-1))


def _check_same_shape(alignment, weights):
    given, wanted = map(validation.shape_of, (alignment, weights))
    fits = len(given) == len(wanted) and all(
        a == b or None in (a, b) for a, b in zip(given, wanted, strict=True)
    )
    if not fits:
        raise ValueError(
            "`alignment` must have shape (batch, target_length, "
            f"source_length)={wanted}. Received: alignment.shape={given}. Its "
            "rows are those of the labels, EOS counted."
        )
