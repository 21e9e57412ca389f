"""The weights of a page: which layers, whose labels, packed small."""

import base64
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention import validation
from keras_attention.plots.viewed_text import visible_text
from keras_attention.plots.viewed_text import visible_tokens

MOST_WEIGHTS = 2**24  # of all layers: a page of 45 MB
MEANINGS = {
    2: "(target_length, source_length)",
    3: "(num_heads, target_length, source_length)",
    4: "(num_layers, num_heads, target_length, source_length)",
}


def named_layers(weights: Any, names: Any) -> dict[str, np.ndarray]:
    """Returns {layer name: float16 (heads, target_length, source_length)}.

    Raises:
        ValueError: if weights or names do not fit.
    """
    if isinstance(weights, Mapping):
        if names is not None:
            raise validation.invalid(
                "names", "left out where `weights` is a dict", repr(names)
            )
        if not weights:
            raise validation.invalid("weights", "at least one layer", "{}")
        layers = {
            visible_text(name): _layer_of_batch(name, values)
            for name, values in weights.items()
        }
    else:
        layers = _layers_of_array(_array("weights", weights), names)
    count = sum(values.size for values in layers.values())
    if count > MOST_WEIGHTS:
        raise ValueError(
            f"`weights` must be at most {MOST_WEIGHTS:,} numbers: a page with "
            f"more would not open. Received: {count:,}. Take fewer layers or "
            "heads, or a part of the positions."
        )
    return {name: _half(name, values) for name, values in layers.items()}


def _layers_of_array(array, names):
    if array.ndim not in MEANINGS or array.size == 0:
        *most, last = MEANINGS.values()
        raise validation.invalid(
            "weights",
            f"{', '.join(most)} or {last}, no axis empty",
            f"an array of shape {array.shape}",
            "Of a batch, take one example.",
        )
    if array.ndim < 4:
        array = array.reshape((1, -1, *array.shape[-2:]))
        default = ["attention"]
    else:
        default = [f"layer {number}" for number in range(len(array))]
    names = default if names is None else names
    is_list = isinstance(names, (Sequence, np.ndarray))
    if isinstance(names, str) or not is_list or len(names) != len(array):
        raise _wrong_names(len(array), names)
    layers = {
        visible_text(name): values
        for name, values in zip(names, array, strict=True)
    }
    if len(layers) != len(names):
        raise _wrong_names(len(array), names)
    return layers


def _wrong_names(count, names):
    return validation.invalid(
        "names",
        f"a list of as many different names as layers, {count}",
        repr(names),
    )


def _layer_of_batch(name, values):
    """Returns (heads, T, S) of what a dict has for a layer."""
    array = _array(f"weights[{name!r}]", values)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.size == 0:
        raise validation.invalid(
            f"weights[{name!r}]",
            f"{MEANINGS[2]} or {MEANINGS[3]}, no axis empty",
            f"an array of shape {array.shape}",
            "Of a batch, take one example: {name: w[0] for name, w in "
            "weights.items()}.",
        )
    return array


def _array(name, values, fix=""):
    try:
        array = np.asarray(values).astype("float32")
    except (TypeError, ValueError) as error:
        raise validation.invalid(
            name, "an array of numbers", f"a {type(values).__name__}", fix
        ) from error
    if not np.isfinite(array).all():
        raise validation.invalid(name, "finite", "NaN or infinity in it")
    return array


def _half(name, values):
    largest = float(np.abs(values).max())
    if largest > float(np.finfo("float16").max):
        raise validation.invalid(
            "weights",
            "within -65504 and 65504, as float16 holds them",
            f"{largest:g} in layer {name!r}",
            "Are these scores before the softmax?",
        )
    return values.astype("<f2")


def labels_of(
    layers: dict, source_tokens: Any, target_tokens: Any
) -> tuple[list[list[str]], dict[str, tuple]]:
    """Returns all lists of labels, and for each layer which are its own.

    Returns:
        The lists; {layer name: (number of the list of its rows or None, that
        of its columns or None)}.

    Raises:
        ValueError: if labels fit no layer.
    """
    target = _by_layer("target_tokens", target_tokens, layers)
    source = _by_layer("source_tokens", source_tokens, layers)
    labels, sides = [], {}

    def number_of(*choices, length):
        for tokens in choices:
            if tokens is not None and len(tokens) == length:
                if tokens not in labels:
                    labels.append(tokens)
                return labels.index(tokens)
        return None

    for name, values in layers.items():
        rows, columns = values.shape[1:]
        sides[name] = (
            number_of(target[name], source[name], length=rows),
            number_of(source[name], target[name], length=columns),
        )
    return labels, sides


