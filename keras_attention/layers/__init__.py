"""The layers: the only rooms that hold weights."""

from keras_attention.layers.additive_attention import AdditiveAttention
from keras_attention.layers.dot_product_attention import DotProductAttention
from keras_attention.layers.dropout import Dropout
from keras_attention.layers.positional_encoding import PositionalEncoding

__all__ = [
    "AdditiveAttention",
    "DotProductAttention",
    "Dropout",
    "PositionalEncoding",
]
