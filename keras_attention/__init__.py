"""Attention for Keras 3 on TensorFlow: layers, seq2seq models, serving."""

from keras_attention import decoding
from keras_attention import functional
from keras_attention import masks
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import DotProductAttention
from keras_attention.layers import MultiHeadAttention
from keras_attention.layers import PositionalEncoding
from keras_attention.layers import TransformerDecoderBlock
from keras_attention.layers import TransformerEncoderBlock
from keras_attention.models import CNNEncoder
from keras_attention.models import RNNDecoder
from keras_attention.models import RNNEncoder
from keras_attention.models import TransformerDecoder
from keras_attention.models import TransformerEncoder

__all__ = [
    "AdditiveAttention",
    "CNNEncoder",
    "DotProductAttention",
    "MultiHeadAttention",
    "PositionalEncoding",
    "RNNDecoder",
    "RNNEncoder",
    "TransformerDecoder",
    "TransformerDecoderBlock",
    "TransformerEncoder",
    "TransformerEncoderBlock",
    "decoding",
    "functional",
    "masks",
]
