"""Attention for Keras 3 on TensorFlow: layers, seq2seq models, serving.

Layers, models and search run on any Keras backend; text, training and export
need TensorFlow. Each is imported when it is first asked for, so that importing
this package is quick. Its classes are known to `keras.models.load_model` all
the same: see `registration`.
"""

import importlib
from typing import TYPE_CHECKING

from keras_attention import registration

if TYPE_CHECKING:  # for editors and type checkers, which run nothing
    from keras_attention import decoding as decoding
    from keras_attention import export as export
    from keras_attention import functional as functional
    from keras_attention import layers as layers
    from keras_attention import masks as masks
    from keras_attention import migration as migration
    from keras_attention import models as models
    from keras_attention import plots as plots
    from keras_attention import text as text
    from keras_attention import training as training
    from keras_attention.decoding import Beam as Beam
    from keras_attention.decoding import Greedy as Greedy
    from keras_attention.decoding import Sample as Sample
    from keras_attention.functional import FavorFeatures as FavorFeatures
    from keras_attention.layers import AdditiveAttention as AdditiveAttention
    from keras_attention.layers import AlibiBias as AlibiBias
    from keras_attention.layers import AttentionCell as AttentionCell
    from keras_attention.layers import AttentionMechanism as AttentionMechanism
    from keras_attention.layers import AttentionOptions as AttentionOptions
    from keras_attention.layers import AttentionPooling as AttentionPooling
    from keras_attention.layers import AttentionRNN as AttentionRNN
    from keras_attention.layers import CoverageAttention as CoverageAttention
    from keras_attention.layers import (
        DifferentialAttention as DifferentialAttention,
    )
    from keras_attention.layers import (
        DotProductAttention as DotProductAttention,
    )
    from keras_attention.layers import ForwardAttention as ForwardAttention
    from keras_attention.layers import (
        GaussianMixtureAttention as GaussianMixtureAttention,
    )
    from keras_attention.layers import (
        InducedSetAttentionBlock as InducedSetAttentionBlock,
    )
    from keras_attention.layers import LatentAttention as LatentAttention
    from keras_attention.layers import (
        LearnedPositionalEncoding as LearnedPositionalEncoding,
    )
    from keras_attention.layers import LinearAttention as LinearAttention
    from keras_attention.layers import LinearScaling as LinearScaling
    from keras_attention.layers import LocalAttention as LocalAttention
    from keras_attention.layers import (
        LocationSensitiveAttention as LocationSensitiveAttention,
    )
    from keras_attention.layers import LowRankAttention as LowRankAttention
    from keras_attention.layers import MonotonicAttention as MonotonicAttention
    from keras_attention.layers import MultiHeadAttention as MultiHeadAttention
    from keras_attention.layers import (
        MultiHeadAttentionBlock as MultiHeadAttentionBlock,
    )
    from keras_attention.layers import NTKScaling as NTKScaling
    from keras_attention.layers import PerceiverEncoder as PerceiverEncoder
    from keras_attention.layers import PooledAttention as PooledAttention
    from keras_attention.layers import (
        PoolingByMultiHeadAttention as PoolingByMultiHeadAttention,
    )
    from keras_attention.layers import PositionalEncoding as PositionalEncoding
    from keras_attention.layers import (
        PositionalEncoding2D as PositionalEncoding2D,
    )
    from keras_attention.layers import (
        RelativePositionBias as RelativePositionBias,
    )
    from keras_attention.layers import RotaryEmbedding as RotaryEmbedding
    from keras_attention.layers import RotaryEmbedding2D as RotaryEmbedding2D
    from keras_attention.layers import SelfAttention as SelfAttention
    from keras_attention.layers import SetAttentionBlock as SetAttentionBlock
    from keras_attention.layers import (
        ShawRelativePosition as ShawRelativePosition,
    )
    from keras_attention.layers import (
        TransformerDecoderBlock as TransformerDecoderBlock,
    )
    from keras_attention.layers import (
        TransformerEncoderBlock as TransformerEncoderBlock,
    )
    from keras_attention.layers import TransformerStack as TransformerStack
    from keras_attention.layers import YaRNScaling as YaRNScaling
    from keras_attention.migration import replace_attention as replace_attention
    from keras_attention.models import CNNEncoder as CNNEncoder
    from keras_attention.models import (
        DecoderOnlyTransformer as DecoderOnlyTransformer,
    )
    from keras_attention.models import LanguageModel as LanguageModel
    from keras_attention.models import RNNDecoder as RNNDecoder
    from keras_attention.models import RNNEncoder as RNNEncoder
    from keras_attention.models import Seq2Seq as Seq2Seq
    from keras_attention.models import TransformerDecoder as TransformerDecoder
    from keras_attention.models import TransformerEncoder as TransformerEncoder
    from keras_attention.models import build_ensemble as build_ensemble
    from keras_attention.models import build_seq2seq as build_seq2seq
    from keras_attention.models import load as load
    from keras_attention.models import read_attention as read_attention
    from keras_attention.models import tap_attention as tap_attention
    from keras_attention.text import PieceVocabulary as PieceVocabulary
    from keras_attention.text import Vocabulary as Vocabulary

