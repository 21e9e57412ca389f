"""The weights of multi-head attention, and the shapes that follow from them."""

import itertools
import string

import keras

from keras_attention import validation
from keras_attention.layers.attention.axes import AttentionAxes
from keras_attention.layers.attention.axes import checked_axes
from keras_attention.layers.attention.base import AttentionLayer


class HeadProjections(AttentionLayer):
    """Base of `MultiHeadAttention` that holds its weights and no maths.

    The children are `EinsumDense` layers with the names, the order and the
    attributes of Keras's own layer. So `get_weights`, weight files,
    `quantize` and LoRA are interchangeable. The arguments are those of
    `MultiHeadAttention`.
    """

    def __init__(
        self,
        *,
        num_heads,
        key_dim,
        value_dim,
        num_key_value_heads,
        use_bias,
        use_gate,
        output_shape,
        attention_axes,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        activity_regularizer,
        kernel_constraint,
        bias_constraint,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = _checked_size("num_heads", num_heads)
        self.key_dim = _checked_size("key_dim", key_dim)
        value_dim = _checked_size("value_dim", value_dim, optional=True)
        self.value_dim = value_dim or self.key_dim
        self.num_key_value_heads = _checked_groups(
            self.num_heads, num_key_value_heads
        )
        self.use_bias = use_bias
        self.use_gate = use_gate
        self._output_shape = _checked_output_shape(output_shape)
        self.attention_axes = checked_axes(attention_axes)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        # Private: Keras would apply a public one to the output as well.
        self._activity_regularizer = keras.regularizers.get(
            activity_regularizer
        )
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)

    def build(self, query_shape, value_shape, key_shape=None):
        key_shape = value_shape if key_shape is None else key_shape
        _check_lengths(value_shape, key_shape)
        self._axes = AttentionAxes.resolve(
            self.attention_axes, len(query_shape), self.num_heads
        )
        self._axes.check(query_shape, value_shape)
        query_heads, key_heads = self.num_heads, self.num_key_value_heads
        self._query_dense = self._project(
            "query", query_shape, 1, (query_heads, self.key_dim)
        )
        self._key_dense = self._project(
            "key", key_shape, 1, (key_heads, self.key_dim)
        )
        if self.use_gate:
            self._gate_dense = self._project(
                "gate",
                query_shape,
                1,
                (query_heads, self.value_dim),
                activation="sigmoid",
            )
        self._value_dense = self._project(
            "value", value_shape, 1, (key_heads, self.value_dim)
        )
        self._output_dense = self._project(
            "attention_output",
            (*query_shape[:-1], query_heads, self.value_dim),
            2,
            self._output_shape or (query_shape[-1],),
        )

    def _project(self, name, input_shape, bound_axes, output_axes, **kwargs):
        """Returns a built child: its last axes become `output_axes`."""
        free_axes = len(input_shape) - bound_axes
        equation, bias_axes = projection_equation(
            free_axes, bound_axes, len(output_axes)
        )
        child = keras.layers.EinsumDense(
            equation,
            output_shape=(*(None,) * (free_axes - 1), *output_axes),
            bias_axes=bias_axes if self.use_bias else None,
            # A seeded initialiser gives one value for ever, so each child
            # has a clone of its own.
            kernel_initializer=_clone(self.kernel_initializer),
            bias_initializer=_clone(self.bias_initializer),
            kernel_regularizer=self.kernel_regularizer,
            bias_regularizer=self.bias_regularizer,
            activity_regularizer=self._activity_regularizer,
            kernel_constraint=self.kernel_constraint,
            bias_constraint=self.bias_constraint,
            dtype=self.dtype_policy,
            name=name,
            **kwargs,
        )
        # Without it Keras warns of a Keras mask on the input, and taking the
        # mask off would change a tensor that belongs to the caller.
        child.supports_masking = True
        child.build(tuple(input_shape))
        return child

    def project_key_value(self, value, key=None):
        """Returns the heads of key and value, in this order.

        Made once, they serve every call of `attend_projected` and, with
        `decoder_cache`, every step of a decoder. Shapes: (batch,
        key_length, num_key_value_heads, key_dim) and (..., value_dim).
        """
        key = value if key is None else key
        return self._key_dense(key), self._value_dense(value)

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        if key_shape is not None:
            _check_lengths(value_shape, key_shape)
        widths = self._output_shape or tuple(query_shape[-1:])
        return (*query_shape[:-1], *widths)

    def compute_output_spec(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        return_attention_scores=False,
        training=None,
        use_causal_mask=False,
        *,
        cache=None,
        cache_index=None,
    ):
        key_shape = None if key is None else key.shape
        shape = self.compute_output_shape(query.shape, value.shape, key_shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        scores = None
        if return_attention_scores:
            keys = value if cache is None else cache["key"]
            shape = self._axes.scores_shape(query.shape, keys.shape)
            scores = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if cache is not None:
            cache = {
                name: keras.KerasTensor(buffer.shape, dtype=buffer.dtype)
                for name, buffer in cache.items()
            }
        return one_or_all(output, scores, cache)

    @property
    def query_dense(self):
        return self._query_dense

    @property
    def key_dense(self):
        return self._key_dense

    @property
    def value_dense(self):
        return self._value_dense

    @property
    def output_dense(self):
        return self._output_dense

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "use_bias": self.use_bias,
            "use_gate": self.use_gate,
            "output_shape": self._output_shape,
            "attention_axes": self.attention_axes,
            "kernel_initializer": serialize(self.kernel_initializer),
            "bias_initializer": serialize(self.bias_initializer),
            "kernel_regularizer": serialize(self.kernel_regularizer),
            "bias_regularizer": serialize(self.bias_regularizer),
            "activity_regularizer": serialize(self._activity_regularizer),
            "kernel_constraint": serialize(self.kernel_constraint),
            "bias_constraint": serialize(self.bias_constraint),
        }
        return {**super().get_config(), **config}


def projection_equation(free_axes, bound_axes, output_axes):
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


def _check_lengths(value_shape, key_shape):
    if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
        raise ValueError(
            "The sizes of `value` and `key` between batch and width must be "
            f"equal. Received: value.shape={tuple(value_shape)}, "
            f"key.shape={tuple(key_shape)}."
        )


def one_or_all(*parts):
    """Returns the parts that are not None, a single one without a tuple."""
    given = tuple(part for part in parts if part is not None)
    return given if len(given) > 1 else given[0]


def _clone(initializer):
    return initializer.__class__.from_config(initializer.get_config())


def _checked_size(name, value, optional=False):
    try:
        return validation.check_positive_integer(name, value, optional)
    except ValueError as error:  # "argument `name`" is Keras's wording
        raise ValueError(f"The argument {error}") from None


def _checked_groups(num_heads, num_key_value_heads):
    groups = validation.check_positive_integer(
        "num_key_value_heads", num_key_value_heads, optional=True
    )
    if groups and num_heads % groups:
        raise validation.invalid(
            "num_key_value_heads", f"a divisor of num_heads={num_heads}", groups
        )
    return groups or num_heads


def _checked_output_shape(output_shape):
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
