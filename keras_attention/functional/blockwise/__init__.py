"""Exact attention by blocks of keys, with a gradient written by hand."""

from keras_attention.functional.blockwise.attention import BATCH
from keras_attention.functional.blockwise.attention import TILES
from keras_attention.functional.blockwise.attention import attend_blockwise
from keras_attention.functional.blockwise.attention import schedule

__all__ = ["BATCH", "TILES", "attend_blockwise", "schedule"]
