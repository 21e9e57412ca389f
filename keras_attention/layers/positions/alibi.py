"""Attention with linear biases."""

from typing import Any

import keras
import numpy as np

from keras_attention import validation
from keras_attention.functional import LinearDistanceBias
from keras_attention.layers.positions.position import AttentionPosition


@keras.saving.register_keras_serializable(package="keras_attention")
class AlibiBias(AttentionPosition):
    """Lets keys count less, the farther they are: -slope * distance (ALiBi).

        score[t, s] = q[t] . k[s] / sqrt(key_dim) - m * |t - s|

    (Press et al. 2022, arXiv 2108.12409, 3.) Of N heads, a power of two, head
    n = 1..N has the slope m = 2^(-8n / N). Otherwise the slopes are those of
    the largest power of two P below N, and then every other one of those of
    2 P, as in the code of the authors. There are no weights, and no longest
    distance: a model reads longer sequences than it was trained on. The paper
    has causal attention; without a causal mask both sides fall alike.

    Give it to `MultiHeadAttention(position=)`, a block or a stack.

    Args:
        num_heads: number of heads of the attention.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Masking:
        Padded entries have positions too.

    Raises:
        ValueError: if `num_heads` is not a positive integer.

    Example:

    >>> import numpy as np
    >>> from keras_attention import AlibiBias, MultiHeadAttention
    >>> layer = MultiHeadAttention(3, 4, position=AlibiBias(3))
    >>> layer(np.ones((2, 5, 7)), np.ones((2, 5, 7))).shape
    TensorShape([2, 5, 7])
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = validation.check_positive_integer(
            "num_heads", num_heads
        )

    def bias(
        self, query_offset: Any = 0, key_offset: Any = 0
    ) -> LinearDistanceBias:
        slopes = alibi_slopes(self.num_heads).astype("float32")
        return LinearDistanceBias(slopes, key_offset - query_offset)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads}


def alibi_slopes(num_heads: int) -> Any:
    """Returns the slope of each head, float64 (num_heads,)."""
    power = 1 << (num_heads.bit_length() - 1)
    slopes = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    # The odd ones of twice as many heads: 1, 3, 5, ...
    between = np.arange(1, 2 * (num_heads - power), 2) / (2 * power)
    return np.concatenate([slopes, 2.0 ** (-8.0 * between)])
