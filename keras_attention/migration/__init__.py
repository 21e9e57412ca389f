"""The way home from other packages: their weights in our layers."""

from keras_attention.migration.attention_wrapper import from_attention_wrapper

__all__ = ["from_attention_wrapper"]
