"""Rotary position embedding."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.functional import positions
from keras_attention.layers.positions.position import with_objects
from keras_attention.layers.positions.rotation import Rotation
from keras_attention.layers.positions.scaling import RotaryScaling


@keras.saving.register_keras_serializable(package="keras_attention")
class RotaryEmbedding(Rotation):
    """Rotates queries and keys by their positions (RoFormer).

    Pair i of the features of a head is rotated by the angle

        p * theta_i,  theta_i = max_wavelength^(-2i / rotary_dim)

    at position p (arXiv 2104.09864, equation 34), so that the product of a
    query at m and a key at n depends on m - n alone. There are no weights.
    Give it to `MultiHeadAttention(position=)`, a block or a stack, or call it
    on heads.

    Which features are a pair differs between checkpoints. RoFormer, GPT-J and
    the first LLaMA release pair neighbours (2i, 2i + 1): `interleaved=True`.
    GPT-NeoX, LLaMA in Hugging Face Transformers and KerasHub pair the halves
    (i, i + rotary_dim / 2): `interleaved=False`. A model that is trained
    anew learns as well with either.

    Args:
        max_wavelength: the base of the wavelengths; "rope theta" elsewhere.
        rotary_dim: how many features of a head are rotated, an even number;
            the rest has no position. Defaults to all of them.
        interleaved: whether neighbours are pairs, or halves.
        scaling: how a model reads more than it was trained on: a
            `LinearScaling`, `NTKScaling` or `YaRNScaling`. None: not at all.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor (batch, length, num_heads, width).
        start_index: position of the first entry, an integer, a scalar tensor
            or one integer per row (batch,).

    Returns:
        Tensor of the shape of `inputs`. Angles are float32 whatever the
        dtype.

    Masking:
        Padded positions are rotated like any other.

    Raises:
        ValueError: if `rotary_dim` is odd or exceeds the width of a head,
            or `inputs` has not four axes.

    Example:

    >>> import numpy as np
    >>> from keras_attention import MultiHeadAttention, RotaryEmbedding
    >>> layer = MultiHeadAttention(2, 4, position=RotaryEmbedding())
    >>> layer(np.ones((3, 5, 7)), np.ones((3, 5, 7))).shape
    TensorShape([3, 5, 7])
    """

    def __init__(
        self,
        max_wavelength: float = 10000.0,
        rotary_dim: int | None = None,
        interleaved: bool = False,
        scaling: RotaryScaling | None = None,
        **kwargs,
    ):
        super().__init__(interleaved, **kwargs)
        self.max_wavelength = validation.check_positive_number(
            "max_wavelength", max_wavelength
        )
        self.rotary_dim = validation.check_positive_integer(
            "rotary_dim", rotary_dim, optional=True
        )
        if self.rotary_dim and self.rotary_dim % 2:
            raise validation.invalid("rotary_dim", "even", rotary_dim)
        if scaling is not None and not isinstance(scaling, RotaryScaling):
            raise validation.invalid(
                "scaling",
                "an object such as LinearScaling(4.0), or None",
                repr(scaling),
            )
        self.scaling = scaling

    @property
    def magnitude(self) -> float:
        """What multiplies the rotated features of query and key."""
        return 1.0 if self.scaling is None else self.scaling.magnitude

    def angles(self, position: Any, width: int) -> Any:
        rotary_dim = self.rotary_dim or width
        if rotary_dim > width or rotary_dim % 2:
            raise validation.invalid(
                "rotary_dim",
                f"even and at most the width of a head, {width}",
                self.rotary_dim,
                "None rotates all features of a head of even width.",
            )
        rates_of = positions.rotary_rates
        if self.scaling is not None:
            rates_of = self.scaling.rates
        rates = rates_of(rotary_dim, self.max_wavelength)
        return positions.angles(position, rates)

    def get_config(self) -> dict[str, Any]:
        config = {
            "max_wavelength": self.max_wavelength,
            "rotary_dim": self.rotary_dim,
            "scaling": keras.saving.serialize_keras_object(self.scaling),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RotaryEmbedding":
        return super().from_config(with_objects(config, "scaling"))
