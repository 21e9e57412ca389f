"""`torch.nn.MultiheadAttention` -> ours."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_attention import validation
from keras_attention.layers import MultiHeadAttention
from keras_attention.migration.weights import assign

PROJECTIONS = ("q", "k", "v")
# Arguments of the layer that are no options here.
TOLD_BY_WEIGHTS = ("key_dim", "use_bias", "output_shape")
# What a module may have that has no place here.
REFUSED = {"bias_k", "bias_v"}


def from_torch(
    state_dict: Mapping[str, Any],
    num_heads: int,
    prefix: str = "",
    **options: Any,
) -> MultiHeadAttention:
    """Returns a `MultiHeadAttention` with the weights of PyTorch's module.

        in_proj_weight (3 * E, E), or     kernels of query, key and value,
        q_, k_ and v_proj_weight          (width, num_heads, E / num_heads)
        in_proj_bias (3 * E)              their biases
        out_proj.weight (E, E)            kernel of attention_output,
                                          (num_heads, E / num_heads, E)
        out_proj.bias (E)                 its bias

    PyTorch is not needed: tensors are read as arrays.

    The call differs. PyTorch takes (query, key, value) and, unless
    `batch_first`, (length, batch, width); here it is (query, value, key) with
    the batch first. In PyTorch's `key_padding_mask` and boolean `attn_mask`
    True hides; here True shows, so pass `~mask`. Weights come back only when
    asked for, one matrix for each head; PyTorch averages them.

    Not carried: `add_bias_kv`, whose `bias_k` and `bias_v` are refused;
    `add_zero_attn`, which the weights do not tell: it is `use_sink=True` with
    sinks that stay zero; and `dropout`, which is an option here.

    Args:
        state_dict: `module.state_dict()`, of tensors or arrays; that of a
            whole model with `prefix`.
        num_heads: `num_heads` of the module, which its weights do not tell.
        prefix: what the names begin with, such as
            "encoder.layers.0.self_attn.".
        **options: more arguments of `MultiHeadAttention`, such as `dropout`.

    Returns:
        A new layer, built.

    Raises:
        ValueError: if a weight is missing, is unknown under this prefix, has
            another shape or does not fit `num_heads`; or if an option is what
            the weights tell.

    Example:

    >>> import numpy as np
    >>> from keras_attention import migration
    >>> state_dict = {
    ...     "in_proj_weight": np.ones((18, 6)),
    ...     "out_proj.weight": np.ones((6, 6)),
    ... }
    >>> layer = migration.from_torch(state_dict, num_heads=2)
    >>> layer(np.ones((1, 3, 6)), np.ones((1, 5, 6))).shape
    TensorShape([1, 3, 6])
    """
    if not hasattr(state_dict, "items"):
        raise validation.invalid(
            "state_dict",
            "arrays by name, as `module.state_dict()` gives them",
            type(state_dict).__name__,
        )
    _check_options(options)
    weights = {
        name.removeprefix(prefix): _as_array(value)
        for name, value in state_dict.items()
        if name.startswith(prefix)
    }
    kernels, biases = _projections(weights)
    width = kernels[0].shape[0]
    num_heads = validation.check_divisor(
        "num_heads", num_heads, "embed_dim", width
    )
    heads = (num_heads, width // num_heads)
    output = _taken(weights, "out_proj.weight", (width, width))
    output_bias = None
    if biases is not None:
        output_bias = _taken(weights, "out_proj.bias", (width,))
    _check_empty(weights)
    values = []
    for index, kernel in enumerate(kernels):
        values.append(kernel.T.reshape(-1, *heads))  # (width, N, H)
        if biases is not None:
            values.append(biases[index].reshape(heads))
    values.append(output.T.reshape(*heads, -1))  # (N, H, E)
    values += [] if output_bias is None else [output_bias]
    layer = MultiHeadAttention(
        *heads, use_bias=biases is not None, output_shape=width, **options
    )
    query, key, value = ((None, None, kernel.shape[1]) for kernel in kernels)
    layer.build(query, value, key)
    projections = (
        layer.query_dense,
        layer.key_dense,
        layer.value_dense,
        layer.output_dense,
    )
    # What options add, such as sinks, begins as it does in a new layer.
    assign([w for layer in projections for w in layer.weights], values)
    return layer


def _projections(weights):
    """Takes the kernels (E, width) of q, k and v, and their biases or None."""
    if "in_proj_weight" in weights:
        kernels = _thirds(weights, "in_proj_weight", (None, None))
    else:
        kernels = [
            _taken(weights, f"{x}_proj_weight", (None, None))
            for x in PROJECTIONS
        ]
    biases = None
    if "in_proj_bias" in weights:
        biases = _thirds(weights, "in_proj_bias", (None,))
    sizes = {len(array) for array in (*kernels, *(biases or ()))}
    if len(sizes) > 1:
        raise ValueError(
            "`state_dict` must have projections of query, key and value, and "
            "biases, of one size, embed_dim. Received: the sizes "
            f"{sorted(sizes)}."
        )
    return kernels, biases


def _thirds(weights, name, shape):
    """Takes the parts of query, key and value from an array of all three."""
    array = _taken(weights, name, shape)
    if len(array) % 3:
        raise ValueError(
            f"`state_dict[{name!r}]` must have 3 * embed_dim rows. Received: "
            f"the shape {array.shape}."
        )
    return np.split(array, 3)


def _taken(weights, name, shape):
    """Takes an array of this shape, whose sizes of None are free."""
    if name not in weights:
        raise ValueError(
            "`state_dict` must be that of a torch.nn.MultiheadAttention. "
            f"Received: no {name!r} among {sorted(weights)}. Is `prefix` right?"
        )
    array = weights.pop(name)
    fits = array.ndim == len(shape) and all(
        size in (None, found)
        for size, found in zip(shape, array.shape, strict=True)
    )
    if not fits:
        sizes = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(
            f"`state_dict[{name!r}]` must have the shape ({sizes}). Received: "
            f"the shape {array.shape}."
        )
    return array


def _check_options(options):
    for name in TOLD_BY_WEIGHTS:
        if name in options:
            raise validation.invalid(
                name,
                "left out, since the weights tell it",
                repr(options[name]),
            )


def _check_empty(weights):
    if REFUSED & set(weights):
        raise ValueError(
            "`state_dict` must be of a module with add_bias_kv=False: a key "
            "and a value that are learned have no place in "
            f"MultiHeadAttention. Received: {sorted(weights)}."
        )
    if weights:
        raise ValueError(
            "`state_dict` must have nothing more than a "
            f"torch.nn.MultiheadAttention has. Received also: "
            f"{sorted(weights)}. Is `prefix` right?"
        )


def _as_array(value):
    """Reads an array, or a tensor of any device and dtype."""
    if hasattr(value, "detach"):
        value = value.detach().float().cpu()
    return np.asarray(value)
