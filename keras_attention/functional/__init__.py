"""Pure functions on tensors: the whole of the attention maths, no weights."""

from keras_attention.functional.alignment_losses import diagonal_alignment
from keras_attention.functional.alignment_losses import diagonal_alignment_loss
from keras_attention.functional.alignment_losses import guided_alignment_loss
from keras_attention.functional.attention import attend
from keras_attention.functional.compiling import portable
from keras_attention.functional.coverage import coverage_loss
from keras_attention.functional.devices import target_device
from keras_attention.functional.distance_biases import DistanceBias
from keras_attention.functional.distance_biases import LinearDistanceBias
from keras_attention.functional.distance_biases import QueryDistanceBias
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.dropout import random_bits
from keras_attention.functional.dropout import random_uniform
from keras_attention.functional.feature_maps import EluFeatures
from keras_attention.functional.feature_maps import FavorFeatures
from keras_attention.functional.feature_maps import FeatureMap
from keras_attention.functional.fused.batches import declared_batches
from keras_attention.functional.gaussian_mixture import gaussian_mixture_weights
from keras_attention.functional.linear import linear_attend
from keras_attention.functional.linear import linear_attend_causal
from keras_attention.functional.monotonic import chunk_alignment
from keras_attention.functional.monotonic import monotonic_alignment
from keras_attention.functional.precision import float32_products
from keras_attention.functional.ring import attend_in_ring
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore
from keras_attention.functional.softmax import masked_softmax

__all__ = [
    "AdditiveScore",
    "DistanceBias",
    "DotProductScore",
    "Dropout",
    "EluFeatures",
    "FavorFeatures",
    "FeatureMap",
    "LinearDistanceBias",
    "QueryDistanceBias",
    "attend",
    "attend_in_ring",
    "chunk_alignment",
    "coverage_loss",
    "declared_batches",
    "diagonal_alignment",
    "diagonal_alignment_loss",
    "float32_products",
    "gaussian_mixture_weights",
    "guided_alignment_loss",
    "linear_attend",
    "linear_attend_causal",
    "masked_softmax",
    "monotonic_alignment",
    "portable",
    "random_bits",
    "random_uniform",
    "target_device",
]
