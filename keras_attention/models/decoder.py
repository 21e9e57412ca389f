"""What all decoders share: embedding, logits and the step protocol.

A decoder runs in two ways that give the same numbers. `call` runs a whole
target at once, for training. For decoding it is driven step by step:

    state = decoder.start(encoded, source_mask, max_length, beams=K)
    logits, state, alignment = decoder.step(tokens, state, index, ancestors)
    state = decoder.reorder(state, parents)

The state is a nest of tensors of fixed size, passed in and out. Letters in
the shape comments: B batch, K beams, T target length, S source length.
"""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers import Dropout
from keras_attention.layers.attention.call_masks import check_sequence_mask
from keras_attention.layers.dropout import child_seed
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.masks.booleans import as_boolean
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID


class Decoder(StaysFrozen, keras.layers.Layer):
    """Base of the decoders.

    Args:
        vocabulary_size: number of target ids, padding and specials included.
        embedding_dim: width of the embeddings.
        output_width: width of the vectors that the logits are made from.
        dropout: share of values dropped in training.
        tie_embeddings: whether the logits reuse the embedding matrix (Press
            & Wolf 2017); needs output_width == embedding_dim.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        output_width: int,
        dropout: float = 0.0,
        tie_embeddings: bool = False,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.vocabulary_size = validation.check_positive_integer(
            "vocabulary_size", vocabulary_size
        )
        self.embedding_dim = validation.check_positive_integer(
            "embedding_dim", embedding_dim
        )
        self.output_width = output_width
        self.dropout = validation.check_rate("dropout", dropout)
        if tie_embeddings and embedding_dim != output_width:
            raise validation.invalid(
                "tie_embeddings",
                f"False where embedding_dim={embedding_dim} differs from the "
                f"output width {output_width}",
                tie_embeddings,
            )
        self.tie_embeddings = tie_embeddings
        self.seed = seed
        self.embedding = None  # that of the encoder, where it is shared

    def build(self, target_shape: tuple, encoded_shape: tuple) -> None:
        if len(target_shape) != 2 or len(encoded_shape) != 3:
            raise ValueError(
                "`target` must have shape (batch, target_length) and "
                "`encoded` (batch, source_length, width). Received: "
                f"target.shape={tuple(target_shape)}, "
                f"encoded.shape={tuple(encoded_shape)}."
            )
        self._build_ends(target_shape)

    def _build_ends(self, target_shape):
        """Builds the embedding and what makes the logits."""
        if self.embedding is None:
            self.embedding = keras.layers.Embedding(
                self.vocabulary_size,
                self.embedding_dim,
                dtype=self.dtype_policy,
                name="embedding",
            )
            self.embedding.build(target_shape)
        self.embedding_dropout = self._dropout_layer("embedding_dropout")
        if self.tie_embeddings:
            self.logit_bias = self.add_weight(
                name="logit_bias",
                shape=(self.vocabulary_size,),
                initializer="zeros",
                dtype="float32",
                autocast=False,
            )
        else:
            # Logits are float32 under mixed precision too.
            self.logit_dense = keras.layers.Dense(
                self.vocabulary_size, dtype="float32", name="logits"
            )
            self.logit_dense.build((*target_shape, self.output_width))
        self.built = True

    def logits(self, outputs: Any) -> Any:
        """Returns float32 logits (..., vocabulary_size)."""
        outputs = ops.cast(outputs, "float32")
        if not self.tie_embeddings:
            return self.logit_dense(outputs)
        table = ops.cast(self._embeddings(), "float32")
        return ops.matmul(outputs, ops.transpose(table)) + self.logit_bias

    def _embeddings(self):
        """Returns the table (vocabulary_size, embedding_dim) in floats."""
        if self.embedding.quantization_mode is None:
            return self.embedding.embeddings
        # After `quantize` that is a table of integers, and its scales are
        # known to the layer alone.
        return self.embedding(ops.arange(self.vocabulary_size, dtype="int32"))

    def compute_mask(self, target: Any, previous_mask: Any = None) -> Any:
        """Marks the logits that predict something: (batch, target_length).

        After EOS nothing comes, so a target that was shifted whole, EOS and
        all, is scored on the same positions as one without.
        """
        return ops.logical_and(
            ops.not_equal(target, PAD_ID), ops.not_equal(target, EOS_ID)
        )

    def compute_output_shape(
        self, target_shape: tuple, encoded_shape: tuple
    ) -> tuple:
        return (*target_shape, self.vocabulary_size)

    def compute_output_spec(
        self,
        target: Any,
        encoded: Any,
        encoded_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        shape = self.compute_output_shape(target.shape, encoded.shape)
        logits = keras.KerasTensor(shape, dtype="float32")
        if not return_attention_scores:
            return logits
        shape = (*target.shape, encoded.shape[1])
        return logits, keras.KerasTensor(shape, dtype="float32")

    def _dropout_layer(self, name):
        return Dropout(
            self.dropout,
            seed=child_seed(self.seed, name),
            dtype=self.dtype_policy,
            name=name,
        )

    def get_config(self) -> dict[str, Any]:
        config = {
            "vocabulary_size": self.vocabulary_size,
            "dropout": self.dropout,
            "tie_embeddings": self.tie_embeddings,
            "seed": self.seed,
        }
        return {**super().get_config(), **config}


def source_mask_of(encoded: Any, encoded_mask: Any) -> Any:
    """Returns `encoded_mask` as a boolean (B, S); None means all are real."""
    if encoded_mask is None:
        return ops.ones(ops.shape(encoded)[:2], dtype="bool")
    check_sequence_mask("encoded_mask", encoded_mask, encoded.shape[:2])
    return ops.cast(as_boolean("encoded_mask", encoded_mask), "bool")
