"""The layers: the only rooms that hold weights."""

from keras_attention.layers.attention.additive import AdditiveAttention
from keras_attention.layers.attention.coverage import CoverageAttention
from keras_attention.layers.attention.differential import DifferentialAttention
from keras_attention.layers.attention.dot_product import DotProductAttention
from keras_attention.layers.attention.forward import ForwardAttention
from keras_attention.layers.attention.gaussian_mixture import (
    GaussianMixtureAttention,
)
from keras_attention.layers.attention.latent import LatentAttention
from keras_attention.layers.attention.linear import LinearAttention
from keras_attention.layers.attention.local import LocalAttention
from keras_attention.layers.attention.location_sensitive import (
    LocationSensitiveAttention,
)
from keras_attention.layers.attention.low_rank import LowRankAttention
from keras_attention.layers.attention.mechanism import AttentionMechanism
from keras_attention.layers.attention.monotonic import MonotonicAttention
from keras_attention.layers.attention.multi_head import MultiHeadAttention
from keras_attention.layers.attention.pooled import PooledAttention
from keras_attention.layers.attention.self_attention import SelfAttention
from keras_attention.layers.dropout import Dropout
from keras_attention.layers.pooling.attention_pooling import AttentionPooling
from keras_attention.layers.pooling.induced_set_attention_block import (
    InducedSetAttentionBlock,
)
from keras_attention.layers.pooling.perceiver_encoder import PerceiverEncoder
from keras_attention.layers.pooling.pooling_by_multi_head_attention import (
    PoolingByMultiHeadAttention,
)
from keras_attention.layers.pooling.set_attention_block import SetAttentionBlock
from keras_attention.layers.positions.alibi import AlibiBias
from keras_attention.layers.positions.learned import LearnedPositionalEncoding
from keras_attention.layers.positions.linear_scaling import LinearScaling
from keras_attention.layers.positions.ntk_scaling import NTKScaling
from keras_attention.layers.positions.position import AttentionPosition
from keras_attention.layers.positions.relative_bias import RelativePositionBias
from keras_attention.layers.positions.rotary import RotaryEmbedding
from keras_attention.layers.positions.rotary_2d import RotaryEmbedding2D
from keras_attention.layers.positions.shaw import ShawRelativePosition
from keras_attention.layers.positions.sinusoidal import PositionalEncoding
from keras_attention.layers.positions.sinusoidal_2d import PositionalEncoding2D
from keras_attention.layers.positions.yarn_scaling import YaRNScaling
from keras_attention.layers.recurrent.attention_cell import AttentionCell
from keras_attention.layers.recurrent.attention_rnn import AttentionRNN
from keras_attention.layers.transformer.decoder_block import (
    TransformerDecoderBlock,
)
from keras_attention.layers.transformer.encoder_block import (
    TransformerEncoderBlock,
)
from keras_attention.layers.transformer.multi_head_attention_block import (
    MultiHeadAttentionBlock,
)
from keras_attention.layers.transformer.options import AttentionOptions
from keras_attention.layers.transformer.stack import TransformerStack

__all__ = [
    "AdditiveAttention",
    "AlibiBias",
    "AttentionCell",
    "AttentionMechanism",
    "AttentionOptions",
    "AttentionPooling",
    "AttentionPosition",
    "AttentionRNN",
    "CoverageAttention",
    "DifferentialAttention",
    "DotProductAttention",
    "Dropout",
    "ForwardAttention",
    "GaussianMixtureAttention",
    "InducedSetAttentionBlock",
    "LatentAttention",
    "LearnedPositionalEncoding",
    "LinearAttention",
    "LinearScaling",
    "LocalAttention",
    "LocationSensitiveAttention",
    "LowRankAttention",
    "MonotonicAttention",
    "MultiHeadAttention",
    "MultiHeadAttentionBlock",
    "NTKScaling",
    "PerceiverEncoder",
    "PooledAttention",
    "PoolingByMultiHeadAttention",
    "PositionalEncoding",
    "PositionalEncoding2D",
    "RelativePositionBias",
    "RotaryEmbedding",
    "RotaryEmbedding2D",
    "SelfAttention",
    "SetAttentionBlock",
    "ShawRelativePosition",
    "TransformerDecoderBlock",
    "TransformerEncoderBlock",
    "TransformerStack",
    "YaRNScaling",
]
