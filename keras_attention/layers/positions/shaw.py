"""Relative position representations of keys."""

import math
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional import QueryDistanceBias
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.positions.position import AttentionPosition


@keras.saving.register_keras_serializable(package="keras_attention")
class ShawRelativePosition(AttentionPosition):
    """Adds to each key a learned vector for its distance (Shaw et al.).

        score[t, s] = q[t] . (k[s] + a[clip(s - t)]) / sqrt(key_dim)

    (Shaw et al. 2018, arXiv 1803.02155, equation 4, where distances are
    clipped to -max_distance .. max_distance.) The product q . a is made once
    for each query and distance, (batch, num_heads, query_length, 2 *
    max_distance + 1), and read by distance, so that no implementation of
    attention builds a vector for each pair. Relative vectors of values, which
    the paper finds of little use, are left out. With a soft cap, which comes
    before biases, the second product is not capped.

    Give it to `MultiHeadAttention(position=)`, a block or a stack. A stack
    gives all its blocks the same vectors.

    Args:
        max_distance: from here on distances are not told apart; k in the
            paper.
        share_heads: whether all heads have the same vectors.
        initializer: initialiser of the vectors.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Masking:
        Padded entries have positions too.

    Raises:
        ValueError: if `max_distance` is not a positive integer, or attentions
            that share it have heads of different shapes.

    Example:

    >>> import numpy as np
    >>> from keras_attention import MultiHeadAttention, ShawRelativePosition
    >>> layer = MultiHeadAttention(3, 4, position=ShawRelativePosition(16))
    >>> layer(np.ones((2, 5, 7)), np.ones((2, 5, 7))).shape
    TensorShape([2, 5, 7])
    """

    depends_on_query = True

    def __init__(
        self,
        max_distance: int,
        share_heads: bool = True,
        initializer: Any = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.max_distance = validation.check_positive_integer(
            "max_distance", max_distance
        )
        self.share_heads = share_heads
        self.initializer = keras.initializers.get(initializer)

    def build(self, heads_shape: tuple) -> None:
        heads = 1 if self.share_heads else heads_shape[2]
        self.key_embeddings = self.add_weight(
            name="key_embeddings",
            shape=(heads, 2 * self.max_distance + 1, heads_shape[3]),
            initializer=self.initializer,
            autocast=False,  # scores are float32 whatever the policy
        )
        self.built = True

    def bias(
        self, query_offset: Any = 0, key_offset: Any = 0, *, query: Any
    ) -> QueryDistanceBias:
        self._check_heads(query.shape[2:])
        query = at_least_float32(query) / math.sqrt(query.shape[3])
        vectors = ops.cast(self.key_embeddings, query.dtype)
        if self.share_heads:
            values = ops.einsum("btnh,dh->bntd", query, vectors[0])
        else:
            values = ops.einsum("btnh,ndh->bntd", query, vectors)
        zero = self.max_distance + key_offset - query_offset
        return QueryDistanceBias(values, zero)

    def _check_heads(self, shape):
        heads, _, width = self.key_embeddings.shape
        if heads not in (1, shape[0]) or width != shape[1]:
            raise ValueError(
                "`position` must be built for heads of the shape of `query`, "
                f"(num_heads, key_dim)=({heads}, {width}). Received: "
                f"query.shape=(batch, length, {shape[0]}, {shape[1]}). Give "
                "each attention a ShawRelativePosition of its own."
            )

    def get_config(self) -> dict[str, Any]:
        config = {
            "max_distance": self.max_distance,
            "share_heads": self.share_heads,
            "initializer": keras.initializers.serialize(self.initializer),
        }
        return {**super().get_config(), **config}
