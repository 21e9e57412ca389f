"""Attention for Keras 3 on TensorFlow: layers, seq2seq models, serving."""

from keras_attention import functional
from keras_attention import masks
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import DotProductAttention
from keras_attention.layers import PositionalEncoding

__version__ = "0.1.0"

__all__ = [
    "AdditiveAttention",
    "DotProductAttention",
    "PositionalEncoding",
    "functional",
    "masks",
]
