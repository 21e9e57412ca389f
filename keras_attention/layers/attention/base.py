"""What every attention layer shares: one call, its masks and its dropout."""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.functional import Dropout
from keras_attention.functional.replicas import seed_of_replica
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.mask_carrier import MaskCarrier


class QueryValueLayer(MaskCarrier, StaysFrozen, keras.layers.Layer):
    """Base of the layers that are called with query and value.

    Args:
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    needs_value = True  # False where a sequence may attend to itself

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def __call__(self, *args, **kwargs):
        self._check_inputs(*args, **kwargs)
        return super().__call__(*args, **kwargs)

    def _check_inputs(self, query=None, value=None, *_, **__):
        """Raises a ValueError unless query and value are two arguments."""
        name = type(self).__name__
        if isinstance(query, (list, tuple)):
            raise validation.invalid(
                "query",
                "one tensor",
                f"a {type(query).__name__} of {len(query)}",
                f"Write `layer(query, value)` for {name}, not "
                "`layer([query, value])`.",
            )
        if value is None and self.needs_value:
            raise ValueError(
                f"`value` must be given: {name} takes two inputs, "
                "`layer(query, value)`. Received: value=None. A "
                "`keras.Sequential` passes one: use the functional API, or "
                "`SelfAttention`, which takes one."
            )


class AttentionLayer(QueryValueLayer):
    """Base of the attention layers with dropout; not a layer by itself.

    Args:
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(self, dropout: float = 0.0, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.dropout = validation.check_rate("dropout", dropout)
        self.seed = seed
        # A layer that draws anything else in training makes one, too.
        self.seed_generator = None
        if dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def draw_seed(self, training: bool | None) -> Any:
        """Returns the seed of what this call draws, None if it draws nothing.

        Only training draws, from a `seed_generator`.
        """
        if self.seed_generator is None or not training:
            return None
        return seed_of_replica(self.seed_generator.next())

    def dropout_for(self, training: bool | None) -> Dropout | None:
        """Returns the `functional.Dropout` of this call, or None."""
        seed = self.draw_seed(training)
        return None if seed is None else Dropout(self.dropout, seed)

    def get_config(self) -> dict[str, Any]:
        config = {"dropout": self.dropout, "seed": self.seed}
        return {**super().get_config(), **config}
