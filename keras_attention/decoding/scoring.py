"""How hypotheses are scored, and how to score sequences that are given."""

from typing import Any

from keras import ops

from keras_attention.special_ids import PAD_ID as PAD


def token_log_probabilities(logits: Any, tokens: Any) -> Any:
    """Returns the log probability of each given token.

    Args:
        logits: shape (..., target_length, vocabulary), from the teacher-forced
            pass whose input is BOS and the tokens but the last.
        tokens: integer tensor of shape (..., target_length), PAD after EOS.

    Returns:
        float32 tensor of shape (..., target_length), 0 at PAD.
    """
    logits = ops.cast(logits, "float32")
    tokens = ops.cast(tokens, "int32")
    log_probabilities = ops.take_along_axis(
        ops.log_softmax(logits, axis=-1), tokens[..., None], axis=-1
    )[..., 0]
    return ops.where(tokens == PAD, 0.0, log_probabilities)


def score_tokens(logits: Any, tokens: Any, length_penalty: float = 0.0) -> Any:
    """Returns the score that `Beam` gives to each of these sequences.

    The sum of log probabilities over ((5 + n) / 6)^length_penalty, where n
    counts the tokens that are not PAD (Wu et al. 2016, equation 14, without
    coverage).

    Args:
        logits: shape (..., target_length, vocabulary), from the teacher-forced
            pass whose input is BOS and the tokens but the last.
        tokens: integer tensor of shape (..., target_length), PAD after EOS.
        length_penalty: exponent, at least 0.

    Returns:
        float32 tensor of shape (...).

    Example:

    >>> import numpy as np
    >>> from keras_attention.decoding import score_tokens
    >>> scores = score_tokens(np.zeros((1, 2, 4)), np.array([[3, 2]]))
    >>> print(np.round(scores, 4))  # 2 log(1/4)
    [-2.7726]
    """
    total = ops.sum(token_log_probabilities(logits, tokens), axis=-1)
    lengths = ops.sum(ops.cast(ops.not_equal(tokens, PAD), "int32"), axis=-1)
    return total / length_divisor(lengths, length_penalty)


def length_divisor(lengths: Any, length_penalty: float) -> Any:
    """Returns ((5 + n) / 6)^length_penalty (Wu et al. 2016, equation 14)."""
    lengths = ops.cast(lengths, "float32")
    return ops.power((5.0 + lengths) / 6.0, float(length_penalty))


def coverage_reward(
    coverage: Any, source_mask: Any, coverage_penalty: float
) -> Any:
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
