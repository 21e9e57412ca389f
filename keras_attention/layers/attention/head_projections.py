"""The projections of multi-head attention: their checks and equations."""

import itertools
import string
from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.initializers import cloned

# What `query_key_norm` may be.
NORMS = (None, "rms", "layer")
NORM_EPSILON = 1e-6


def projection(
    attention: Any,
    name: str,
    input_width: tuple,
    output_axes: tuple,
    **kwargs,
) -> keras.layers.EinsumDense:
    """Returns one built projection of (batch, length, ...).

    An `EinsumDense` with the name of the one in Keras's own layer, so that
    `get_weights`, weight files, `quantize` and LoRA are interchangeable.

    Args:
        attention: the `MultiHeadAttention` whose options it has.
        name: its name.
        input_width: sizes of the axes that are summed over.
        output_axes: sizes of the axes that come in their place.
        **kwargs: more arguments of `EinsumDense`.
    """
    equation, bias_axes = projection_equation(
        2, len(input_width), len(output_axes)
    )
    child = keras.layers.EinsumDense(
        equation,
        output_shape=(None, *output_axes),
        bias_axes=bias_axes if attention.use_bias else None,
        kernel_initializer=cloned(attention.kernel_initializer),
        bias_initializer=cloned(attention.bias_initializer),
        kernel_regularizer=attention.kernel_regularizer,
        bias_regularizer=attention.bias_regularizer,
        activity_regularizer=attention._activity_regularizer,
        kernel_constraint=attention.kernel_constraint,
        bias_constraint=attention.bias_constraint,
        dtype=attention.dtype_policy,
        name=name,
        **kwargs,
    )
    # Without it Keras warns of a Keras mask on the input, and taking the mask
    # off would change a tensor that belongs to the caller.
    child.supports_masking = True
    child.build((None, None, *input_width))
    return child


def normalization(
    attention: Any, name: str, kind: str | None, width: int
) -> keras.layers.Layer | None:
    """Returns a built normalisation of the last axis, (..., width).

    Its weight is shared by heads. Keras computes it in float32.

    Args:
        attention: the layer that has it.
        name: its name.
        kind: one of `NORMS`; None gives None.
        width: size of the last axis.
    """
    if kind is None:
        return None
    options = {"dtype": attention.dtype_policy, "name": name}
    if kind == "rms":
        child = keras.layers.RMSNormalization(epsilon=NORM_EPSILON, **options)
    else:
        child = keras.layers.LayerNormalization(
            epsilon=NORM_EPSILON, center=False, **options
        )
    child.supports_masking = True
    child.build((None, None, width))
    return child


def normalized(normalization: keras.layers.Layer | None, heads: Any) -> Any:
    """Returns the heads normalised, or as they are without a layer for it."""
    return heads if normalization is None else normalization(heads)


def projection_equation(
    free_axes: int, bound_axes: int, output_axes: int
) -> tuple[str, str]:
    """Returns the einsum equation of a projection and the axes of its bias.

    Example:

    >>> from keras_attention.layers.attention import head_projections
    >>> head_projections.projection_equation(2, 1, 2)
    ('abc,cde->abde', 'de')
    """
    letters = iter(string.ascii_lowercase)
    free, bound, output = (
        "".join(itertools.islice(letters, count))
        for count in (free_axes, bound_axes, output_axes)
    )
    return f"{free}{bound},{bound}{output}->{free}{output}", output


def check_lengths(value_shape: tuple, key_shape: tuple) -> None:
    if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
        raise ValueError(
            "The sizes of `value` and `key` between batch and width must be "
            f"equal. Received: value.shape={tuple(value_shape)}, "
            f"key.shape={tuple(key_shape)}."
        )


def one_or_all(*parts: Any) -> Any:
    """Returns the parts that are not None, a single one without a tuple."""
    given = tuple(part for part in parts if part is not None)
    return given if len(given) > 1 else given[0]


def output_spec(
    attention: keras.layers.Layer,
    output_shape: tuple,
    scores_shape: tuple | None = None,
    cache: dict[str, Any] | None = None,
) -> Any:
    """Returns what a call of attention returns, symbolically.

    Args:
        attention: the layer, whose compute dtype the results have.
        output_shape: that of the output.
        scores_shape: that of the weights, or None where they are not asked
            for.
        cache: the cache that was given, whose parts keep their shapes and
            dtypes, or None.
    """
    dtype = attention.compute_dtype
    output, scores = keras.KerasTensor(output_shape, dtype), None
    if scores_shape is not None:
        scores = keras.KerasTensor(scores_shape, dtype)
    if cache is not None:
        cache = {
            name: keras.KerasTensor(part.shape, part.dtype)
            for name, part in cache.items()
        }
    return one_or_all(output, scores, cache)


def checked_size(name: str, value: Any, optional: bool = False) -> int | None:
    try:
        return validation.check_positive_integer(name, value, optional)
    except ValueError as error:  # "argument `name`" is Keras's wording
        raise ValueError(f"The argument {error}") from None


def checked_groups(num_heads: int, num_key_value_heads: Any) -> int:
    groups = validation.check_positive_integer(
        "num_key_value_heads", num_key_value_heads, optional=True
    )
    if groups and num_heads % groups:
        raise validation.invalid(
            "num_key_value_heads", f"a divisor of num_heads={num_heads}", groups
        )
    return groups or num_heads


def checked_output_shape(output_shape: Any) -> tuple | None:
    if not output_shape:
        return None
    widths = output_shape
    if validation.is_integer(widths):
        widths = (widths,)
    if not isinstance(widths, (list, tuple)):
        raise ValueError(
            "Invalid `output_shape`: it must be an integer or a tuple of "
            f"integers. Received: output_shape={output_shape!r}."
        )
    return tuple(
        validation.check_positive_integer("output_shape", width)
        for width in widths
    )
