"""philipperemy's `attention` (PyPI `attention`) -> ours."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import DotProductAttention
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.positions.position import shared_config
from keras_attention.migration.weights import set_weights


@keras.saving.register_keras_serializable(package="keras_attention")
class ManyToOneAttention(StaysFrozen, keras.layers.Layer):
    """The last state of a sequence attends to all of them: many to one.

        context = attention(query=h_T, value=[h_1, ..., h_T])
        output  = tanh(W [context; h_T])

    (Luong et al. 2015, arXiv 1508.04025, equation 5, with the last state of
    an encoder as the query.) It is what philipperemy's `Attention` computes.

    Args:
        units: width of the output.
        attention: a single-head layer, such as
            `DotProductAttention("general")` or `AdditiveAttention(units)`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, length, width), as an RNN with
            `return_sequences=True` returns them; the length is at least one.
        mask: boolean (batch, length), True = real. Defaults to the Keras mask.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        (batch, units) and, if asked for, the weights (batch, length).

    Masking:
        Padding is not attended to. The query is the last entry as it stands:
        a masked RNN of Keras repeats its last state to the end.

    Raises:
        ValueError: if `inputs` has not three axes.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> from keras_attention import migration
    >>> attention = ka.DotProductAttention("general")
    >>> layer = migration.ManyToOneAttention(3, attention)
    >>> layer(np.ones((2, 5, 7))).shape
    TensorShape([2, 3])
    """

    def __init__(self, units: int, attention: keras.layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = validation.check_positive_integer("units", units)
        self.attention = attention

    def build(self, input_shape: tuple) -> None:
        validation.check_sequence_shape("inputs", input_shape)
        width = input_shape[-1]
        if not self.attention.built:
            self.attention.build(input_shape, input_shape)
        self.kernel = self.add_weight(
            name="kernel", shape=(2 * width, self.units)
        )

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        last = inputs[:, -1:]  # (B, 1, D)
        context, weights = self.attention(
            last,
            inputs,
            value_mask=mask,
            return_attention_scores=True,
            training=training,
        )
        context = ops.cast(context, self.compute_dtype)
        both = ops.concatenate([context, last], axis=-1)[:, 0]  # (B, 2 * D)
        output = ops.tanh(ops.matmul(both, self.kernel))  # (B, units)
        return (output, weights[:, 0]) if return_attention_scores else output

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.units)

    def compute_output_spec(
        self,
        inputs: Any,
        mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        shape = self.compute_output_shape(inputs.shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        dtype = self.attention.compute_dtype
        return output, keras.KerasTensor(inputs.shape[:2], dtype=dtype)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        return None  # no sequence is left

    def get_config(self) -> dict[str, Any]:
        attention = shared_config(self.attention)
        config = {"units": self.units, "attention": attention}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ManyToOneAttention":
        attention = keras.saving.deserialize_keras_object(config["attention"])
        return super().from_config({**config, "attention": attention})


def from_philipperemy(layer: Any) -> ManyToOneAttention:
    """Returns what computes what philipperemy's `Attention` does.

        Attention(units, score="luong")      ManyToOneAttention(units,
                                                 DotProductAttention("general"))
        Attention(units, score="bahdanau")   ManyToOneAttention(units,
                                                 AdditiveAttention(width))

    `luong_w` is the kernel of "general", transposed; `bahdanau_w1` and
    `bahdanau_w2` are the kernels of query and keys, and `bahdanau_v` the
    vector; `attention_vector` is the kernel of the output.

    Not carried: that layer has no mask, and attends to padding. The new one
    takes the Keras mask of its input.

    Args:
        layer: a built `attention.Attention`, of version 4 or 5.

    Returns:
        A new layer, built, with a copy of the weights.

    Raises:
        ValueError: if the layer is not built, or is another.

    Example:

    >>> import keras
    >>> from keras_attention import migration
    >>> migration.from_philipperemy(keras.layers.Dense(3))
    Traceback (most recent call last):
        ...
    ValueError: `layer` must be a built `Attention` of the package attention...
    """
    score = getattr(layer, "score", None)
    if score not in ("luong", "bahdanau") or not layer.built:
        raise validation.invalid(
            "layer",
            "a built `Attention` of the package attention",
            f"{type(layer).__name__}, built={getattr(layer, 'built', None)}",
        )

    def kernel(name):
        return ops.convert_to_numpy(getattr(layer, name).kernel)

    output = kernel("w_c")
    width = output.shape[0] // 2
    if score == "luong":
        attention = DotProductAttention("general", dtype=layer.dtype_policy)
        values = [kernel("luong_w").T]
    else:
        attention = AdditiveAttention(width, dtype=layer.dtype_policy)
        values = [
            kernel("bahdanau_w1"),
            kernel("bahdanau_w2"),
            np.squeeze(kernel("bahdanau_v"), axis=-1),
        ]
    new = ManyToOneAttention(
        layer.units, attention, name=layer.name, dtype=layer.dtype_policy
    )
    new.build((None, None, width))
    set_weights(attention, values)
    new.kernel.assign(output)
    return new
