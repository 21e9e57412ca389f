"""The single-head attention layers: they differ in their score alone."""

import keras

from keras_attention.functional import attend
from keras_attention.functional.padding import zero_padding
from keras_attention.functional.padding import zeroed
from keras_attention.layers.attention.base import AttentionLayer
from keras_attention.layers.attention.call_masks import mask_for


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
