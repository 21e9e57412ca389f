"""The two score functions. Every other score is a projection before one.

Letters: B batch, T query length, S key length, N heads, K key/value heads,
G = N / K query heads that share one of them, H key_dim.
"""

import dataclasses
import math
from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.functional import additive
from keras_attention.functional import kernels
from keras_attention.masks import Mask

# Above this many (query, key, unit) triples the additive score is computed
# without the units axis. Measured; see benchmarks/additive.py.
LARGEST_PAIRS = 2**16


@dataclasses.dataclass(frozen=True, eq=False)
class DotProductScore:
    """score(q, k) = scale * q . k (Vaswani et al. 2017, equation 1).

    Args:
        scale: number or scalar tensor that multiplies the product. Defaults
            to 1 / sqrt(key_dim).

    Raises:
        ValueError: if `scale` is not finite.
    """

    scale: Any = None
    vector = None

    def __post_init__(self):
        if validation.is_number(self.scale):
            scale = validation.check_number("scale", self.scale)
            object.__setattr__(self, "scale", scale)

    def kernel(
        self, query: Any, key: Any, mask: Mask | None = None
    ) -> kernels.DotProductKernel:
        """Returns what computes the scores of a block; `scale` is a float."""
        return kernels.DotProductKernel(self.scale)

    def check(self, query_shape: tuple) -> None:
        """Nothing to check: the kernel has no weights."""
        return  # AutoGraph warns of a function that has a docstring alone.

    def scores(self, query: Any, key: Any, mask: Mask | None = None) -> Any:
        """Returns (B, N, T, S) from query (B, T, N, H) and key (B, S, K, H).

        The query is scaled before the product, which is T*H multiplications
        instead of T*S and the same to rounding.
        """
        query = self.scale_query(query)
        if query.shape[2] == key.shape[2]:
            return ops.einsum("btnh,bsnh->bnts", query, key)
        query = group_heads(query, key.shape[2])
        scores = ops.einsum("btkgh,bskh->bkgts", query, key)
        return merge_groups(scores)

    def scale_query(self, query: Any) -> Any:
        """Returns the query times the scale."""
        scale = self.scale
        if scale is None:
            scale = 1.0 / math.sqrt(query.shape[-1])
        if not isinstance(scale, float):
            scale = ops.cast(scale, query.dtype)
        return query * scale


@dataclasses.dataclass(frozen=True, eq=False)
class AdditiveScore:
    """score(q, k) = vector . tanh(q + k) (Bahdanau et al. 2015, A.1.2).

    The projections W_q q and W_k k are made before, so that each is made
    once per position and not once per pair.

    Args:
        vector: float tensor (units,), or (num_heads, units) for one vector
            per head.
    """

    vector: Any

    def __post_init__(self):
        if not hasattr(self.vector, "shape"):
            vector = ops.convert_to_tensor(self.vector)
            object.__setattr__(self, "vector", vector)

    def check(self, query_shape: tuple) -> None:
        """Raises a ValueError unless the vector fits query and heads."""
        heads, units = query_shape[2], query_shape[3]
        validation.check_broadcasts(
            "score.vector",
            self.vector.shape,
            (heads, units),
            "(num_heads, units)",
        )

    def kernel(
        self, query: Any, key: Any, mask: Mask | None = None
    ) -> additive.AdditiveKernel:
        """Returns what computes the scores of a block."""
        group = query.shape[2] // key.shape[2]
        is_small = additive.is_small(query, key, mask)
        return additive.AdditiveKernel(is_small, group)

    def scale_query(self, query: Any) -> Any:
        """Returns the query: there is nothing to scale."""
        return query

    def scores(self, query: Any, key: Any, mask: Mask | None = None) -> Any:
        """Returns (B, N, T, S) from query (B, T, N, U) and key (B, S, K, U).

        The formula as it stands builds (B, T, S, N, U), so it serves small
        sizes only, such as one step of a decoder.
        """
        vector = ops.cast(self.vector, query.dtype)
        if _pairs(query, key) > LARGEST_PAIRS:
            return additive.scores(query, key, vector, mask)
        groups = query.shape[2] // key.shape[2]
        if groups > 1:
            key = ops.repeat(key, groups, axis=2)  # (B, S, N, U)
        pairs = ops.tanh(query[:, :, None] + key[:, None])  # (B, T, S, N, U)
        scores = ops.sum(pairs * vector, axis=-1)  # (B, T, S, N)
        return ops.transpose(scores, (0, 3, 1, 2))  # (B, N, T, S)


def _pairs(query, key):
    """Returns the number of (query, key, unit) triples of one row and head.

    One query is one step of a decoder, which stays small at any length.
    """
    queries, keys = query.shape[1], key.shape[1]
    if queries == 1 or keys == 1:
        return 0
    if queries is None or keys is None:
        return float("inf")
    return queries * keys * query.shape[3]


def group_heads(tensor: Any, num_key_value_heads: int) -> Any:
    """Splits (B, T, N, H) into (B, T, K, G, H)."""
    batch, length = ops.shape(tensor)[:2]
    heads, width = tensor.shape[2:]
    groups = heads // num_key_value_heads
    return ops.reshape(
        tensor, (batch, length, num_key_value_heads, groups, width)
    )


def merge_groups(scores: Any) -> Any:
    """Joins (B, K, G, T, S) into (B, N, T, S)."""
    batch, _, _, queries, keys = ops.shape(scores)
    heads = scores.shape[1] * scores.shape[2]
    return ops.reshape(scores, (batch, heads, queries, keys))
