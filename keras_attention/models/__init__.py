"""Encoders, decoders, and the models made of them."""

from keras_attention.models.attention_taps import read_attention
from keras_attention.models.attention_taps import tap_attention
from keras_attention.models.builder import build_seq2seq
from keras_attention.models.cnn_encoder import CNNEncoder
from keras_attention.models.decoder_only_transformer import (
    DecoderOnlyTransformer,
)
from keras_attention.models.ensemble import build_ensemble
from keras_attention.models.ensemble_layers import EnsembleDecoder
from keras_attention.models.ensemble_layers import EnsembleEncoder
from keras_attention.models.folders import load
from keras_attention.models.folders import read_card
from keras_attention.models.generated import GeneratedTexts
from keras_attention.models.generated import GeneratedTokens
from keras_attention.models.generation import generate_tokens
from keras_attention.models.language_model import LanguageModel
from keras_attention.models.layouts import layout_map
from keras_attention.models.rnn_decoder import RNNDecoder
from keras_attention.models.rnn_encoder import RNNEncoder
from keras_attention.models.seq2seq import Seq2Seq
from keras_attention.models.transformer_decoder import TransformerDecoder
from keras_attention.models.transformer_encoder import TransformerEncoder

__all__ = [
    "CNNEncoder",
    "DecoderOnlyTransformer",
    "EnsembleDecoder",
    "EnsembleEncoder",
    "GeneratedTexts",
    "GeneratedTokens",
    "LanguageModel",
    "RNNDecoder",
    "RNNEncoder",
    "Seq2Seq",
    "TransformerDecoder",
    "TransformerEncoder",
    "build_ensemble",
    "build_seq2seq",
    "generate_tokens",
    "layout_map",
    "load",
    "read_attention",
    "read_card",
    "tap_attention",
]
