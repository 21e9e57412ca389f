"""From other attention layers to those of this package, weights moved."""

from keras_attention.migration.keras_hub import KerasHubAttention
from keras_attention.migration.keras_layers import from_keras
from keras_attention.migration.replacement import Changed
from keras_attention.migration.replacement import Kept
from keras_attention.migration.replacement import Replacement
from keras_attention.migration.replacing import replace_attention
from keras_attention.migration.unprojected import UnprojectedAttention

__all__ = [
    "Changed",
    "KerasHubAttention",
    "Kept",
    "Replacement",
    "UnprojectedAttention",
    "from_keras",
    "replace_attention",
]
