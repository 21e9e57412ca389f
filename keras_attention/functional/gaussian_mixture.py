"""The maths of attention by a mixture of Gaussians over key positions.

Letters: B batch, Q queries, M num_mixtures, S key_length.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_attention.functional.softmax import masked_softmax

# Added to each width: as it goes to zero, so would a divisor.
LEAST_WIDTH = 0.01


@dataclasses.dataclass(frozen=True)
class MixtureVersion:
    """How unbounded numbers become parameters, a column of the paper's table.

    Args:
        weight: function of a tensor (..., num_mixtures), the omega.
        step: function of a tensor, the Delta by which a mean moves on.
        width: function of a tensor, the sigma.
        step_inverse: the inverse of `step`, of a number.
        width_inverse: the inverse of `width`, of a number.
        is_density: whether each Gaussian is divided by its integral, Z.
    """

    weight: Callable
    step: Callable
    width: Callable
    step_inverse: Callable
    width_inverse: Callable
    is_density: bool


def _softplus_inverse(number: float) -> float:
    # Not log(expm1(x)), which overflows.
    return number + math.log(-math.expm1(-number))


# Battenberg et al. 2020, table 1. The first is that of Graves 2013.
VERSIONS = {
    "v0": MixtureVersion(
        weight=ops.exp,
        step=ops.exp,
        width=lambda x: ops.exp(-x / 2) / math.sqrt(2),
        step_inverse=math.log,
        width_inverse=lambda width: -math.log(2 * width**2),
        is_density=False,
    ),
    "v1": MixtureVersion(
        weight=masked_softmax,
        step=ops.exp,
        width=lambda x: ops.exp(x / 2),
        step_inverse=math.log,
        width_inverse=lambda width: 2 * math.log(width),
        is_density=True,
    ),
    "v2": MixtureVersion(
        weight=masked_softmax,
        step=ops.softplus,
        width=ops.softplus,
        step_inverse=_softplus_inverse,
        width_inverse=_softplus_inverse,
        is_density=True,
    ),
}


def gaussian_mixture_weights(
    parameters: Any, previous_mean: Any, key_length: Any, version: str = "v2"
) -> tuple:
    """Returns the weights of keys by their positions, and the new means.

        mean[k]   = previous_mean[k] + step[k]
        weight[j] = sum over k of omega[k] / Z[k]
                    * exp(-(j - mean[k])^2 / (2 width[k]^2))

    (Graves 2013, arXiv 1308.0850, equations 46 to 51; Battenberg et al. 2020,
    arXiv 1910.10288, equation 6 and table 1.) Keys have positions j = 1, 2,
    ..., so that a mean of 0 is before the first. The weights do not sum to
    one.

    Args:
        parameters: float32 or float64 tensor (batch, queries, 3,
            num_mixtures): of each Gaussian the numbers that become its weight
            omega, its step and its width.
        previous_mean: tensor (batch, queries, num_mixtures) of that dtype, the
            means before.
        key_length: number of keys, an integer or a scalar tensor.
        version: "v0", "v1" or "v2", a key of `VERSIONS`.

    Returns:
        The weights (batch, queries, key_length) and the means (batch, queries,
        num_mixtures).
    """
    rules = VERSIONS[version]
    height = rules.weight(parameters[:, :, 0])  # (B, Q, M)
    mean = previous_mean + rules.step(parameters[:, :, 1])  # (B, Q, M)
    width = rules.width(parameters[:, :, 2]) + LEAST_WIDTH  # (B, Q, M)
    if rules.is_density:
        height = height / (math.sqrt(2 * math.pi) * width)
    position = ops.cast(1 + ops.arange(key_length), mean.dtype)
    # Divided first: the squares of great distances and widths overflow.
    distance = (position - mean[..., None]) / width[..., None]  # (B, Q, M, S)
    gaussians = ops.exp(-ops.square(distance) / 2)
    return ops.sum(height[..., None] * gaussians, axis=2), mean
