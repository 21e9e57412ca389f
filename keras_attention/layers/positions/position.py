"""The protocol of positions that act inside attention."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.functional.biases import Bias


class AttentionPosition(keras.layers.Layer):
    """Base of positions that act on heads or scores; not one by itself.

    `MultiHeadAttention(position=)` calls `rotate` on the projected heads,
    before keys are cached, and adds `bias` to the scores. A subclass defines
    one of them. Any object that has both may be given, and saved if it is
    registered with Keras and has `get_config`.

    A subclass with weights makes them in `build`, which is given the shape of
    the heads of the query, (batch, length, num_heads, key_dim), once. Where
    `depends_on_query` is True, `bias` is given those heads too, as `query`.

    Args:
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Masking:
        Positions know no masks: padded entries have positions too.

    Example: keys count less, the farther they are (ALiBi, arXiv 2108.12409).

    >>> import keras
    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_attention import MultiHeadAttention
    >>> from keras_attention.functional import DistanceBias
    >>> from keras_attention.layers import AttentionPosition
    >>> @keras.saving.register_keras_serializable(package="docs")
    ... class Near(AttentionPosition):
    ...     def bias(self, query_offset=0, key_offset=0):
    ...         slopes = np.array([[0.5], [0.25]])  # of two heads
    ...         distance = abs(np.arange(-50, 51))
    ...         values = ops.cast(-slopes * distance, "float32")
    ...         return DistanceBias(values, 50 + key_offset - query_offset)
    >>> layer = MultiHeadAttention(2, 4, position=Near())
    >>> layer(np.ones((3, 5, 7)), np.ones((3, 5, 7))).shape
    TensorShape([3, 5, 7])
    """

    # Whether `bias` takes the heads of the query, rotated, not scaled.
    depends_on_query = False

    def rotate(
        self, query: Any, key: Any, query_offset: Any = 0, key_offset: Any = 0
    ) -> tuple:
        """Returns query and key with their positions in them.

        Args:
            query: float tensor (batch, query_length, num_heads, key_dim).
            key: float tensor (batch, key_length, num_key_value_heads,
                key_dim).
            query_offset: position of the first query, an integer, a scalar
                tensor or one per row (batch,).
            key_offset: the same of the first key.
        """
        return query, key

    def bias(self, query_offset: Any = 0, key_offset: Any = 0) -> Bias | None:
        """Returns what is added to the scores, or None.

        Args:
            query_offset: position of the first query, an integer, a scalar
                tensor or one per row (batch,).
            key_offset: the same of the first key.

        Returns:
            A `functional.DistanceBias`, `LinearDistanceBias` or
            `QueryDistanceBias`, which never builds (query_length,
            key_length), or None.
        """
        return None

    def get_build_config(self) -> None:
        """Returns None: the attention that holds a position builds it.

        So the config of a layer stays what it was before the build.
        """
        return None

    def __reduce__(self):
        # Keras would copy and pickle the config, which does not build it.
        built = super().get_build_config() if self.built else None
        arguments = (self.get_config(), built, self.get_weights())
        return _copied, (type(self), *arguments)


def _copied(kind, config, build_config, weights):
    position = kind.from_config(config)
    if build_config is not None:
        position.build_from_config(build_config)
    if weights:  # those of a position that makes them at once, too
        position.set_weights(weights)
    return position


def is_added(position: Any) -> bool:
    """Whether a position is added to embeddings, and is not for attention."""
    return position is not None and not hasattr(position, "rotate")


def checked_position(position: Any) -> Any:
    """Returns `position` if it acts inside attention, or is None."""
    if is_added(position) or isinstance(position, type):
        raise validation.invalid(
            "position",
            "an object with `rotate` and `bias`, such as RotaryEmbedding()",
            repr(position),
            "What is added to embeddings stands before the first block: call "
            "it there, or give it to a stack, an encoder or a decoder.",
        )
    return position


def check_heads(position: Any, num_heads: int) -> None:
    """Raises a ValueError where a position is made for other heads.

    Args:
        position: the position, which may say in `num_heads` for how many
            heads it is, or None. One of one head is shared by all.
        num_heads: heads of the attention.
    """
    heads = getattr(position, "num_heads", None)
    if heads not in (None, 1, num_heads):
        raise ValueError(
            "`position` must be for as many heads as the attention has, "
            f"num_heads={num_heads}. Received: position.num_heads={heads}. "
            f"Write {type(position).__name__}(num_heads={num_heads})."
        )


def checked_any_position(position: Any) -> Any:
    """Returns `position` if it can be added, acts in attention, or is None."""
    can_be_added = isinstance(position, keras.layers.Layer)
    if isinstance(position, type) or (is_added(position) and not can_be_added):
        raise validation.invalid(
            "position",
            "a layer that adds positions, such as PositionalEncoding(), an "
            "object with `rotate` and `bias`, such as RotaryEmbedding(), or "
            "None",
            repr(position),
        )
    return position


def shared_config(part: Any) -> Any:
    """Returns the config of an object that several layers may hold.

    Such as a position. When a model is saved, Keras marks an object as shared
    in its second config and, by then too late, in its first: that has been
    copied into the config of a layer. So each layer takes the second of two.
    """
    keras.saving.serialize_keras_object(part)
    return keras.saving.serialize_keras_object(part)


def with_objects(config: dict, *names: str) -> dict:
    """Returns the config of a layer, with what these names hold as objects."""
    config = dict(config)
    for name in names:
        if isinstance(config.get(name), dict):
            config[name] = keras.saving.deserialize_keras_object(config[name])
    return config
