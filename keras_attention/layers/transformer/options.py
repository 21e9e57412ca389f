"""The options of attention, as one object that travels through blocks."""

import dataclasses
from typing import Any

import keras

from keras_attention import validation
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.positions.position import with_objects


@keras.saving.register_keras_serializable(package="keras_attention")
@dataclasses.dataclass(frozen=True)
class AttentionOptions:
    """What the attentions of a block, a stack, an encoder or a decoder are.

    Each is an argument of `MultiHeadAttention`, with the same default.

    Args:
        flash_attention: of the self-attention.
        sliding_window: of the self-attention.
        position: of the self-attention.
        num_key_value_heads: of self- and cross-attention.
        logit_soft_cap: of both.
        use_sink: of both.
        use_gate: of both.
        use_bias: of both.
        query_key_norm: of both.
        dropout: of the weights of both. None: the dropout of the block. A
            fused kernel has none, so 0.0 is what lets training use one.

    Raises:
        ValueError: if `flash_attention` or `dropout` is out of range; of
            other options when a block is made.

    Example:

    >>> import numpy as np
    >>> from keras_attention.layers import AttentionOptions
    >>> from keras_attention.layers import TransformerEncoderBlock
    >>> options = AttentionOptions(num_key_value_heads=1, use_sink=True)
    >>> block = TransformerEncoderBlock(2, 11, attention_options=options)
    >>> block(np.ones((3, 5, 14))).shape
    TensorShape([3, 5, 14])
    """

    flash_attention: bool | None = None
    sliding_window: int | None = None
    position: Any = None
    num_key_value_heads: int | None = None
    logit_soft_cap: float | None = None
    use_sink: bool = False
    use_gate: bool = False
    use_bias: bool = True
    query_key_norm: str | None = None
    dropout: float | None = None

    def __post_init__(self):
        validation.check_choice(
            "flash_attention", self.flash_attention, (None, True, False)
        )
        if self.dropout is not None:
            validation.check_rate("dropout", self.dropout)

    def of_self_attention(self) -> dict:
        """Returns the options of a self-attention by name.

        The dropout is left out where it is that of the block.
        """
        options = self._by_name()
        if self.dropout is None:
            del options["dropout"]
        return options

    def of_cross_attention(self) -> dict:
        """Returns the options of a cross-attention by name.

        Positions of a source are none of the target, so what compares them
        is left out; and how scores are built is picked by size.
        """
        options = self.of_self_attention()
        for name in ("flash_attention", "sliding_window", "position"):
            del options[name]
        return options

    def get_config(self) -> dict[str, Any]:
        return {**self._by_name(), "position": shared_config(self.position)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionOptions":
        return cls(**objects_of(config))

    def _by_name(self):
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names}


def joined_options(
    attention_options: AttentionOptions | None,
    flash_attention: bool | None,
    position: Any,
) -> AttentionOptions:
    """Returns the options with the two that have keywords of their own.

    Raises:
        ValueError: if an option is given twice, differently.
    """
    options = attention_options or AttentionOptions()
    if not isinstance(options, AttentionOptions):
        raise ValueError(
            "`attention_options` must be an AttentionOptions or None. "
            f"Received: attention_options={attention_options!r}."
        )
    for name, value in (
        ("flash_attention", flash_attention),
        ("position", position),
    ):
        found = getattr(options, name)
        if value is None:
            continue
        if found is not None and found is not value:
            raise ValueError(
                f"`{name}` must be given once. Received: {name}={value!r}, "
                f"attention_options.{name}={found!r}."
            )
        options = dataclasses.replace(options, **{name: value})
    return options


def objects_of(config: dict) -> dict:
    """Returns a config whose position and options are objects again."""
    return with_objects(config, "position", "attention_options")
