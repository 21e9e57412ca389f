"""The keys and values that a decoder block keeps from step to step.

They lie as the products of a step read them: keys with the positions last,
values with the width last. To bring them into that order at each step would
cost more than the attention itself. Letters: B batch, T max_length, K slots,
S source length, N heads, H key_dim.
"""

from keras import ops

from keras_attention.functional.cached import attend_cached

PROJECTIONS = ("query", "key", "value")


def start_self(attention, batch, max_length, slots):
    """Returns the empty cache of a self-attention.

    Returns:
        `key` (B, N, H, T, K) and `value` (B, N, T, K, H), zeros; and, where
        the layer's weights are plain numbers, `kernel` and `bias`: those of
        its three projections side by side, since one product of their width
        is faster than three.
    """
    heads, width = attention.num_heads, attention.key_dim
    dtype = attention.compute_dtype
    empty = {
        "key": ops.zeros((batch, heads, width, max_length, slots), dtype),
        "value": ops.zeros((batch, heads, max_length, slots, width), dtype),
    }
    return {**empty, **_fused(attention)}


def start_cross(attention, encoded):
    """Returns `cross_key` (B, N, H, S) and `cross_value` (B, N, S, H)."""
    key, value = attention.project_key_value(encoded)  # (B, S, N, H)
    return {
        "cross_key": ops.transpose(key, (0, 2, 3, 1)),
        "cross_value": ops.transpose(value, (0, 2, 1, 3)),
    }


def attend_to_self(attention, inputs, state, index, visible):
    """Writes position `index` of each slot and attends to the cache.

    Args:
        attention: the `MultiHeadAttention`.
        inputs: (B, K, width).
        state: a dict that holds what `start_self` returned.
        index: scalar integer tensor.
        visible: boolean (B or 1, K, T, K): which entry each slot may see.

    Returns:
        The output (B, K, width), and the new `key` and `value`.
    """
    query, key, value = _project(attention, inputs, state)  # (B, K, N, H)
    new_key = ops.transpose(key, (0, 2, 3, 1))[:, :, :, None]
    new_value = ops.transpose(value, (0, 2, 1, 3))[:, :, None]
    # `where` over the whole cache, since an update in place is an XLA
    # operation on TensorFlow, which a stock server refuses.
    max_length, slots = state["key"].shape[3:]
    here = ops.equal(ops.arange(max_length, dtype="int32"), index)[:, None]
    key = ops.where(here, new_key, state["key"])  # (B, N, H, T, K)
    value = ops.where(here[..., None], new_value, state["value"])
    batch, heads, width = ops.shape(key)[:3]
    places = max_length * slots
    output, _ = attend_cached(
        query=query,
        key=ops.reshape(key, (batch, heads, width, places)),
        value=ops.reshape(value, (batch, heads, places, width)),
        visible=ops.reshape(visible, (-1, 1, slots, places)),
    )
    return attention.output_dense(output), {"key": key, "value": value}


def attend_to_source(attention, inputs, state, source_mask):
    """Attends to the source, whose keys and values all slots share.

    Args:
        attention: the `MultiHeadAttention`.
        inputs: (B, K, width).
        state: a dict that holds what `start_cross` returned.
        source_mask: boolean (B, S).

    Returns:
        The output (B, K, width), and the weights (B, N, K, S).
    """
    output, weights = attend_cached(
        query=attention.query_dense(inputs),
        key=state["cross_key"],
        value=state["cross_value"],
        visible=source_mask[:, None, None],
    )
    return attention.output_dense(output), weights


def _layers(attention):
    return [getattr(attention, f"{name}_dense") for name in PROJECTIONS]


def _fused(attention):
    layers = _layers(attention)
    if any(layer.quantization_mode for layer in layers):
        return {}  # an integer product is the layer's own
    kernels = [ops.reshape(d.kernel, (d.kernel.shape[0], -1)) for d in layers]
    biases = [ops.reshape(d.bias, (-1,)) for d in layers]
    dtype = attention.compute_dtype
    return {
        "kernel": ops.cast(ops.concatenate(kernels, axis=1), dtype),
        "bias": ops.cast(ops.concatenate(biases, axis=0), dtype),
    }


def _project(attention, inputs, state):
    """Returns query, key and value, each (B, K, N, H)."""
    if "kernel" not in state:
        return [layer(inputs) for layer in _layers(attention)]
    batch, slots, width = ops.shape(inputs)
    rows = ops.reshape(inputs, (-1, inputs.shape[-1]))
    joined = ops.matmul(rows, state["kernel"]) + state["bias"]
    heads = (batch, slots, 3, attention.num_heads, attention.key_dim)
    joined = ops.reshape(joined, heads)
    return [joined[:, :, part] for part in range(3)]
