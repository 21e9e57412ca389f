"""The difference of two attentions (Differential Transformer)."""

from typing import Any

from keras import ops

from keras_attention.functional.attention import attend
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.precision import at_least_float32


def differential_attend(
    *,
    query: Any,
    key: Any,
    value: Any,
    subtracted: Any,
    mask: Any = None,
    dropout: Dropout | None = None,
    return_weights: bool = False,
) -> tuple:
    """Attends twice, and subtracts a share of the second from the first.

        weight = softmax(q_1 k_1^T / sqrt(key_dim))
                 - subtracted * softmax(q_2 k_2^T / sqrt(key_dim))

    (Ye et al. 2024, arXiv 2410.05258, equation 1.) A sum over keys is linear
    in the weights, so each term is one `attend`, which builds no weights
    unless they are asked for.

    Args:
        query: float tensor (batch, query_length, 2, num_heads, key_dim).
        key: float tensor (batch, key_length, 2, num_heads, key_dim).
        value: float tensor (batch, key_length, num_heads, value_dim).
        subtracted: number or scalar tensor, the paper's lambda.
        mask: as in `attend`.
        dropout: a `Dropout`, whose choice both terms share, so that it drops
            weights of the difference; or None.
        return_weights: whether to return the weights.

    Returns:
        Tensor (batch, query_length, num_heads, value_dim) and the weights
        before dropout (batch, num_heads, query_length, key_length), or None.
        Both are at least float32: a difference keeps few digits.

    Masking:
        A query with nothing to attend to has zero weights and zero output.
    """
    terms = [
        attend(
            query=query[:, :, term],
            key=key[:, :, term],
            value=value,
            mask=mask,
            dropout=dropout,
            return_weights=return_weights,
        )
        for term in range(2)
    ]
    if not return_weights:
        terms = [(output, None) for output in terms]
    (output, weights), (other, other_weights) = terms
    output = _difference(output, other, subtracted)
    if return_weights:
        weights = _difference(weights, other_weights, subtracted)
    return output, weights


def subtracted_share(query: Any, key: Any, initial: float) -> Any:
    """Returns lambda: exp(q_1 . k_1) - exp(q_2 . k_2) + initial (equation 2).

    Args:
        query: (2, width), what is learned.
        key: (2, width), what is learned.
        initial: what lambda is near before training.
    """
    exponentials = ops.exp(ops.sum(query * key, axis=-1))  # (2,)
    return exponentials[0] - exponentials[1] + initial


def _difference(first, second, share):
    first, second = at_least_float32(first), at_least_float32(second)
    return first - ops.cast(share, first.dtype) * second
