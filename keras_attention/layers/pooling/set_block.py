"""What the blocks of the Set Transformer share."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.dropout import child_seed
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.transformer.multi_head_attention_block import (
    MultiHeadAttentionBlock,
)


class SetBlock(StaysFrozen, keras.layers.Layer):
    """Base of the layers on sets: they are made of attention blocks.

    Args:
        num_heads: attention heads; they share the width of the input.
        feed_forward_units: width of the hidden feed-forward layers. Defaults
            to the width of the input.
        dropout: share of attention weights, and of each sublayer's output,
            dropped in training.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_heads: int,
        feed_forward_units: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_heads = validation.check_positive_integer(
            "num_heads", num_heads
        )
        self.feed_forward_units = validation.check_positive_integer(
            "feed_forward_units", feed_forward_units, optional=True
        )
        self.dropout = validation.check_rate("dropout", dropout)
        self.seed = seed

    def _new_block(self, name, query_shape, value_shape, normalize_first=False):
        """Returns a block, built; one of the paper is post-norm."""
        block = MultiHeadAttentionBlock(
            self.num_heads,
            self.feed_forward_units or query_shape[-1],
            dropout=self.dropout,
            normalize_first=normalize_first,
            seed=child_seed(self.seed, name),
            dtype=self.dtype_policy,
            name=name,
        )
        block.build(query_shape, value_shape)
        return block

    def get_config(self) -> dict[str, Any]:
        config = {
            "num_heads": self.num_heads,
            "feed_forward_units": self.feed_forward_units,
            "dropout": self.dropout,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}
