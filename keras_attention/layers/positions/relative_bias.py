"""Relative position biases in buckets."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.functional import DistanceBias
from keras_attention.layers.positions.position import AttentionPosition


@keras.saving.register_keras_serializable(package="keras_attention")
class RelativePositionBias(AttentionPosition):
    """Adds to the scores a learned number for the distance to the key (T5).

        score[t, s] = q[t] . k[s] / sqrt(key_dim) + b[head, bucket(s - t)]

    (Raffel et al. 2020, arXiv 1910.10683, 2.1.) Near distances have a bucket
    each, far ones share buckets that grow as the logarithm, and all from
    `max_distance` on share the last, as in the code of the authors. T5 itself
    does not divide by sqrt(key_dim). A stack gives all its blocks the same
    biases, as T5 does.

    Give it to `MultiHeadAttention(position=)`, a block or a stack.

    Args:
        num_heads: number of heads of the attention.
        num_buckets: how many numbers a head learns.
        max_distance: from here on distances are not told apart.
        bidirectional: whether keys after the query have half of the buckets,
            for encoders; False: they all are at distance 0, for decoders.
        initializer: initialiser of the biases.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Masking:
        Padded entries have positions too.

    Raises:
        ValueError: if `num_buckets` is too small or odd where halves are
            wanted, or `max_distance` within the buckets of one distance.

    Example:

    >>> import numpy as np
    >>> from keras_attention import MultiHeadAttention, RelativePositionBias
    >>> layer = MultiHeadAttention(3, 4, position=RelativePositionBias(3))
    >>> layer(np.ones((2, 5, 7)), np.ones((2, 5, 7))).shape
    TensorShape([2, 5, 7])
    """

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        initializer: Any = "random_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_heads = validation.check_positive_integer(
            "num_heads", num_heads
        )
        self.num_buckets = validation.check_positive_integer(
            "num_buckets", num_buckets
        )
        self.max_distance = validation.check_positive_integer(
            "max_distance", max_distance
        )
        self.bidirectional = bidirectional
        self.initializer = keras.initializers.get(initializer)
        parts = 4 if bidirectional else 2
        if num_buckets < parts or (bidirectional and num_buckets % 2):
            raise validation.invalid(
                "num_buckets",
                "even and at least 4, or at least 2 with bidirectional=False",
                num_buckets,
            )
        if max_distance <= num_buckets // parts:
            raise validation.invalid(
                "max_distance",
                f"above {num_buckets // parts}, the number of distances with "
                "a bucket of their own",
                max_distance,
            )

    def build(self, heads_shape: tuple | None = None) -> None:
        self.relative_bias = self.add_weight(
            name="relative_bias",
            shape=(self.num_buckets, self.num_heads),
            initializer=self.initializer,
            autocast=False,  # scores are float32 whatever the policy
        )
        self.built = True

    def bias(self, query_offset: Any = 0, key_offset: Any = 0) -> DistanceBias:
        last = self.max_distance
        bucket = relative_buckets(
            np.arange(-last, last + 1),
            self.num_buckets,
            self.max_distance,
            self.bidirectional,
        )
        values = ops.take(self.relative_bias, bucket, axis=0)
        values = ops.transpose(values)  # (N, 2 * max_distance + 1)
        return DistanceBias(values, last + key_offset - query_offset)

    def get_config(self) -> dict[str, Any]:
        config = {
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "bidirectional": self.bidirectional,
            "initializer": keras.initializers.serialize(self.initializer),
        }
        return {**super().get_config(), **config}


def relative_buckets(
    distance: Any, num_buckets: int, max_distance: int, bidirectional: bool
) -> Any:
    """Returns the bucket of each distance, key - query, as int32."""
    bucket = np.zeros(np.shape(distance), "int32")
    if bidirectional:
        num_buckets //= 2
        bucket += num_buckets * (np.asarray(distance) > 0)
        distance = np.abs(distance)
    else:
        distance = np.maximum(-np.asarray(distance), 0)
    exact = num_buckets // 2
    # In float32, as the code of T5 has it: a rounding error moves a border.
    ratio = np.maximum(distance, exact).astype("float32") / np.float32(exact)
    share = np.log(ratio) / np.float32(math.log(max_distance / exact))
    far = exact + (share * np.float32(num_buckets - exact)).astype("int32")
    far = np.minimum(far, num_buckets - 1)
    return bucket + np.where(distance < exact, distance, far).astype("int32")
