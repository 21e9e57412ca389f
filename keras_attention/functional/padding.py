"""Zeros in place of padding, so that it may hold anything, even NaN.

A weight of zero is no protection: zero times NaN is NaN, in the output and in
the gradient of whatever made the padding.
"""

from keras import ops


def zero_padding(mask, query, key, value):
    """Returns query, key and value with zeros where the mask says padding.

    Args:
        mask: a `Mask` or None. Without one, and where it does not say which
            positions are real, the tensors themselves come back.
        query: tensor (batch, query_length, ...).
        key: tensor (batch, key_length, ...).
        value: tensor (batch, key_length, ...).
    """
    if mask is None:
        return query, key, value
    live_queries = mask.live_queries(ops.shape(query)[1])
    live_keys = mask.live_keys(ops.shape(key)[1])
    return (
        keep(query, live_queries),
        keep(key, live_keys),
        keep(value, live_keys),
    )


def keep(tensor, live):
    """Returns `tensor` with zeros where `live` is False; None keeps all.

    Args:
        tensor: tensor (batch, length, ...).
        live: boolean tensor (batch or 1, length or 1), or None.
    """
    if live is None:
        return tensor
    missing = len(tensor.shape) - len(live.shape)
    live = ops.expand_dims(live, axis=[-1 - axis for axis in range(missing)])
    return ops.where(live, tensor, ops.zeros((), tensor.dtype))