# The one place where the version is written.
__version__ = "0.1.0"

# Every public name and the subpackage that has it; None for a subpackage.
_PLACES = {
    "AdditiveAttention": "layers",
    "AlibiBias": "layers",
    "AttentionCell": "layers",
    "AttentionMechanism": "layers",
    "AttentionOptions": "layers",
    "AttentionPooling": "layers",
    "AttentionRNN": "layers",
    "Beam": "decoding",
    "CNNEncoder": "models",
    "CoverageAttention": "layers",
    "DecoderOnlyTransformer": "models",
    "DifferentialAttention": "layers",
    "DotProductAttention": "layers",
    "FavorFeatures": "functional",
    "ForwardAttention": "layers",
    "GaussianMixtureAttention": "layers",
    "Greedy": "decoding",
    "InducedSetAttentionBlock": "layers",
    "LanguageModel": "models",
    "LatentAttention": "layers",
    "LearnedPositionalEncoding": "layers",
    "LinearAttention": "layers",
    "LinearScaling": "layers",
    "LocalAttention": "layers",
    "LocationSensitiveAttention": "layers",
    "LowRankAttention": "layers",
    "MonotonicAttention": "layers",
    "MultiHeadAttention": "layers",
    "MultiHeadAttentionBlock": "layers",
    "NTKScaling": "layers",
    "PerceiverEncoder": "layers",
    "PieceVocabulary": "text",
    "PooledAttention": "layers",
    "PoolingByMultiHeadAttention": "layers",
    "PositionalEncoding": "layers",
    "PositionalEncoding2D": "layers",
    "RNNDecoder": "models",
    "RNNEncoder": "models",
    "RelativePositionBias": "layers",
    "RotaryEmbedding": "layers",
    "RotaryEmbedding2D": "layers",
    "Sample": "decoding",
    "SelfAttention": "layers",
    "Seq2Seq": "models",
    "SetAttentionBlock": "layers",
    "ShawRelativePosition": "layers",
    "TransformerDecoder": "models",
    "TransformerDecoderBlock": "layers",
    "TransformerEncoder": "models",
    "TransformerEncoderBlock": "layers",
    "TransformerStack": "layers",
    "Vocabulary": "text",
    "YaRNScaling": "layers",
    "build_ensemble": "models",
    "build_seq2seq": "models",
    "decoding": None,
    "export": None,
    "functional": None,
    "layers": None,
    "load": "models",
    "masks": None,
    "migration": None,
    "models": None,
    "plots": None,
    "read_attention": "models",
    "replace_attention": "migration",
    "tap_attention": "models",
    "text": None,
    "training": None,
}
__all__ = list(_PLACES)


def __getattr__(name):
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    place = _PLACES[name]
    module = importlib.import_module(f"{__name__}.{place or name}")
    return getattr(module, name) if place else module


def __dir__():
    return sorted([*__all__, "__version__"])


registration.register()
