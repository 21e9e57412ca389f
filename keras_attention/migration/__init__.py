"""The way home from other packages: their weights in our layers."""

from keras_attention.migration.activated import ActivatedMultiHeadAttention
from keras_attention.migration.attention_wrapper import from_attention_wrapper
from keras_attention.migration.cyberzhg import CyberZHGAttention
from keras_attention.migration.cyberzhg import from_cyberzhg
from keras_attention.migration.keras_hub import KerasHubAttention
from keras_attention.migration.keras_layers import from_keras
from keras_attention.migration.philipperemy import ManyToOneAttention
from keras_attention.migration.philipperemy import from_philipperemy
from keras_attention.migration.pytorch import from_torch
from keras_attention.migration.replacement import Changed
from keras_attention.migration.replacement import Kept
from keras_attention.migration.replacement import Replacement
from keras_attention.migration.replacing import replace_attention
from keras_attention.migration.unprojected import UnprojectedAttention

__all__ = [
    "ActivatedMultiHeadAttention",
    "Changed",
    "CyberZHGAttention",
    "Kept",
    "KerasHubAttention",
    "ManyToOneAttention",
    "Replacement",
    "UnprojectedAttention",
    "from_attention_wrapper",
    "from_cyberzhg",
    "from_keras",
    "from_philipperemy",
    "from_torch",
    "replace_attention",
]
