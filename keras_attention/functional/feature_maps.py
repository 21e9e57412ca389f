"""Feature maps of linear attention: phi with weight = phi(q) phi(k).

Features are positive, and are given as their logarithms: see `linear`.
"""

import dataclasses
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attention import validation

# Added to the features, relative to the largest: no sum of products is zero.
FLOOR = 1e-6


class FeatureMap:
    """Base of the feature maps; a user's own is a citizen like ours.

    One is a frozen dataclass that implements `log_features`, and `projection`
    where it needs constants.
    """

    def projection(self, key_dim: int) -> np.ndarray | None:
        """Returns constants that the layer keeps as a weight, or None.

        Args:
            key_dim: width of a head.
        """
        return None

    def log_features(self, heads: Any, projection: Any = None) -> Any:
        """Returns log(phi(heads)), finite.

        Args:
            heads: float tensor (batch, length, num_heads, key_dim), at least
                float32.
            projection: what `projection` returned, as a tensor.

        Returns:
            Tensor (batch, length, num_heads, features) of the same dtype.
        """
        raise TypeError(f"{type(self).__name__} lacks `log_features`.")

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FeatureMap":
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_attention")
@dataclasses.dataclass(frozen=True)
class EluFeatures(FeatureMap):
    """phi(x) = elu(x) + 1 (Katharopoulos et al. 2020, equation 7).

    That is x + 1 above zero and exp(x) below it.

    Example:

    >>> import numpy as np
    >>> from keras_attention.functional import EluFeatures
    >>> features = EluFeatures().log_features(np.zeros((1, 1, 1, 2)))
    >>> np.exp(features).tolist()
    [[[[1.0, 1.0]]]]
    """

    def log_features(self, heads: Any, projection: Any = None) -> Any:
        above = ops.log1p(ops.maximum(heads, 0.0))
        return ops.where(heads > 0, above, heads)


@keras.saving.register_keras_serializable(package="keras_attention")
@dataclasses.dataclass(frozen=True)
class FavorFeatures(FeatureMap):
    """Positive orthogonal random features, FAVOR+, which approximate softmax.

        phi(x) = exp(W x' - |x'|^2 / 2) / sqrt(num_features),
        x' = x / key_dim^(1/4)

    so that the mean of phi(q) phi(k) over W is exp(q k / sqrt(key_dim)), the
    weight of scaled dot-product attention (Choromanski et al. 2021, arXiv
    2009.14794, lemma 1). The rows of W are normal vectors, orthogonal in
    groups of `key_dim` (section 2.4 has one group). They are drawn once, from
    the seed, and never again. The error falls with the number of features,
    and grows quickly with the size of query and key.

    Args:
        num_features: number of features; the paper takes about key_dim *
            log(key_dim).
        seed: integer seed of W.

    Raises:
        ValueError: if `num_features` is not a positive integer.

    Example:

    >>> import numpy as np
    >>> from keras_attention import FavorFeatures, LinearAttention
    >>> layer = LinearAttention(2, 7, feature_map=FavorFeatures(16, seed=3))
    >>> layer(np.ones((3, 5, 14)), np.ones((3, 11, 13))).shape
    TensorShape([3, 5, 14])
    """

    num_features: int
    seed: int = 0

    def __post_init__(self):
        validation.check_positive_integer("num_features", self.num_features)

    def projection(self, key_dim: int) -> np.ndarray:
        generator = np.random.default_rng(self.seed)
        groups = -(-self.num_features // key_dim)
        normal = generator.normal(size=(groups, key_dim, key_dim))
        rows, triangle = np.linalg.qr(np.swapaxes(normal, 1, 2))
        # Signs of the diagonal make the rotations uniform; QR alone
        # does not.
        signs = np.sign(np.diagonal(triangle, axis1=1, axis2=2))
        rows = np.swapaxes(rows * signs[:, None], 1, 2)
        lengths = np.linalg.norm(
            generator.normal(size=(groups, key_dim, key_dim)), axis=-1
        )
        rows = (rows * lengths[..., None]).reshape(-1, key_dim)
        return rows[: self.num_features].T  # (H, M)

    def log_features(self, heads: Any, projection: Any = None) -> Any:
        heads = heads * heads.shape[-1] ** -0.25
        features = ops.einsum(
            "btnh,hm->btnm", heads, ops.cast(projection, heads.dtype)
        )
        features = features - ops.sum(heads**2, axis=-1, keepdims=True) / 2
        features = features - math.log(self.num_features) / 2
        lowest = float(np.finfo("float32").min)  # of an empty batch
        largest = ops.max(features, axis=-1, keepdims=True, initial=lowest)
        floor = ops.stop_gradient(largest) + math.log(FLOOR)
        return ops.logaddexp(features, floor)


FEATURE_MAPS = {"elu": EluFeatures}


def feature_map_of(feature_map: Any) -> FeatureMap:
    """Returns the feature map of a name, or the one that is given."""
    if isinstance(feature_map, FeatureMap):
        return feature_map
    validation.check_choice("feature_map", feature_map, tuple(FEATURE_MAPS))
    return FEATURE_MAPS[feature_map]()
