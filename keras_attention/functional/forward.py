"""Weights that stay where they were or move on by one key.

Letters: B batch, Q queries, S key length.
"""

from typing import Any

import numpy as np
from keras import ops


def forward_prior(alignment: Any, transition: Any = None) -> Any:
    """Returns where the weights may be next, (B, Q, S).

        prior[n] = (1 - u) alignment[n] + u alignment[n - 1]

    (Zhang et al. 2018, arXiv 1807.06736, algorithm 2; without u, algorithm 1,
    it is the sum of the two.)

    Args:
        alignment: float tensor (batch, queries, key_length), the weights
            before.
        transition: float tensor (batch, queries), the u of the formula; or
            None.
    """
    moved = ops.pad(alignment, ((0, 0), (0, 0), (1, 0)))[..., :-1]  # (B, Q, S)
    if transition is None:
        return alignment + moved
    transition = transition[..., None]  # (B, Q, 1)
    return (1 - transition) * alignment + transition * moved


def log_prior(prior: Any) -> tuple[Any, Any]:
    """Returns the logarithm of a prior, and where there is one.

    The softmax of scores plus the logarithm, over the places with a prior, is
    prior * exp(score) made to sum to one, and nothing underflows.
    """
    has_prior = prior >= np.finfo("float32").tiny
    # The unused branch must be finite: its gradient is multiplied by zero.
    safe = ops.where(has_prior, prior, ops.ones_like(prior))
    return ops.log(safe), has_prior


def reweighted(weights: Any, prior: Any) -> Any:
    """Returns prior * weights made to sum to one; zeros where all are zero."""
    weights = weights * prior
    total = ops.sum(weights, axis=-1, keepdims=True)
    has_some = total >= np.finfo("float32").tiny
    safe = ops.where(has_some, total, ops.ones_like(total))
    return ops.where(has_some, weights / safe, ops.zeros_like(weights))
