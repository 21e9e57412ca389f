"""Pure functions on tensors: the whole of the attention maths, no weights."""

from keras_attention.functional.alignment_losses import diagonal_alignment
from keras_attention.functional.alignment_losses import diagonal_alignment_loss
from keras_attention.functional.alignment_losses import guided_alignment_loss
from keras_attention.functional.attention import attend
from keras_attention.functional.biases import DistanceBias
from keras_attention.functional.compiling import portable
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.dropout import random_bits
from keras_attention.functional.dropout import random_uniform
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore
from keras_attention.functional.softmax import masked_softmax

__all__ = [
    "AdditiveScore",
    "DistanceBias",
    "DotProductScore",
    "Dropout",
    "attend",
    "diagonal_alignment",
    "diagonal_alignment_loss",
    "guided_alignment_loss",
    "masked_softmax",
    "portable",
    "random_bits",
    "random_uniform",
]
