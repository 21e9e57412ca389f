"""What the Transformer blocks share."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.functional import padding
from keras_attention.layers.attention.call_masks import check_sequence_mask
from keras_attention.layers.attention.multi_head import MultiHeadAttention
from keras_attention.layers.dropout import Dropout
from keras_attention.layers.dropout import child_seed
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.mask_carrier import MaskCarrier
from keras_attention.layers.positions.position import checked_position
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.transformer.options import AttentionOptions
from keras_attention.layers.transformer.options import joined_options
from keras_attention.layers.transformer.options import objects_of
from keras_attention.masks.booleans import as_boolean


class ResidualBlock(MaskCarrier, StaysFrozen, keras.layers.Layer):
    """What all blocks share: sublayers, each with residual and norm.

    Args:
        num_heads: number of attention heads.
        feed_forward_units: width of the hidden feed-forward layer.
        key_dim: width of a head. Defaults to the input width / num_heads.
        dropout: share of attention weights, and of each sublayer's output,
            dropped in training.
        activation: activation of the feed-forward layer.
        normalize_first: whether to normalise before each sublayer (pre-norm,
            Xiong et al. 2020) or after the residual sum (post-norm, Vaswani
            et al. 2017).
        layer_norm_epsilon: added to the variance in the normalisation.
        seed: integer seed of the dropouts.
        attention_options: an `AttentionOptions`: what else can be chosen.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_heads: int,
        feed_forward_units: int,
        key_dim: int | None = None,
        dropout: float = 0.0,
        activation: Any = "relu",
        normalize_first: bool = True,
        layer_norm_epsilon: float = 1e-6,
        seed: int | None = None,
        *,
        attention_options: AttentionOptions | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_heads = validation.check_positive_integer(
            "num_heads", num_heads
        )
        self.feed_forward_units = validation.check_positive_integer(
            "feed_forward_units", feed_forward_units
        )
        self.key_dim = validation.check_positive_integer(
            "key_dim", key_dim, optional=True
        )
        self.dropout = validation.check_rate("dropout", dropout)
        self.activation = keras.activations.get(activation)
        self.normalize_first = normalize_first
        self.layer_norm_epsilon = validation.check_positive_number(
            "layer_norm_epsilon", layer_norm_epsilon
        )
        self.seed = seed
        self.attention_options = attention_options
        self._options = joined_options(attention_options, None, None)

    def _build_attention(self, name, query_shape, value_shape, **options):
        width = query_shape[-1]
        if self.key_dim is None and width % self.num_heads:
            raise validation.invalid(
                "num_heads",
                f"a divisor of the input width {width}",
                self.num_heads,
                "Or set `key_dim`.",
            )
        attention = MultiHeadAttention(
            num_heads=self.num_heads,
            key_dim=self.key_dim or width // self.num_heads,
            seed=child_seed(self.seed, name),
            dtype=self.dtype_policy,
            name=name,
            **{"dropout": self.dropout, **options},
        )
        attention.build(query_shape, value_shape)
        return attention

    def _build_feed_forward(self, shape):
        common = {"dtype": self.dtype_policy}
        self.hidden_dense = keras.layers.Dense(
            self.feed_forward_units,
            activation=self.activation,
            name="feed_forward_hidden",
            **common,
        )
        self.hidden_dense.build(shape)
        self.output_dense = keras.layers.Dense(
            shape[-1], name="feed_forward_output", **common
        )
        self.output_dense.build((*shape[:-1], self.feed_forward_units))

    def _build_residuals(self, names, shape):
        """Builds the normalisation and the dropout of each sublayer."""
        self.normalizations, self.dropouts = [], []
        for name in names:
            normalization = keras.layers.LayerNormalization(
                epsilon=self.layer_norm_epsilon,
                dtype=self.dtype_policy,
                name=f"{name}_normalization",
            )
            normalization.build(shape)
            self.normalizations.append(normalization)
            self.dropouts.append(
                Dropout(
                    self.dropout,
                    seed=child_seed(self.seed, f"{name}_dropout"),
                    dtype=self.dtype_policy,
                    name=f"{name}_dropout",
                )
            )

    def _residual(self, number, inputs, sublayer, training):
        """Returns inputs + dropout(sublayer(inputs)), normalised."""
        normalize = self.normalizations[number]
        x = normalize(inputs) if self.normalize_first else inputs
        x = self.dropouts[number](sublayer(x), training=training)
        x = inputs + x
        return x if self.normalize_first else normalize(x)

    def _feed_forward(self, x):
        return self.output_dense(self.hidden_dense(x))

    def get_config(self) -> dict[str, Any]:
        options = keras.saving.serialize_keras_object(self.attention_options)
        config = {
            "num_heads": self.num_heads,
            "feed_forward_units": self.feed_forward_units,
            "key_dim": self.key_dim,
            "dropout": self.dropout,
            "activation": keras.activations.serialize(self.activation),
            "normalize_first": self.normalize_first,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "seed": self.seed,
            "attention_options": options,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ResidualBlock":
        return super().from_config(objects_of(config))


class TransformerBlock(ResidualBlock):
    """What the encoder and the decoder block share: a self-attention.

    Args:
        num_heads: as those of `ResidualBlock`, up to `seed`.
        feed_forward_units: see there.
        key_dim: see there.
        dropout: see there.
        activation: see there.
        normalize_first: see there.
        layer_norm_epsilon: see there.
        seed: see there.
        flash_attention: as that of `MultiHeadAttention`, for the
            self-attention.
        position: as that of `MultiHeadAttention`, for the self-attention.
        attention_options: an `AttentionOptions`: what else can be chosen.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_heads: int,
        feed_forward_units: int,
        key_dim: int | None = None,
        dropout: float = 0.0,
        activation: Any = "relu",
        normalize_first: bool = True,
        layer_norm_epsilon: float = 1e-6,
        seed: int | None = None,
        flash_attention: bool | None = None,
        *,
        position: Any = None,
        attention_options: AttentionOptions | None = None,
        **kwargs,
    ):
        super().__init__(
            num_heads,
            feed_forward_units,
            key_dim,
            dropout,
            activation,
            normalize_first,
            layer_norm_epsilon,
            seed,
            attention_options=attention_options,
            **kwargs,
        )
        self.flash_attention = flash_attention
        self.position = checked_position(position)
        self._options = joined_options(
            attention_options, flash_attention, position
        )

    def compute_output_shape(
        self, inputs_shape: tuple, encoded_shape: tuple | None = None
    ) -> tuple:
        return inputs_shape

    def reorder(self, state: dict[str, Any], parents: Any) -> dict[str, Any]:
        """Returns the state whose slot k holds what slot parents[:, k] held.

        Args:
            state: what `start` or `step` returned.
            parents: integer tensor (batch, slots).
        """
        return self.self_attention.cache_layout.reorder(state, parents)

    def repeat(self, state: dict[str, Any], slots: int) -> dict[str, Any]:
        """Returns the state of one slot as that of `slots` equal ones."""
        return self.self_attention.cache_layout.repeat(state, slots)

    def get_config(self) -> dict[str, Any]:
        config = {
            "flash_attention": self.flash_attention,
            "position": shared_config(self.position),
        }
        return {**super().get_config(), **config}


def without_padding(name: str, inputs: Any, mask: Any) -> tuple:
    """Returns inputs with zeros at padding, and the mask as booleans.

    NaN at padding would reach the kernels by their gradients.

    Args:
        name: what an error calls the mask.
        inputs: (batch, length, width).
        mask: boolean or 0/1 (batch, length), True = real, or None.
    """
    if mask is None:
        return inputs, None
    check_sequence_mask(name, mask, inputs.shape[:2])
    mask = as_boolean(name, mask)
    return padding.keep(inputs, mask), mask


def output_spec(
    layer: keras.layers.Layer,
    inputs: Any,
    return_attention_scores: bool,
    key_length: int | None,
) -> Any:
    """Returns what a block or a stack returns, as `keras.KerasTensor`s."""
    output = keras.KerasTensor(inputs.shape, dtype=layer.compute_dtype)
    if not return_attention_scores:
        return output
    batch, length = inputs.shape[:2]
    shape = (batch, layer.num_heads, length, key_length)
    return output, keras.KerasTensor(shape, dtype=layer.compute_dtype)
