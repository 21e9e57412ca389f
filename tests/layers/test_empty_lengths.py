"""Each attention layer where there is no query, no key, or neither."""

import numpy as np
import pytest
from keras import ops

from keras_attention import AdditiveAttention
from keras_attention import CoverageAttention
from keras_attention import DifferentialAttention
from keras_attention import DotProductAttention
from keras_attention import ForwardAttention
from keras_attention import GaussianMixtureAttention
from keras_attention import LatentAttention
from keras_attention import LinearAttention
from keras_attention import LocalAttention
from keras_attention import LocationSensitiveAttention
from keras_attention import LowRankAttention
from keras_attention import MonotonicAttention
from keras_attention import MultiHeadAttention
from keras_attention import PooledAttention
from keras_attention import SelfAttention

BATCH, LENGTH, UNITS, HEADS, KEY_DIM, WIDTH = 3, 5, 11, 2, 4, 13
SINGLE_HEAD = {
    "additive": lambda: AdditiveAttention(UNITS),
    "dot": lambda: DotProductAttention(),
    "general": lambda: DotProductAttention("general"),
    "cosine": lambda: DotProductAttention("cosine"),
    "distance": lambda: DotProductAttention("distance"),
    "local": lambda: LocalAttention(2, UNITS),
    "local, predictive": lambda: LocalAttention(2, UNITS, predictive=True),
    "location": lambda: LocationSensitiveAttention(UNITS, 3, 5),
    "coverage": lambda: CoverageAttention(UNITS),
    "forward": lambda: ForwardAttention(
        score=LocationSensitiveAttention(UNITS, 3, 5),
        use_transition_agent=True,
    ),
    "monotonic": lambda: MonotonicAttention(UNITS),
    "mocha": lambda: MonotonicAttention(UNITS, chunk_size=3),
    "mixture": lambda: GaussianMixtureAttention(UNITS),
}
# Their output has a bias, and a width of its own.
PROJECTED = {
    "self": lambda: SelfAttention(UNITS),
    "multi-head": lambda: MultiHeadAttention(HEADS, KEY_DIM),
    "latent": lambda: LatentAttention(HEADS, KEY_DIM, 7),
    "differential": lambda: DifferentialAttention(HEADS, KEY_DIM),
    "linear": lambda: LinearAttention(HEADS, KEY_DIM),
    "low-rank": lambda: LowRankAttention(HEADS, KEY_DIM, 3, max_length=7),
    "pooled": lambda: PooledAttention(HEADS, KEY_DIM, pool_size=2),
}
# JAX compiles each of them anew.
pytestmark = pytest.mark.tensorflow_only


@pytest.mark.parametrize("name", [*SINGLE_HEAD, *PROJECTED])
def test_no_query_and_no_key(name):
    layer = {**SINGLE_HEAD, **PROJECTED}[name]()
    sequence = np.ones((BATCH, LENGTH, WIDTH), "float32")
    layer(sequence, sequence)
    for queries, keys in ((0, 0), (0, LENGTH), (LENGTH, 0)):
        query, value = sequence[:, :queries], sequence[:, :keys]
        for training in (False, True):
            output, weights = layer(
                query, value, training=training, return_attention_scores=True
            )
            assert output.shape == layer.compute_output_shape(
                query.shape, value.shape
            )
            assert weights.shape[:1] == (BATCH,)
            assert weights.shape[-2] == queries
            if name not in ("low-rank", "pooled"):
                assert weights.shape[-1] == keys
            # Nothing is asked, or nothing found, and the biases are zeros.
            assert not np.any(ops.convert_to_numpy(output))
            assert not np.any(ops.convert_to_numpy(weights))