def _by_layer(name, tokens, layers):
    """Returns {layer name: labels or None}, each of them of use."""
    axis = {"target_tokens": 1, "source_tokens": 2}[name]
    if isinstance(tokens, Mapping):
        tokens = by_visible_names(name, tokens, layers)
        found = {x: visible_tokens(name, tokens.get(x)) for x in layers}
        for layer, given in found.items():
            if given is not None:
                _check_count(name, given, {layers[layer].shape[axis]})
        return found
    tokens = visible_tokens(name, tokens)
    if tokens is not None:
        lengths = {values.shape[axis] for values in layers.values()}
        if len(layers) > 1:  # a self-attention has them on both axes
            lengths |= {x.shape[3 - axis] for x in layers.values()}
        _check_count(name, tokens, lengths)
    return dict.fromkeys(layers, tokens)


def _check_count(name, tokens, lengths):
    if len(tokens) not in lengths:
        expected = " or ".join(map(str, sorted(lengths)))
        raise ValueError(
            f"`{name}` must have one label for each of the {expected} "
            f"positions of `weights`. Received: {len(tokens)} labels. Cut the "
            "padding off both, or label it, too."
        )


def by_visible_names(name: str, given: Mapping, layers: Mapping) -> dict:
    """Returns a dict by the names of layers that the page shows.

    Raises:
        ValueError: if it names a layer that is not there.
    """
    given = {visible_text(layer): value for layer, value in given.items()}
    unknown = [layer for layer in given if layer not in layers]
    if unknown:
        raise validation.invalid(
            name,
            f"a dict by the names of layers, {', '.join(map(repr, layers))}",
            f"a dict with {unknown[0]!r}",
        )
    return given


def masks_of(layers: dict, mask: Any) -> dict[str, np.ndarray | None]:
    """Returns the boolean mask (T, S) of each layer, or None.

    Raises:
        ValueError: if a mask fits no layer, or holds other numbers.
    """
    found = dict.fromkeys(layers)
    if mask is None:
        return found
    if isinstance(mask, Mapping):
        mask = by_visible_names("mask", mask, layers)
        for name, values in mask.items():
            found[name] = _mask_array(values)
            _check_mask_shape(found[name], [layers[name].shape[1:]])
        return found
    mask = _mask_array(mask)
    _check_mask_shape(mask, [values.shape[1:] for values in layers.values()])
    for name, values in layers.items():
        found[name] = mask if values.shape[1:] == mask.shape else None
    return found


def _mask_array(mask):
    fix = (
        "A mask of `keras_attention.masks` gives its array by "
        "`dense(target_length, source_length)`."
    )
    array = _array("mask", mask, fix)
    if not np.isin(array, (0, 1)).all():
        raise validation.invalid(
            "mask",
            "True and False, or 1 and 0",
            f"values from {array.min():g} to {array.max():g}",
            "Are these scores?",
        )
    return array.astype(bool)


def _check_mask_shape(mask, shapes):
    if mask.shape not in shapes:
        expected = " or ".join(str(shape) for shape in dict.fromkeys(shapes))
        raise validation.invalid(
            "mask",
            f"of the shape of the weights of a head, {expected}",
            f"an array of shape {mask.shape}",
        )


def packed_layer(
    name: str, values: np.ndarray, mask: Any, rows: Any, columns: Any
) -> dict[str, Any]:
    """Returns one layer as the page reads it.

    Args:
        name: name of the layer.
        values: float16 (heads, target_length, source_length).
        mask: boolean (target_length, source_length) or None.
        rows: number of the list of labels of the rows, or None.
        columns: that of the columns.
    """
    heads, target_length, source_length = values.shape
    return {
        "name": name,
        "heads": heads,
        "rows": target_length,
        "columns": source_length,
        "row_labels": rows,
        "column_labels": columns,
        "weights": _base64(values.tobytes()),
        "mask": None if mask is None else _base64(np.packbits(mask).tobytes()),
    }


def _base64(data):
    return base64.b64encode(data).decode("ascii")
