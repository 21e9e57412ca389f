"""Keras's own attention layers -> ours, weights moved."""

from collections.abc import Callable
from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers import MultiHeadAttention
from keras_attention.migration.unprojected import UnprojectedAttention
from keras_attention.migration.weights import build_at
from keras_attention.migration.weights import move_weights


def from_keras(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the layer of this package that computes what `layer` does.

        keras.layers.MultiHeadAttention   MultiHeadAttention
        keras.layers.GroupQueryAttention  MultiHeadAttention(
                                              num_key_value_heads=)
        keras.layers.Attention            migration.UnprojectedAttention
        keras.layers.AdditiveAttention    migration.UnprojectedAttention(
                                              "additive")

    It has the name, the dtype policy, the call and, where `layer` is built, a
    copy of the weights of `layer`; the two share nothing.

    Not carried: `flash_attention`, because the new layer chooses by size; the
    state of the random generator, because dropout here draws other bits; and
    the numbers of a query with nothing to attend to, which are zero here (and
    the output bias after the output projection) and an average of all values
    there.

    Args:
        layer: one of the four layers, not a subclass, built or not.

    Returns:
        A new layer, built if `layer` is.

    Raises:
        ValueError: if the layer is none of the four, or has something that
            cannot be carried.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_attention import migration
    >>> theirs = keras.layers.GroupQueryAttention(5, 4, 2)
    >>> x = np.ones((3, 7, 11))
    >>> expected = theirs(x, x)
    >>> ours = migration.from_keras(theirs)
    >>> np.testing.assert_allclose(ours(x, x), expected, atol=1e-5)
    """
    convert = CONVERTERS.get(type(layer))
    if convert is None:
        names = ", ".join(kind.__name__ for kind in CONVERTERS)
        raise validation.invalid(
            "layer", f"one of Keras's {names}", type(layer).__name__
        )
    return convert(layer)


def _from_multi_head(layer):
    return _built_alike(
        MultiHeadAttention.from_config(layer.get_config()), layer
    )


def _from_group_query(layer):
    config = layer.get_config()
    if layer.activity_regularizer is not None:
        raise validation.invalid(
            "activity_regularizer",
            "None, since Keras regularises the output of this layer as well "
            "as its projections",
            layer.activity_regularizer,
        )
    config["key_dim"] = config.pop("head_dim")
    config["num_heads"] = config.pop("num_query_heads")
    return _built_alike(MultiHeadAttention.from_config(config), layer)


def _from_attention(layer):
    config = layer.get_config()
    if isinstance(layer, keras.layers.AdditiveAttention):
        config["score_mode"] = "additive"
    return _built_alike(UnprojectedAttention.from_config(config), layer)


def _built_alike(replacement, layer):
    """Builds the replacement as `layer` is built, and moves the weights."""
    if not layer.built:
        return replacement
    _check_weights_are_whole(layer)
    shapes = layer.get_build_config()
    shapes = shapes.get("shapes_dict", shapes)
    listed = shapes.get("input_shape", ())
    named = {} if listed else shapes
    build_at(replacement, layer.path, *listed, **named)
    move_weights(layer, replacement)
    return replacement


def _check_weights_are_whole(layer):
    for part in layer._layers:
        if getattr(part, "quantization_mode", None):
            received, remedy = "is quantised", "quantise the model"
        elif getattr(part, "lora_enabled", False):
            received, remedy = "has LoRA", "call `enable_lora`"
        else:
            continue
        raise ValueError(
            "`layer` must have its weights as they were trained. Received: "
            f"{part.path!r} {received}. Replace the attention first, then "
            f"{remedy}."
        )


CONVERTERS: dict[type, Callable[[Any], keras.layers.Layer]] = {
    keras.layers.MultiHeadAttention: _from_multi_head,
    keras.layers.GroupQueryAttention: _from_group_query,
    keras.layers.Attention: _from_attention,
    keras.layers.AdditiveAttention: _from_attention,
}
