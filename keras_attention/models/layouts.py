"""Which weights of our layers are cut over devices (`keras.distribution`)."""

from typing import Any

import keras

from keras_attention import validation

# Of a path's end: along which axis of the weight the devices divide it. Heads
# and hidden units are independent of one another, so what is cut there meets
# again in one sum, at the end of the attention and of the feed-forward layers
# (Shoeybi et al. 2019, arXiv 1909.08053, section 3).
CUT_AXES = {
    r"attention/(query|key|value)/kernel": (1, 3),  # (width, heads, head)
    r"attention/(query|key|value)/bias": (0, 2),  # (heads, head)
    r"attention/attention_output/kernel": (0, 3),  # (heads, head, width)
    r"feed_forward_hidden/kernel": (1, 2),  # (width, hidden)
    r"feed_forward_hidden/bias": (0, 1),  # (hidden,)
    r"feed_forward_output/kernel": (0, 2),  # (hidden, width)
    # Vocabularies seldom divide by the devices; widths do.
    r"embedding/embeddings": (1, 2),  # (vocabulary, width)
    r"logits/kernel": (0, 2),  # (width, vocabulary)
}


def layout_map(
    device_mesh: Any, axis_name: str = "model"
) -> keras.distribution.LayoutMap:
    """Returns how weights of Transformers are cut over devices.

    For models too large for one device, by `keras.distribution.ModelParallel`
    (JAX backend): attention is cut by heads, feed-forward layers by hidden
    units (Megatron-LM, Shoeybi et al. 2019, arXiv 1909.08053, section 3),
    embeddings and logits by width. All else, recurrent parts included, is on
    every device. The numbers are those of one device, up to rounding.

    Args:
        device_mesh: a `keras.distribution.DeviceMesh`.
        axis_name: its axis that cuts weights. Its size divides the heads,
            those of keys and values included, the width and the hidden units.

    Returns:
        A `keras.distribution.LayoutMap`; more entries can be added.

    Raises:
        ValueError: if the mesh has no such axis.

    Example:

    >>> import keras
    >>> from keras_attention.models import layout_map
    >>> if keras.config.backend() == "jax":
    ...     mesh = keras.distribution.DeviceMesh((1, 1), ["batch", "model"])
    ...     parallel = keras.distribution.ModelParallel(
    ...         layout_map=layout_map(mesh), batch_dim_name="batch"
    ...     )
    ...     with parallel.scope():
    ...         pass  # build the model, compile, fit
    """
    if axis_name not in device_mesh.axis_names:
        raise validation.invalid(
            "axis_name",
            f"one of the axes {device_mesh.axis_names} of the mesh",
            repr(axis_name),
        )
    layouts = keras.distribution.LayoutMap(device_mesh)
    for path, (axis, rank) in CUT_AXES.items():
        names = [None] * rank
        names[axis] = axis_name
        layouts[f".*{path}"] = tuple(names)
    return layouts
