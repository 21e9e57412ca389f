"""The keys and values that a decoder block keeps from step to step.

Those of the target have positions as the first axis, so that a step writes
one block of memory and leaves the rest alone. Letters: T target positions, B
batch, K slots, S source length, N heads, H key_dim.
"""

from keras import ops

from keras_attention.functional.cached import PARTS
from keras_attention.functional.cached import attend_to_own
from keras_attention.functional.cached import attend_to_shared

PROJECTIONS = ("query", "key", "value")


def start_self(attention, batch, max_length, slots):
    """Returns the empty cache of a self-attention.

    Returns:
        `key` and `value` (T, B, K, N, H), zeros, with T as `max_length` or a
        few more; and, where the layer's weights are plain numbers, `kernel`
        and `bias`: those of its three projections side by side, since one
        product is faster than three.
    """
    length = -(-max_length // PARTS) * PARTS
    shape = (length, batch, slots, attention.num_heads, attention.key_dim)
    empty = ops.zeros(shape, dtype=attention.compute_dtype)
    return {"key": empty, "value": empty, **_joined_weights(attention)}


def start_cross(attention, encoded):
    """Returns `cross_key` and `cross_value`, each (B, N, S, H)."""
    key, value = attention.project_key_value(encoded)  # (B, S, N, H)
    return {
        "cross_key": ops.swapaxes(key, 1, 2),
        "cross_value": ops.swapaxes(value, 1, 2),
    }


def attend_to_self(attention, inputs, state, index, ancestors=None):
    """Writes position `index` of each slot and attends to those up to it.

    Args:
        attention: the `MultiHeadAttention`.
        inputs: (B, K, width).
        state: a dict that holds what `start_self` returned.
        index: scalar integer tensor.
        ancestors: integer tensor (B, K, max_length), the slot that holds the
            history of each slot at each position. None: its own.

    Returns:
        The output (B, K, width), and the new `key` and `value`.
    """
    query, key, value = _project(attention, inputs, state)  # (B, K, N, H)
    written = {
        "key": _write(state["key"], key, index),
        "value": _write(state["value"], value, index),
    }
    length = state["key"].shape[0]
    if ancestors is not None:
        unused = length - ancestors.shape[-1]
        ancestors = ops.pad(ancestors, ((0, 0), (0, 0), (0, unused)))
    positions = ops.arange(length, dtype="int32")
    output = attend_to_own(
        query=query,
        key=_history(written["key"], ancestors),
        value=_history(written["value"], ancestors),
        visible=positions <= index,
    )
    return attention.output_dense(output), written


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
    output, weights = attend_to_shared(
        query=attention.query_dense(inputs),
        key=state["cross_key"],
        value=state["cross_value"],
        visible=source_mask[:, None, None],
    )
    return attention.output_dense(output), weights


def move_slots(cache, parents):
    """Returns a cache (T, B, K, N, H) whose slot k is what `parents` was."""
    length = cache.shape[0]
    return _history(cache, ops.repeat(parents[..., None], length, axis=-1))


def _write(cache, new, index):
    """Puts (B, K, N, H) `new` at position `index` of (T, B, K, N, H)."""
    # A scatter is the one update that TensorFlow, a stock server and XLA all
    # make in place; `slice_update` is an XLA operation on TensorFlow.
    return ops.scatter_update(cache, ops.reshape(index, (1, 1)), new[None])


def _history(cache, ancestors):
    """Returns what each slot descends from, (T, B, K, N, H)."""
    if ancestors is None:
        return cache
    length, batch, slots, heads, width = ops.shape(cache)
    rows = ops.arange(length * batch, dtype="int32") * slots
    rows = ops.reshape(rows, (length, batch, 1))
    rows = rows + ops.transpose(ops.cast(ancestors, "int32"), (2, 0, 1))
    flat = ops.reshape(cache, (length * batch * slots, heads * width))
    chosen = ops.take(flat, rows, axis=0)  # (T, B, K, N * H)
    return ops.reshape(chosen, (length, batch, slots, heads, width))


def _layers(attention):
    return [getattr(attention, f"{name}_dense") for name in PROJECTIONS]


def _joined_weights(attention):
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
    rows = ops.reshape(inputs, (-1, width))  # (B * K, U)
    joined = ops.matmul(rows, state["kernel"]) + state["bias"]
    heads = (batch, slots, 3, attention.num_heads, attention.key_dim)
    joined = ops.reshape(joined, heads)
    return [joined[:, :, part] for part in range(3)]
