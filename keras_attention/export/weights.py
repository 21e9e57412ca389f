"""How a SavedModel stores its weights: as they are, halved, or as int8."""

import contextlib
import pathlib
import tempfile
import uuid
from typing import Any

import keras
import tensorflow as tf

from keras_attention import validation
from keras_attention.choices import WEIGHT_FORMATS
from keras_attention.models import folders
from keras_attention.models import vocabularies
from keras_attention.models.tracing import parts_of

FORMATS = (None, *WEIGHT_FORMATS)
QUANTIZED_LAYERS = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
)


def stored(model: Any, weights: str | None) -> tuple:
    """Returns the model to trace, the weights to save, and how to use them.

    Args:
        model: a `Seq2Seq`; it is not changed.
        weights: one of `FORMATS`.

    Returns:
        A `Seq2Seq`; a `tf.Module` that holds each of its weights once; and a
        function that returns a context in which the model computes with them.

    Raises:
        ValueError: an unknown format, or weights beyond the range of float16.
    """
    validation.check_choice("weights", weights, FORMATS)
    if weights == "int8":
        model = quantized(model)
    if weights in (None, "int8"):
        return model, *unchanged(model)
    return model, *halved(model, weights)


def unchanged(model: Any) -> tuple:
    """Returns a module of the weights of a model, and no special context.

    Not the model itself: TensorFlow would find its variables by two ways and
    store them twice.
    """
    module = tf.Module()
    module.stored = [variable.value for variable in model.weights]
    return module, contextlib.nullcontext


def halved(model: Any, dtype: str) -> tuple:
    """Returns weights in half the bits, cast up once, when they are loaded.

    Casting where they are used would be paid at each request, in time and,
    with many requests at once, in memory.
    """
    variables = [v for v in model.weights if v.dtype == "float32"]
    _check_range(variables, dtype)
    halves = [
        tf.Variable(tf.cast(variable.value, dtype), trainable=False)
        for variable in variables
    ]
    module = tf.Module()
    module.whole = [WholeWeight(half) for half in halves]
    others = [v.value for v in model.weights if v.dtype != "float32"]
    module.stored = halves + others

    def scope():
        values = [whole.read() for whole in module.whole]
        return keras.StatelessScope(zip(variables, values, strict=True))

    return module, scope


class WholeWeight(tf.saved_model.experimental.TrackableResource):
    """A float32 tensor that a server makes of a stored half when it loads.

    Args:
        half: a `tf.Variable`.
    """

    def __init__(self, half: tf.Variable):
        super().__init__()
        self._half = half
        # Servers keep resources by name, those of other models too.
        self._name = f"weight_{uuid.uuid4()}"
        self._initialize()

    def read(self) -> Any:
        """Returns the tensor."""
        value = tf.raw_ops.ReadVariableOp(
            resource=self.resource_handle, dtype=tf.float32
        )
        return tf.ensure_shape(value, self._half.shape)

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(
            dtype=tf.float32, shape=self._half.shape, shared_name=self._name
        )

    def _initialize(self):
        tf.raw_ops.AssignVariableOp(
            resource=self.resource_handle,
            value=tf.cast(self._half, tf.float32),
        )


def quantized(model: Any) -> Any:
    """Returns an int8 copy of a model, made by Keras's `quantize`.

    Dense projections and embeddings become int8, each row or column with a
    scale of its own; recurrent cells, convolutions, normalisations and the
    vectors stay as they are. So does an embedding that makes the logits too,
    whose whole table each step would turn to floats.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = folders.copy_of_weights(model, pathlib.Path(folder))
    copy.set_vocabularies(**vocabularies.of(model))
    tied = [
        part.embedding
        for part in parts_of(copy)
        if getattr(part, "tie_embeddings", False)
    ]

    def has_int8(layer):
        is_tied = any(layer is embedding for embedding in tied)
        return type(layer) in QUANTIZED_LAYERS and not is_tied

    copy.quantize("int8", filters=has_int8)
    return copy


def _check_range(variables, dtype):
    largest = float(tf.as_dtype(dtype).max)
    for variable in variables:
        found = float(tf.reduce_max(tf.abs(variable.value)))
        if found > largest:
            raise validation.invalid(
                "weights",
                f"a format that holds {found:g}, a value of {variable.path}",
                repr(dtype),
                "bfloat16 has the range of float32.",
            )
