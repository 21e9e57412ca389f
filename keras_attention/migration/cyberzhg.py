"""CyberZHG's keras-self-attention and keras-multi-head -> ours."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import DotProductAttention
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.positions.position import shared_config
from keras_attention.migration.activated import ActivatedMultiHeadAttention
from keras_attention.migration.weights import set_weights


@keras.saving.register_keras_serializable(package="keras_attention")
class CyberZHGAttention(StaysFrozen, keras.layers.Layer):
    """An attention layer with the call and the window of CyberZHG's layers.

    Args:
        attention: an attention layer of this package.
        left: how many neighbours before itself a query sees; None means all.
        right: how many neighbours after itself; None means all, 0 is causal.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, length, width), which attends to itself; or the list
            [query, key, value].
        mask: boolean (batch, length), True = real, or a list of three.
            Defaults to the Keras masks of the inputs.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        What `attention` returns.

    Masking:
        As in `attention`: padding is neither attended to nor attends.

    Raises:
        ValueError: if `inputs` is a list of another length than three.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> from keras_attention import migration
    >>> inner = ka.AdditiveAttention(7)
    >>> layer = migration.CyberZHGAttention(inner, left=2, right=2)
    >>> layer(np.ones((2, 5, 3))).shape
    TensorShape([2, 5, 3])
    """

    def __init__(
        self,
        attention: keras.layers.Layer,
        left: int | None = None,
        right: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.attention = attention
        self.window = masks.SlidingWindow(left, right)

    def build(self, input_shape: Any) -> None:
        query, key, value = _three_shapes(input_shape)
        if not self.attention.built:
            self.attention.build(query, value, key)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        is_list = isinstance(inputs, (list, tuple))
        query, key, value = _three(inputs, is_list)
        query_mask, key_mask, value_mask = _three(
            mask, isinstance(mask, (list, tuple))
        )
        return self.attention(
            query,
            value,
            key if is_list else None,
            query_mask=query_mask,
            key_mask=key_mask,
            value_mask=value_mask,
            attention_mask=self.window,
            return_attention_scores=return_attention_scores,
            training=training,
        )

    def compute_output_shape(self, input_shape: Any) -> tuple:
        query, key, value = _three_shapes(input_shape)
        return self.attention.compute_output_shape(query, value, key)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        is_list = isinstance(inputs, (list, tuple))
        query, key, value = _three(inputs, is_list)
        return self.attention.compute_output_spec(
            query, value, key, return_attention_scores=return_attention_scores
        )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        is_list = isinstance(previous_mask, (list, tuple))
        return _three(previous_mask, is_list)[0]

    def get_config(self) -> dict[str, Any]:
        config = {
            "attention": shared_config(self.attention),
            "left": self.window.left,
            "right": self.window.right,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CyberZHGAttention":
        attention = keras.saving.deserialize_keras_object(config["attention"])
        return super().from_config({**config, "attention": attention})


def _three_shapes(shape):
    return _three(shape, isinstance(shape[0], (list, tuple)))


def _three(given, is_list):
    if not is_list:
        return given, given, given
    if len(given) != 3:
        raise validation.invalid(
            "inputs",
            "one tensor, or a list of query, key and value",
            f"{len(given)} of them",
        )
    return tuple(given)


def from_cyberzhg(layer: keras.layers.Layer) -> CyberZHGAttention:
    """Returns what computes what a layer of CyberZHG's packages does.

        SeqSelfAttention, additive        AdditiveAttention; with a bias inside
                                          the tanh, its `normalize=True`
        SeqSelfAttention, multiplicative  DotProductAttention("general")
        ScaledDotProductAttention         DotProductAttention("scaled")
        MultiHeadAttention                migration.ActivatedMultiHeadAttention

    each within a `CyberZHGAttention`, which has the call `layer(x)` and
    `layer([query, key, value])`, and which holds `attention_width` and
    `history_only`.

    Not carried: the bias after `Wa`, which a softmax does not see; what
    `return_attention` returns, which is asked for in the call here; and the
    padding mask of `SeqSelfAttention`, which there only hides padding from
    padding. `SeqWeightedAttention` and `ResidualScaledDotProductAttention`
    have no counterpart.

    Args:
        layer: a built layer of keras-self-attention or keras-multi-head.

    Returns:
        A new layer, built, with a copy of the weights.

    Raises:
        ValueError: if the layer is not built, is another, or has
            `attention_activation` or `attention_regularizer_weight`.

    Example:

    >>> import numpy as np
    >>> from keras_attention import migration
    >>> class ScaledDotProductAttention:  # the package need not be there
    ...     built, name, dtype_policy, history_only = True, "x", None, True
    >>> migration.from_cyberzhg(ScaledDotProductAttention()).window.right
    0
    """
    convert = CONVERTERS.get(type(layer).__name__)
    if convert is None or not layer.built:
        raise validation.invalid(
            "layer",
            f"a built layer of CyberZHG's, one of {', '.join(CONVERTERS)}",
            f"{type(layer).__name__}, built={getattr(layer, 'built', None)}",
        )
    return convert(layer)


def _from_sequence(layer):
    for name in ("attention_activation", "attention_regularizer_weight"):
        value = getattr(layer, name)
        # Keras reads no activation as the linear one.
        if value and value is not keras.activations.linear:
            raise validation.invalid(name, "None or 0", value)
    options = {"name": layer.name, "dtype": layer.dtype_policy}
    if layer.attention_type == "additive":
        attention, values = _additive(layer, **options)
    else:
        attention = DotProductAttention("general", **options)
        values = [layer.Wa]
    widths = [np.shape(values[0])[0]] * 2
    return _wrapped(layer, attention, values, widths, *_window(layer))


def _additive(layer, **options):
    normalize = layer.use_additive_bias
    attention = AdditiveAttention(layer.units, normalize, **options)
    vector = ops.convert_to_numpy(layer.Wa)[:, 0]
    values = [layer.Wt, layer.Wx, vector]
    if normalize:  # scale * vector / |vector| = vector
        values += [np.linalg.norm(vector), layer.bh]
    return attention, values


def _window(layer):
    """Returns how many neighbours are seen to the left and to the right."""
    width = layer.attention_width
    if width is None:
        return None, None
    if layer.history_only:
        return width - 1, 0
    return width // 2, width - 1 - width // 2


def _from_scaled(layer):
    attention = DotProductAttention(
        "scaled", name=layer.name, dtype=layer.dtype_policy
    )
    right = 0 if layer.history_only else None
    return CyberZHGAttention(
        attention, right=right, name=layer.name, dtype=layer.dtype_policy
    )


def _from_multi_head(layer):
    heads = layer.head_num
    features = np.shape(layer.Wo)[0]
    size = features // heads
    attention = ActivatedMultiHeadAttention(
        heads,
        size,
        activation=layer.activation,
        use_bias=layer.use_bias,
        output_shape=features,
        name=layer.name,
        dtype=layer.dtype_policy,
    )
    values = []
    for name in "qkvo":
        kernel = ops.convert_to_numpy(getattr(layer, f"W{name}"))
        shape = (heads, size, -1) if name == "o" else (-1, heads, size)
        values.append(kernel.reshape(shape))
        if layer.use_bias:
            bias = ops.convert_to_numpy(getattr(layer, f"b{name}"))
            shape = (-1,) if name == "o" else (heads, size)
            values.append(bias.reshape(shape))
    widths = [np.shape(getattr(layer, f"W{name}"))[0] for name in "qvk"]
    right = 0 if layer.history_only else None
    return _wrapped(layer, attention, values, widths, None, right)


def _wrapped(layer, attention, values, widths, left, right):
    attention.build(*((None, None, width) for width in widths))
    values = [ops.convert_to_numpy(value) for value in values]
    set_weights(attention, values)
    return CyberZHGAttention(
        attention, left, right, name=layer.name, dtype=layer.dtype_policy
    )


CONVERTERS = {
    "SeqSelfAttention": _from_sequence,
    "ScaledDotProductAttention": _from_scaled,
    "MultiHeadAttention": _from_multi_head,
}
