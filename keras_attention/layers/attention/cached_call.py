"""A call of an attention with a cache, and the steps of a decoder.

The attention is a `MultiHeadAttention`, or a `LatentAttention`, which has the
same methods for it. Attention to a source is that of the former alone.

Letters: B batch, Q slots (beams), L new positions, S positions seen, N heads,
H width of a head.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import padding
from keras_attention.functional.positions import positions_from
from keras_attention.functional.step import PARTS
from keras_attention.functional.step import SharedKeys
from keras_attention.functional.step import attend_step
from keras_attention.layers.attention import head_projections
from keras_attention.layers.attention.call_masks import check_sequence_mask
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.cache import taken
from keras_attention.layers.cache_checks import check_lengths
from keras_attention.layers.cache_span import AfterPadding
from keras_attention.layers.cache_span import shifted
from keras_attention.masks.booleans import as_boolean


def call(
    attention: Any,
    query: Any,
    value: Any,
    key: Any,
    given: dict,
    cache: dict,
    index: Any,
    *,
    use_causal_mask: bool,
    training: bool | None,
    return_attention_scores: bool,
) -> tuple:
    """Writes the new positions and attends to all that the cache then holds.

    Args:
        attention: the layer.
        query: (B, L, width).
        value: (B, L, width).
        key: (B, L, width).
        given: the masks of the call by name.
        cache: the cache.
        index: position of the first new one.
        use_causal_mask: as in the call.
        training: as in the call.
        return_attention_scores: as in the call.

    Returns:
        The output (B, L, output width), the weights or None, and the cache.
    """
    layout, length = attention.cache_layout, query.shape[1]
    layout.check(cache, index, query)
    check_lengths(query, value=value, key=key)
    index = index if isinstance(index, int) else ops.cast(index, "int32")
    kept = None if layout.is_ring else cache["key"].shape[0]
    shape = (query.shape[0], attention.num_heads, length, kept)
    real = mask_for(shape, query_mask=given.pop("query_mask"))
    mask = mask_for(shape, attention_mask=given.pop("attention_mask"))
    query = _real_queries(query, masks.combine_masks(real, mask))
    given = _checked(given, query, kept)
    value, key = _zero_padding(value, key, given, index, length)
    heads = attention.project_query(query)
    key, value = attention.project_key_value(value, key)
    heads, key = attention.rotate(heads, key, index, index)
    is_step = length == 1 and not attention.overrides_attention
    if is_step:
        span, seen = layout.span_of_step(cache, index), cache["key"].shape[0]
    else:
        key, value, span, cache = layout.extend(key, value, cache, index)
        seen = ops.shape(key)[1]
    mask = masks.combine_masks(
        real,
        shifted(mask, span),
        *(_counted_by(span, given[n], length, seen) for n in given),
        *attention.positional_masks(use_causal_mask, span.offset),
    )
    bias = attention.bias(heads, query_offset=span.offset)
    if is_step:
        options = {"mask": mask, **bias, **attention.score_options(training)}
        output, scores, cache = layout.step(
            heads, key, value, cache, span, index, **options
        )
        scores = scores if return_attention_scores else None
    else:
        mask = masks.combine_masks(mask, span.filled)
        output, scores = attention._compute_attention(
            heads, key, value, mask, training, return_attention_scores, **bias
        )
    return attention.output_of(output, query), scores, cache


@dataclasses.dataclass(frozen=True, eq=False)
class _KeyMask:
    """A mask (B, length) of the keys, of the new ones or of all positions.

    In a call the width tells which; one that is given so, as by `extend`, may
    be as wide as the cache and yet of the new ones.
    """

    mask: Any
    is_of_new: bool


def _checked(given, query, kept):
    """Returns the masks of the keys by name, those that are given."""
    checked = {}
    for name, mask in given.items():
        if mask is None:
            continue
        if isinstance(mask, _KeyMask):
            mask, is_of_new = mask.mask, mask.is_of_new
        else:
            width = validation.shape_of(mask)[-1]
            new = query.shape[1]
            is_of_new = width == new if kept is None else width != kept
        if is_of_new:
            check_sequence_mask(name, mask, query.shape[:2])
        else:
            check_sequence_mask(name, mask, (query.shape[0], kept))
        mask = ops.convert_to_tensor(as_boolean(name, mask))
        checked[name] = _KeyMask(mask, is_of_new)
    return checked


def _real_queries(query, mask):
    """Returns the queries with zeros at padding, as a call without a cache."""
    if mask is None:
        return query
    return padding.keep(query, mask.query_padding(ops.shape(query)[1]))


def _zero_padding(value, key, given, index, length):
    """Returns the new inputs with zeros at padding, which is never cached."""
    live = None
    for mask in given.values():
        part = mask.mask
        if not mask.is_of_new:
            last = ops.shape(part)[1] - 1
            place = positions_from(index, ops.shape(value)[1])
            part = taken(part, ops.clip(place, 0, last))
        live = part if live is None else ops.logical_and(live, part)
    kept = padding.keep(value, live)
    return kept, kept if key is value else padding.keep(key, live)


def _counted_by(span, mask, length, seen):
    """Returns a `_KeyMask` as a mask of `seen` keys, as `span` counts them."""
    if not mask.is_of_new:
        return shifted(padding.zeroed(masks.Padding(mask.mask)), span)
    place = positions_from(-ops.cast(span.offset, "int32"), seen)
    is_new = ops.logical_and(place >= 0, place < ops.shape(mask.mask)[1])
    last = ops.shape(mask.mask)[1] - 1
    real = taken(mask.mask, ops.clip(place, 0, last))  # (B, S)
    real = ops.logical_or(ops.logical_not(is_new), real)
    return padding.zeroed(masks.Padding(real))


# --- the steps of a decoder ---------------------------------------------------


def start(attention: Any, batch_size: Any, max_length: Any, slots: int) -> dict:
    """Returns the state of a self-attention before the first step.

    Returns:
        The empty cache, with a few positions more where its sums are faster
        so; and, where the layer's weights are plain numbers, `kernel` and
        `bias`: the concatenated kernel and bias of query, key and value,
        since one product is faster than three.
    """
    empty = attention.cache_layout.empty(
        batch_size, max_length, slots, multiple_of=PARTS
    )
    return {**empty, **_joined_weights(attention)}


def extend(
    attention: Any,
    inputs: Any,
    state: dict,
    index: Any,
    inputs_mask: Any = None,
) -> tuple:
    """Writes several positions of one slot, and attends to those up to each.

    Args:
        attention: the layer.
        inputs: (B, L, width).
        state: what `start` or the last step returned, of one slot.
        index: position of the first, an integer, a scalar or one per row
            (B,).
        inputs_mask: boolean (B, L), False where a position is padding, which
            no other ever sees.

    Returns:
        The output (B, L, width), and the new state.
    """
    if inputs_mask is not None:
        inputs_mask = _KeyMask(inputs_mask, is_of_new=True)
    output, cache = attention(
        inputs,
        inputs,
        value_mask=inputs_mask,
        use_causal_mask=True,
        cache={name: state[name] for name in attention.cache_layout.names},
        cache_index=index,
    )
    return output, {**state, **cache}


def step(
    attention: Any,
    inputs: Any,
    state: dict,
    index: Any,
    ancestors: Any = None,
    padding: Any = None,
) -> tuple:
    """Writes position `index` of each slot and attends to those up to it.

    Args:
        attention: the layer.
        inputs: (B, Q, width).
        state: what `start` or the last step returned.
        index: scalar integer tensor, the position.
        ancestors: integer tensor (B, Q, max_length), the slot that holds the
            history of each slot at each position. None: its own.
        padding: integer tensor (B,), how many positions at the beginning of
            each row are padding. None: none.

    Returns:
        The output (B, Q, width), and the new state.
    """
    real = None if padding is None else AfterPadding(padding)
    query, key, value = _project(attention, inputs, state)  # (B, Q, N, H)
    query, key = _rotate_slots(attention, query, key, index)
    layout = attention.cache_layout
    span = layout.span_of_step(state, index)
    output, _, state = layout.step(
        query,
        key,
        value,
        state,
        span,
        index,
        mask=masks.combine_masks(
            shifted(real, span),
            *attention.positional_masks(False, span.offset),
        ),
        ancestors=ancestors,
        **attention.bias(query, query_offset=span.offset),
        **attention.score_options(),
    )
    return attention.output_of(output, inputs), state


def start_source(attention: Any, encoded: Any) -> dict:
    """Returns `cross_key` and `cross_value`, each (B, K, S, H)."""
    key, value = attention.project_key_value(encoded)  # (B, S, K, H)
    return {
        "cross_key": ops.swapaxes(key, 1, 2),
        "cross_value": ops.swapaxes(value, 1, 2),
    }


def step_source(
    attention: Any, inputs: Any, state: dict, source_mask: Any
) -> tuple:
    """Attends to the source, whose keys and values all slots share.

    Args:
        attention: the `MultiHeadAttention`, without a position.
        inputs: (B, Q, width).
        state: a dict that holds what `start_source` returned.
        source_mask: boolean (B, S).

    Returns:
        The output (B, Q, width), and the weights (B, N, Q, S).
    """
    output, weights = attend_step(
        query=attention.project_query(inputs),
        key=state["cross_key"],
        value=state["cross_value"],
        layout=SharedKeys(),
        mask=ops.expand_dims(source_mask, axis=(1, 2)),
        **attention.score_options(),
    )
    return attention.output_of(output, inputs), weights


def _rotate_slots(attention, query, key, index):
    """Rotates heads (B, Q, N, H), all of them at position `index`."""
    if attention.position is None:
        return query, key
    rows = [
        ops.reshape(x, (-1, 1, *x.shape[2:]))  # (B * Q, 1, N, H)
        for x in (query, key)
    ]
    rotated = attention.rotate(*rows, index, index)
    return (
        ops.reshape(row, ops.shape(x))
        for row, x in zip(rotated, (query, key), strict=True)
    )


def _joined_weights(attention):
    layers = attention.joined_projections()
    if not layers or any(layer.quantization_mode for layer in layers):
        return {}  # an integer product is the layer's own
    joined = {"kernel": _joined([x.kernel for x in layers], attention, 1)}
    if attention.use_bias:
        joined["bias"] = _joined([x.bias for x in layers], attention, 0)
    return joined


def _joined(weights, attention, kept_axes):
    weights = [ops.reshape(x, (*x.shape[:kept_axes], -1)) for x in weights]
    joined = ops.concatenate(weights, axis=-1)
    return ops.cast(joined, attention.compute_dtype)


def _project(attention, inputs, state):
    """Returns the heads of query, key and value, (B, Q, N or K, H or V)."""
    if "kernel" not in state:
        key, value = attention.project_key_value(inputs)
        return attention.project_query(inputs), key, value
    batch, slots, width = ops.shape(inputs)
    rows = ops.reshape(inputs, (-1, width))  # (B * Q, width)
    joined = ops.matmul(rows, state["kernel"])
    if "bias" in state:
        joined = joined + state["bias"]
    parts, end = [], 0
    shared = attention.num_key_value_heads
    for heads, size in (
        (attention.num_heads, attention.key_dim),
        (shared, attention.key_dim),
        (shared, attention.value_dim),
    ):
        start, end = end, end + heads * size
        shape = (batch, slots, heads, size)
        parts.append(ops.reshape(joined[:, start:end], shape))
    query, key, value = parts
    query = head_projections.normalized(attention.query_norm, query)
    key = head_projections.normalized(attention.key_norm, key)
    return query, key, value
