"""What the layers share that shorten keys and values before attention."""

from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.layers.attention import head_projections
from keras_attention.layers.attention.base import QueryValueLayer
from keras_attention.layers.attention.call_masks import has_causal_part
from keras_attention.layers.attention.call_masks import mask_for
from keras_attention.layers.attention.head_projections import output_spec
from keras_attention.layers.attention.multi_head import MultiHeadAttention


class ShortenedAttention(QueryValueLayer):
    """Base of the layers that attend to fewer keys than they are given.

    A subclass says in `shorten` what it makes of keys and values, and in
    `short_length` how many those are. Since all of them are linear, they may
    come before the projections of `MultiHeadAttention`.

    Args:
        num_heads: number of heads.
        key_dim: width of a head for query and key.
        value_dim: width of a head for value; defaults to `key_dim`.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check = validation.check_positive_integer
        self.num_heads = check("num_heads", num_heads)
        self.key_dim = check("key_dim", key_dim)
        self.value_dim = check("value_dim", value_dim, optional=True)
        self.dropout = validation.check_rate("dropout", dropout)
        self.seed = seed

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        for name, shape in (
            ("query", query_shape),
            ("value", value_shape),
            ("key", key_shape),
        ):
            validation.check_sequence_shape(name, shape)
        head_projections.check_lengths(value_shape, key_shape)
        self.attention = MultiHeadAttention(
            self.num_heads,
            self.key_dim,
            self.value_dim,
            dropout=self.dropout,
            seed=self.seed,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.attention.build(query_shape, value_shape, key_shape)
        self.built = True

    def shorten(self, key: Any, value: Any, real_keys: Any) -> tuple:
        """Returns fewer keys and values, and which of them are real.

        Args:
            key: (batch, key_length, key_width), anything at padding.
            value: (batch, key_length, value_width), likewise.
            real_keys: boolean (batch, key_length), True = real, or None.

        Returns:
            The keys and the values (batch, `short_length`, width), and a
            boolean mask (batch, `short_length`) or None.
        """
        raise TypeError(f"{type(self).__name__} lacks `shorten`.")

    def short_length(self, key_length: int | None) -> int | None:
        """Returns how many keys `shorten` leaves."""
        raise TypeError(f"{type(self).__name__} lacks `short_length`.")

    def real_positions(self, query: Any, key: Any, **given: Any) -> tuple:
        """Returns which queries and keys are real, (batch, length) or None.

        Args:
            query: the query.
            key: the key.
            **given: the masks of the call by name.

        Raises:
            ValueError: if a mask is no padding.
        """
        shape = (query.shape[0], self.num_heads, query.shape[1], key.shape[1])
        mask = mask_for(shape, **given)
        if mask is None:
            return None, None
        if has_causal_part(mask, "a key here stands for several"):
            raise validation.invalid(
                "use_causal_mask",
                "False, for a key here stands for several positions",
                True,
                "`LinearAttention` can be causal.",
            )
        found = (
            (query, mask.query_padding(ops.shape(query)[1])),
            (key, mask.key_padding(ops.shape(key)[1])),
        )
        return tuple(
            None if real is None else ops.broadcast_to(real, ops.shape(x)[:2])
            for x, real in found
        )

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        real_queries, real_keys = self.real_positions(
            query,
            key,
            query_mask=query_mask,
            value_mask=value_mask,
            key_mask=key_mask,
            attention_mask=attention_mask,
            use_causal_mask=use_causal_mask,
        )
        query, real_queries = self.shorten_query(query, real_queries)
        key, value, real_keys = self.shorten(key, value, real_keys)
        return self.attention(
            query,
            value,
            key,
            query_mask=real_queries,
            value_mask=real_keys,
            return_attention_scores=return_attention_scores,
            training=training,
        )

    def shorten_query(self, query: Any, real_queries: Any) -> tuple:
        """Returns the queries that are asked, and which of them are real."""
        return query, real_queries

    def compute_output_shape(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> tuple:
        return query_shape

    def compute_output_spec(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        shape = self.compute_output_shape(query.shape, value.shape)
        scores_shape = None
        if return_attention_scores:
            lengths = shape[1], self.short_length(value.shape[1])
            scores_shape = (query.shape[0], self.num_heads, *lengths)
        return output_spec(self, shape, scores_shape)

    def get_config(self) -> dict[str, Any]:
        config = {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}
