"""Attention for Keras 3 on TensorFlow: layers, seq2seq models, serving.

Layers, models and search run on any Keras backend. Text, training and export
need TensorFlow and are imported when they are first asked for.
"""

import importlib

from keras_attention import decoding
from keras_attention import functional
from keras_attention import layers
from keras_attention import masks
from keras_attention import models
from keras_attention import plots
from keras_attention.decoding import Beam
from keras_attention.decoding import Greedy
from keras_attention.decoding import Sample
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import DotProductAttention
from keras_attention.layers import MultiHeadAttention
from keras_attention.layers import PositionalEncoding
from keras_attention.layers import SelfAttention
from keras_attention.layers import TransformerDecoderBlock
from keras_attention.layers import TransformerEncoderBlock
from keras_attention.models import CNNEncoder
from keras_attention.models import RNNDecoder
from keras_attention.models import RNNEncoder
from keras_attention.models import Seq2Seq
from keras_attention.models import TransformerDecoder
from keras_attention.models import TransformerEncoder
from keras_attention.models import build_seq2seq
from keras_attention.models import load

_ON_TENSORFLOW = {
    "Vocabulary": "text",
    "export": None,
    "text": None,
    "training": None,
}

__all__ = [
    "AdditiveAttention",
    "Beam",
    "CNNEncoder",
    "DotProductAttention",
    "Greedy",
    "MultiHeadAttention",
    "PositionalEncoding",
    "RNNDecoder",
    "RNNEncoder",
    "Sample",
    "SelfAttention",
    "Seq2Seq",
    "TransformerDecoder",
    "TransformerDecoderBlock",
    "TransformerEncoder",
    "TransformerEncoderBlock",
    "Vocabulary",
    "build_seq2seq",
    "decoding",
    "export",
    "functional",
    "layers",
    "load",
    "masks",
    "models",
    "plots",
    "text",
    "training",
]


def __getattr__(name):
    if name not in _ON_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = _ON_TENSORFLOW[name]
    module = importlib.import_module(f"{__name__}.{room or name}")
    return getattr(module, name) if room else module


def __dir__():
    return sorted(__all__)
