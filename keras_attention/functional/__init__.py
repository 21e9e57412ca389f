"""Pure functions on tensors: the whole of the attention maths, no weights."""

from keras_attention.functional.attention import attend
from keras_attention.functional.biases import DistanceBias
from keras_attention.functional.compiling import portable
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.dropout import random_bits
from keras_attention.functional.dropout import random_uniform
from keras_attention.functional.feature_maps import EluFeatures
from keras_attention.functional.feature_maps import FavorFeatures
from keras_attention.functional.feature_maps import FeatureMap
from keras_attention.functional.linear import linear_attend
from keras_attention.functional.linear import linear_attend_causal
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
    "attend",
    "linear_attend",
    "linear_attend_causal",
    "masked_softmax",
    "portable",
    "random_bits",
    "random_uniform",
]
