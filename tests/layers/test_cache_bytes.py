"""What a position costs in a cache: the sizes of its tensors."""

import numpy as np
import pytest

from keras_attention.layers import LatentAttention
from keras_attention.layers import LinearAttention
from keras_attention.layers import MultiHeadAttention

BATCH, LENGTH, HEADS, KEY_DIM, VALUE_DIM = 2, 13, 6, 5, 7
SIZES = {"num_heads": HEADS, "key_dim": KEY_DIM, "value_dim": VALUE_DIM}
LATENT = {"latent_dim": 11, "rotary_dim": 4}
# Numbers kept for each sequence of LENGTH positions, by hand.
CACHES = {
    "heads": (MultiHeadAttention(**SIZES), 13 * 6 * (5 + 7)),
    "grouped": (
        MultiHeadAttention(**SIZES, num_key_value_heads=2),
        13 * 2 * (5 + 7),
    ),
    "window": (MultiHeadAttention(**SIZES, sliding_window=3), 3 * 6 * (5 + 7)),
    "latent": (LatentAttention(**SIZES, **LATENT), 13 * (11 + 4)),
}


@pytest.mark.parametrize(("layer", "expected"), CACHES.values(), ids=CACHES)
def test_cache_holds_this_many_numbers(layer, expected):
    cache = layer.make_cache(BATCH, LENGTH)
    found = sum(np.prod(part.shape) for part in cache.values())
    assert found == BATCH * expected


def test_cache_of_linear_attention_does_not_grow():
    layer = LinearAttention(**SIZES)
    cache = layer.make_cache(BATCH)
    inputs = np.ones((BATCH, LENGTH, 3), "float32")
    _, later = layer(inputs, inputs, cache=cache)
    found = sum(np.prod(part.shape) for part in later.values())
    # For each feature a sum of values, its own sum, and its scale.
    assert found == BATCH * HEADS * KEY_DIM * (VALUE_DIM + 1 + 1)
