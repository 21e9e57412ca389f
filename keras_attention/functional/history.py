"""Additive scores that see what has been attended to before.

Letters: B batch, Q queries, S key length, U units, W kernel_size, F filters.
"""

from typing import Any

from keras import ops


def location_features(alignment: Any, filters: Any, kernel: Any) -> Any:
    """Returns what each key sees of earlier weights around it, (B, Q, S, U).

        feature[s] = U (sum over w of filters[w] * alignment[s + w - W // 2])

    Beyond the ends the alignment is zero (Chorowski et al. 2015, arXiv
    1506.07503, 2.2).

    Args:
        alignment: float tensor (batch, queries, key_length).
        filters: float tensor (kernel_size, 1, filters), kernel_size odd.
        kernel: float tensor (filters, units), the U of the formula.
    """
    batch, queries, length = ops.shape(alignment)
    rows = ops.reshape(alignment, (batch * queries, length, 1))
    found = ops.conv(
        rows, filters, padding="same", data_format="channels_last"
    )  # (B * Q, S, F)
    shape = (batch, queries, length, filters.shape[-1])
    found = ops.reshape(found, shape)
    return ops.einsum("bqsf,fu->bqsu", found, kernel)


def additive_scores(query: Any, key: Any, features: Any, vector: Any) -> Any:
    """Returns vector . tanh(query + key + features), (B, Q, S).

    Args:
        query: float tensor (batch, queries, units).
        key: float tensor (batch, key_length, units).
        features: float tensor (batch, queries, key_length, units).
        vector: float tensor (units,).
    """
    # The gradient needs the tanh alone: no other (B, Q, S, U) is kept.
    pairs = ops.tanh(features + key[:, None] + query[:, :, None])
    return ops.einsum("bqsu,u->bqs", pairs, vector)
