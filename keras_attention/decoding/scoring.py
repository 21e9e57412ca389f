"""How a hypothesis is scored."""

from keras import ops


def length_divisor(lengths, length_penalty):
    """Returns ((5 + n) / 6)^length_penalty (Wu et al. 2016, equation 14)."""
    lengths = ops.cast(lengths, "float32")
    return ops.power((5.0 + lengths) / 6.0, float(length_penalty))


def coverage_reward(coverage, source_mask, coverage_penalty):
    """Returns coverage_penalty * sum_s log(min(coverage_s, 1)), at most 0.

    Args:
        coverage: shape (B, K, S), attention summed over the target so far.
        source_mask: boolean, shape (B, S), True = a real position.
        coverage_penalty: number of at least 0.

    Returns:
        Tensor of shape (B, K). A position without any attention counts as
        one with 1e-6, so that it costs much but not everything.
    """
    logarithms = ops.log(ops.clip(coverage, 1e-6, 1.0))
    real = source_mask[:, None]  # (B, 1, S)
    logarithms = ops.where(real, logarithms, ops.zeros_like(logarithms))
    return coverage_penalty * ops.sum(logarithms, axis=-1)
