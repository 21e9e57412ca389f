"""The layers: the only rooms that hold weights."""

from keras_attention.layers.additive_attention import AdditiveAttention
from keras_attention.layers.dot_product_attention import DotProductAttention
from keras_attention.layers.dropout import Dropout
from keras_attention.layers.multi_head_attention import MultiHeadAttention
from keras_attention.layers.positional_encoding import PositionalEncoding
from keras_attention.layers.self_attention import SelfAttention
from keras_attention.layers.transformer_decoder_block import (
    TransformerDecoderBlock,
)
from keras_attention.layers.transformer_encoder_block import (
    TransformerEncoderBlock,
)

__all__ = [
    "AdditiveAttention",
    "DotProductAttention",
    "Dropout",
    "MultiHeadAttention",
    "PositionalEncoding",
    "SelfAttention",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
]
