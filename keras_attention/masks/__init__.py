"""Masks: which key each query may attend to.

A mask is boolean and True means *may attend*. Masks are small frozen objects
that describe a pattern instead of storing it, so that a long sequence costs
no (query_length, key_length) array: attention asks a mask for the block it is
about to compute (`block`) and for the keys it may skip (`key_range`). They
join with `&` and `|`.

    Causal() & Lengths([3, 5])      # left to right, inside two real lengths
    SlidingWindow(left=2, right=0)  # the two keys before, and itself

Letters in the shape comments: B batch, N heads, T query length, S key length.
"""

from keras_attention.masks.algebra import And
from keras_attention.masks.algebra import Or
from keras_attention.masks.algebra import combine_masks
from keras_attention.masks.array import Array
from keras_attention.masks.array import as_mask
from keras_attention.masks.base import Mask
from keras_attention.masks.positional import Causal
from keras_attention.masks.positional import PrefixLM
from keras_attention.masks.positional import SlidingWindow
from keras_attention.masks.rows import Lengths
from keras_attention.masks.rows import Padding
from keras_attention.masks.rows import QueryPadding
from keras_attention.masks.rows import Segments
from keras_attention.masks.sparse import GlobalTokens
from keras_attention.masks.sparse import RandomBlocks

__all__ = [
    "And",
    "Array",
    "Causal",
    "GlobalTokens",
    "Lengths",
    "Mask",
    "Or",
    "Padding",
    "PrefixLM",
    "QueryPadding",
    "RandomBlocks",
    "Segments",
    "SlidingWindow",
    "as_mask",
    "combine_masks",
]
