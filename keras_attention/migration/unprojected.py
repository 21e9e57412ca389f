"""Keras's `Attention` and `AdditiveAttention`, as a mechanism."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional import AdditiveScore
from keras_attention.functional import DotProductScore
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.stateless import StatelessMechanism

SCORE_MODES = ("dot", "concat", "additive")


@keras.saving.register_keras_serializable(package="keras_attention")
class UnprojectedAttention(StatelessMechanism):
    """`keras.layers.Attention` and `AdditiveAttention` with long inputs.

    Scores queries and keys as they are, without projecting them:

        "dot"       scale * q . k
        "concat"    weight * sum_i tanh(scale * (q_i + k_i))
        "additive"  sum_i scale_i * tanh(q_i + k_i)

    The first two are `keras.layers.Attention`, and `scale` and `weight` are
    numbers; the third is `keras.layers.AdditiveAttention`, and `scale` is a
    vector. Weights have the names, shapes and order that they have there.
    Luong et al. (arXiv 1508.04025, equation 8) and Bahdanau et al. (arXiv
    1409.0473, appendix A.1.2) project first: a new model takes
    `DotProductAttention` or `AdditiveAttention`.

    Args:
        score_mode: "dot", "concat" or "additive".
        use_scale: whether `scale` is learned; it is 1 otherwise.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        normalizer: what makes weights of scores, see `functional.attend`.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, width); or, as Keras's layers are
            called, the list [query, value] or [query, value, key].
        value: (batch, key_length, value_width).
        key: (batch, key_length, width); defaults to `value`.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: boolean (batch, query_length, key_length) or
            (query_length, key_length), True = may attend, or a
            `keras_attention.masks.Mask`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        use_causal_mask: whether a query sees only keys up to its position.
        mask: with a list, the list [query_mask, value_mask].

    Returns:
        (batch, query_length, value_width) of the layer's compute dtype and,
        if asked for, the weights (batch, query_length, key_length), taken
        before dropout.

    Masking:
        All masks AND together. A query with nothing to attend to, and a
        padded query, gets zero weights and a zero output. The output keeps
        the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import migration
    >>> layer = migration.UnprojectedAttention("additive")
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 5))
    >>> layer([query, value]).shape
    TensorShape([2, 3, 5])
    """

    def __init__(
        self,
        score_mode: str = "dot",
        use_scale: bool = False,
        dropout: float = 0.0,
        seed: int | None = None,
        normalizer: Normalizer = "softmax",
        **kwargs,
    ):
        super().__init__(normalizer, dropout, seed, **kwargs)
        self.score_mode = validation.check_choice(
            "score_mode", score_mode, SCORE_MODES
        )
        self.use_scale = use_scale

    def __call__(
        self, query: Any = None, value: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        query = kwargs.pop("inputs", query)  # as Keras's layers name the list
        if isinstance(query, (list, tuple)):
            # Keras's own call: (inputs, mask).
            tensors, masks = query, kwargs.pop("mask", value)
            _check_list("query", tensors, "tensors", 2, 3)
            if masks is not None:
                _check_list("mask", masks, "masks", 2, 3)
                kwargs["query_mask"], kwargs["value_mask"] = masks[:2]
            return super().__call__(*tensors, *args, **kwargs)
        return super().__call__(query, value, *args, **kwargs)

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple | None = None,
        key_shape: tuple | None = None,
    ) -> None:
        query_shape, value_shape, key_shape = _three_shapes(
            query_shape, value_shape, key_shape
        )
        super().build(query_shape, value_shape, key_shape)
        width = query_shape[-1]
        if width != key_shape[-1]:
            raise ValueError(
                "`key` must have the width of `query`. Received: "
                f"query.shape={tuple(query_shape)}, "
                f"key.shape={tuple(key_shape)}. `AdditiveAttention` and "
                "`DotProductAttention('general')` take any two widths."
            )
        additive = self.score_mode == "additive"
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight(
                name="scale",
                shape=(width,) if additive else (),
                initializer="glorot_uniform" if additive else "ones",
                autocast=False,
            )
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                name="concat_score_weight",
                shape=(),
                initializer="ones",
                autocast=False,
            )

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        key = value if key is None else key
        return self.memory_of(self._inside_tanh(key), value, mask)

    def attend_inputs(self, query: Any, key: Any) -> dict:
        scale = 1.0 if self.scale is None else at_least_float32(self.scale)
        if self.score_mode == "dot":
            return {"query": query, "key": key, "score": DotProductScore(scale)}
        if self.score_mode == "concat":
            scale = at_least_float32(self.concat_score_weight)
        vector = scale * ops.ones((query.shape[-1],), _dtype_of(scale))
        query = self._inside_tanh(query)
        return {"query": query, "key": key, "score": AdditiveScore(vector)}

    def _inside_tanh(self, vectors):
        """Returns what "concat" adds up: queries or keys times the scale."""
        if self.score_mode != "concat" or self.scale is None:
            return vectors
        return vectors * ops.cast(self.scale, vectors.dtype)

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple | None = None,
        key_shape: tuple | None = None,
    ) -> tuple:
        return super().compute_output_shape(
            *_three_shapes(query_shape, value_shape, key_shape)
        )

    def get_config(self) -> dict[str, Any]:
        config = {"score_mode": self.score_mode, "use_scale": self.use_scale}
        return {**super().get_config(), **config}


def _three_shapes(query_shape, value_shape, key_shape):
    """Returns all shapes; Keras's layers are built with a list of them."""
    if value_shape is None:
        shapes = query_shape
        is_list = all(isinstance(shape, (list, tuple)) for shape in shapes)
        if not is_list or len(shapes) not in (2, 3):
            raise validation.invalid(
                "query_shape",
                "a list of 2 or 3 shapes where `value_shape` is not given",
                shapes,
            )
        query_shape, value_shape, *rest = shapes
        key_shape = rest[0] if rest else None
    return (
        tuple(query_shape),
        tuple(value_shape),
        tuple(value_shape if key_shape is None else key_shape),
    )


def _dtype_of(scale):
    return getattr(scale, "dtype", "float32")


def _check_list(name, given, what, least, most):
    is_list = isinstance(given, (list, tuple))
    if not is_list or not least <= len(given) <= most:
        raise validation.invalid(
            name,
            f"a list of {least} or {most} {what}",
            f"{len(given)} {what}" if is_list else repr(given),
            "Write `layer([query, value], mask=[query_mask, value_mask])`.",
        )
