"""Exact attention by blocks of keys, with a gradient written by hand."""

from keras_attention.functional.blockwise.attention import attend_blockwise
from keras_attention.functional.blockwise.attention import schedule
from keras_attention.functional.blockwise.grid import BATCH
from keras_attention.functional.blockwise.grid import TILES

__all__ = ["BATCH", "TILES", "attend_blockwise", "schedule"]
