"""What every attention layer shares: one call, its masks and its dropout."""

import keras

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import Dropout
from keras_attention.functional import attend
from keras_attention.functional.padding import zero_padding
from keras_attention.functional.padding import zeroed
from keras_attention.layers.mask_carrier import MaskCarrier
from keras_attention.masks import packing
from keras_attention.masks.booleans import as_boolean


class AttentionLayer(MaskCarrier, keras.layers.Layer):
    """Base of the attention layers; not a layer by itself.

    Args:
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    needs_value = True  # False where a sequence may attend to itself

    def __init__(self, dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.dropout = validation.check_rate("dropout", dropout)
        self.seed = seed
        if dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def __call__(self, *args, **kwargs):
        self._check_inputs(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def _check_inputs(self, query=None, value=None, *_, **__):
        """Raises a ValueError unless query and value are two arguments."""
        name = type(self).__name__
        if isinstance(query, (list, tuple)):
            raise validation.invalid(
                "query",
                "one tensor",
                f"a {type(query).__name__} of {len(query)}",
                f"Write `layer(query, value)` for {name}, not "
                "`layer([query, value])`.",
            )
        if value is None and self.needs_value:
            raise ValueError(
                f"`value` must be given: {name} takes two inputs, "
                "`layer(query, value)`. Received: value=None. A "
                "`keras.Sequential` passes one: use the functional API, or "
                "`SelfAttention`, which takes one."
            )

    def dropout_for(self, training):
        """Returns the `functional.Dropout` of this call, or None."""
        if not (self.dropout and training):
            return None
        return Dropout(self.dropout, self.seed_generator.next())

    def get_config(self):
        config = {"dropout": self.dropout, "seed": self.seed}
        return {**super().get_config(), **config}


class SingleHeadAttention(AttentionLayer):
    """Base of the single-head layers: they differ in their score alone.

    A subclass builds its weights in `build(query_shape, value_shape,
    key_shape=None)`, projects keys in `project_key`, and says in `score` what
    goes into `attend`. The two steps are apart so that a decoder can project
    the keys once and score them at each step.
    """

    def build(self, query_shape, value_shape, key_shape=None):
        check_sequence_shapes(query_shape, value_shape, key_shape)
        self.built = True

    def project_key(self, key):
        """Returns the keys as the score wants them, (B, S, width)."""
        return key

    def score(self, query, projected_key):
        """Returns the arguments of `attend` that make the score.

        Args:
            query: (batch, query_length, width), as given to the layer.
            projected_key: what `project_key` returned.

        Returns:
            A dict with `query`, `key`, `score` and, where needed, `bias`;
            query and key without the axis of heads.
        """
        raise TypeError(f"{type(self).__name__} does not define `score`.")

    def call(
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
    ):
        key = value if key is None else key
        # `build` has seen the shapes of the first call alone.
        check_sequence_shapes(query.shape, value.shape, key.shape)
        mask = mask_for(
            (query.shape[0], 1, query.shape[1], key.shape[1]),
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask,
        )
        query, key, value = zero_padding(mask, query, key, value)
        mask = zeroed(mask)
        output, weights = self.attend_projected(
            query,
            self.project_key(key),
            value,
            mask=mask,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        return (output, weights) if return_attention_scores else output

    def attend_projected(
        self,
        query,
        projected_key,
        value,
        mask=None,
        training=None,
        return_attention_scores=False,
    ):
        """Attends with keys that `project_key` has already projected.

        Args:
            query: (batch, query_length, query_width).
            projected_key: (batch, key_length, width).
            value: (batch, key_length, value_width).
            mask: a `masks.Mask` or None.
            training: whether to drop attention weights.
            return_attention_scores: whether to return the weights too.

        Returns:
            The output (batch, query_length, value_width), and the weights
            (batch, query_length, key_length) or None.
        """
        arguments = self.score(query, projected_key)
        for name in ("query", "key"):
            arguments[name] = arguments[name][:, :, None]  # (B, ., 1, H)
        result = attend(
            **arguments,
            value=value[:, :, None],
            mask=mask,
            dropout=self.dropout_for(training),
            return_weights=return_attention_scores,
        )
        if not return_attention_scores:
            return result[:, :, 0], None
        output, weights = result
        return output[:, :, 0], weights[:, 0]

    def compute_output_shape(self, query_shape, value_shape, key_shape=None):
        return (*query_shape[:-1], value_shape[-1])

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
    ):
        key_shape = None if key is None else key.shape
        check_sequence_shapes(query.shape, value.shape, key_shape)
        shape = self.compute_output_shape(query.shape, value.shape)
        output = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return output
        shape = (query.shape[0], query.shape[1], value.shape[1])
        return output, keras.KerasTensor(shape, dtype=self.compute_dtype)


def mask_for(
    scores_shape,
    *,
    query_mask=None,
    value_mask=None,
    key_mask=None,
    attention_mask=None,
    use_causal_mask=False,
):
    """Returns the AND of all the masks of a layer's call, or None.

    Args:
        scores_shape: (batch, num_heads, query_length, key_length), with None
            for sizes not known.
        query_mask: (batch, query_length); padded queries see nothing.
        value_mask: (batch, key_length).
        key_mask: (batch, key_length).
        attention_mask: a tensor, as `masks.Array` takes it, or a packed mask.
        use_causal_mask: whether key <= query is asked for, top-left aligned.

    Raises:
        ValueError: if the shape of a mask does not fit.
    """
    if isinstance(attention_mask, dict):
        attention_mask = packing.unpack(attention_mask)
    elif attention_mask is not None:
        attention_mask = _checked_array(attention_mask, scores_shape)
    if attention_mask is not None:
        attention_mask.check(scores_shape)
    batch, _, query_length, key_length = scores_shape
    for name, tensor, length in (
        ("query_mask", query_mask, query_length),
        ("value_mask", value_mask, key_length),
        ("key_mask", key_mask, key_length),
    ):
        if tensor is not None:
            check_sequence_mask(name, tensor, (batch, length))
    return masks.combine_masks(
        _padding(masks.QueryPadding, "query_mask", query_mask),
        _padding(masks.Padding, "value_mask", value_mask),
        _padding(masks.Padding, "key_mask", key_mask),
        attention_mask,
        masks.Causal() if use_causal_mask else None,
    )


def check_sequence_shapes(query_shape, value_shape, key_shape=None):
    """Checks the three input shapes of a single-head layer.

    Raises:
        ValueError: if one is not (batch, length, width), or if keys and
            values differ in length.
    """
    shapes = {"query": query_shape, "value": value_shape, "key": key_shape}
    for name, shape in shapes.items():
        if shape is not None and len(shape) != 3:
            raise ValueError(
                f"`{name}` must have shape (batch, length, width). "
                f"Received: {name}.shape={tuple(shape)}."
            )
    lengths = {value_shape[1], (key_shape or value_shape)[1]} - {None}
    if len(lengths) > 1:
        raise ValueError(
            "`key` and `value` must have the same length. Received: "
            f"key.shape={tuple(key_shape)}, value.shape={tuple(value_shape)}."
        )


def _checked_array(mask, scores_shape):
    rank = len(validation.shape_of(mask))
    if rank not in (2, 3, 4):
        raise ValueError(
            f"`attention_mask` must broadcast to {validation.SCORE_AXES}="
            f"{tuple(scores_shape)}. Received: "
            f"attention_mask.shape={validation.shape_of(mask)}."
        )
    array = masks.Array(as_boolean("attention_mask", mask))
    ((_, shape),) = array.extents()
    validation.check_broadcasts(
        "attention_mask",
        shape,
        scores_shape,
        validation.SCORE_AXES,
        "Did you swap the query and key axes?",
        received=validation.shape_of(mask),
    )
    return array


def _padding(kind, name, mask):
    return None if mask is None else kind(as_boolean(name, mask))


def check_sequence_mask(name, mask, expected):
    """Raises a ValueError unless the mask has the shape (batch, length)."""
    expected = tuple(expected)
    shape = validation.shape_of(mask)
    fits = len(shape) == 2 and all(
        size == wanted or None in (size, wanted)
        for size, wanted in zip(shape, expected, strict=True)
    )
    if not fits:
        raise ValueError(
            f"`{name}` must have shape (batch, length)={expected}. "
            f"Received: {name}.shape={shape}."
        )
