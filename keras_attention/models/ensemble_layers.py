"""The two halves of an ensemble: encoders side by side, decoders as one.

Letters in the shape comments: B batch, S source length, D width.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.models import encoding
from keras_attention.models.parts import takes
from keras_attention.models.shared_embedding import unbuilt


class _Ensemble(StaysFrozen, keras.layers.Layer):
    """What both halves have: members, and sizes that are known of each."""

    def __init__(self, members: Sequence, state_counts: Sequence, **kwargs):
        super().__init__(**kwargs)
        self.members = list(members)
        self.state_counts = list(state_counts)

    @property
    def max_positions(self) -> int | None:
        """How many positions all members tell apart, or None for no limit."""
        found = [getattr(m, "max_positions", None) for m in self.members]
        return min((n for n in found if n is not None), default=None)

    @property
    def vocabulary_size(self) -> int | None:
        """Number of ids, or None where the members do not tell."""
        return getattr(self.members[0], "vocabulary_size", None)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "members": [serialize(member) for member in self.members],
            "state_counts": self.state_counts,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_Ensemble":
        deserialize = keras.saving.deserialize_keras_object
        members = [deserialize(member) for member in config["members"]]
        return cls(**{**config, "members": members})


@keras.saving.register_keras_serializable(package="keras_attention")
class EnsembleEncoder(_Ensemble):
    """The encoders of an ensemble: vectors side by side, states in a row.

    Args:
        members: list of encoders.
        state_counts: of each, how many of its states its decoder takes.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        source: what each member takes.
        mask: boolean (batch, source_length) for the members that take one.
        training: whether dropout is on.

    Returns:
        float32 (batch, source_length, sum of the widths); if there are
        states, a list of it and them.

    Masking:
        The Keras mask is True where those of all members are.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_attention.models import EnsembleEncoder
    >>> members = [keras.layers.Embedding(7, width) for width in (2, 3)]
    >>> EnsembleEncoder(members, [0, 0])(np.array([[4, 5, 2]])).shape
    TensorShape([1, 3, 5])
    """

    def call(
        self, source: Any, mask: Any = None, training: bool | None = None
    ) -> Any:
        values, states, masks = [], [], []
        for member, count in zip(self.members, self.state_counts, strict=True):
            options = {"mask": mask} if takes(member.call, "mask") else {}
            found = member(source, training=training, **options)
            value, *further = keras.tree.flatten(found)
            masks.append(encoding.keras_mask_of(value))
            values.append(ops.cast(value, "float32"))  # (B, S, D)
            states += further[:count]
        joined = ops.concatenate(values, axis=-1)  # (B, S, sum of D)
        masks = [mask for mask in masks if mask is not None]
        if masks:
            joined = encoding.with_keras_mask(joined, _all_of(masks))
        return [joined, *states] if states else joined

    def build(self, source_shape: tuple) -> None:
        for member in self.members:
            if not member.built:
                member.build(source_shape)
        self.built = True

    def compute_output_spec(
        self, source: Any, mask: Any = None, training: bool | None = None
    ) -> Any:
        values, states = [], []
        for member, count in zip(self.members, self.state_counts, strict=True):
            value, *further = keras.tree.flatten(member(source))
            values.append(value)
            states += further[:count]
        width = sum(value.shape[-1] for value in values)
        shape = (*values[0].shape[:-1], width)
        joined = keras.KerasTensor(shape, dtype="float32")
        return [joined, *states] if states else joined


@keras.saving.register_keras_serializable(package="keras_attention")
class EnsembleDecoder(_Ensemble):
    """The decoders of an ensemble: the mean of their probabilities.

    Args:
        members: list of decoders.
        widths: of each, how wide the source is that it attends to.
        state_counts: of each, how many initial states it takes.
        shares_embeddings: of each, whether it has the embedding of the
            encoder; by default none has.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        target: integer tensor (batch, target_length), begins with BOS.
        encoded: float tensor (batch, source_length, sum of the widths).
        encoded_mask: boolean (batch, source_length), True = real.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        initial_state: list of the initial states, member after member.

    Returns:
        Log probabilities (batch, target_length, vocabulary_size), float32: of
        the mean of the members' probabilities. If asked for, also the mean of
        their weights, float32 (batch, target_length, source_length).

    Masking:
        As in the members. The Keras mask of the result is that of the first.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> from keras_attention.models import EnsembleDecoder
    >>> members = [ka.RNNDecoder(11, units) for units in (3, 5)]
    >>> decoder = EnsembleDecoder(members, widths=[2, 4], state_counts=[0, 0])
    >>> decoder(np.array([[1, 7]]), np.ones((1, 3, 6))).shape
    TensorShape([1, 2, 11])
    """

    def __init__(
        self,
        members: Sequence,
        widths: Sequence,
        state_counts: Sequence,
        shares_embeddings: Sequence | None = None,
        **kwargs,
    ):
        super().__init__(members, state_counts, **kwargs)
        self.widths = list(widths)
        if shares_embeddings is None:
            shares_embeddings = [False] * len(self.members)
        self.shares_embeddings = list(shares_embeddings)

    def build(self, target_shape: tuple, encoded_shape: tuple) -> None:
        target = keras.KerasTensor(target_shape, dtype="int32")
        for member, width in zip(self.members, self.widths, strict=True):
            if not member.built:
                member(target, keras.KerasTensor((*encoded_shape[:-1], width)))
        self.built = True

    def call(
        self,
        target: Any,
        encoded: Any,
        encoded_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        initial_state: Any = None,
    ) -> Any:
        logits, weights = [], []
        for member, part, options in self._parts(encoded, initial_state):
            if return_attention_scores:
                options = {**options, "return_attention_scores": True}
            found = member(
                target,
                part,
                encoded_mask=encoded_mask,
                training=training,
                **options,
            )
            logits.append(found[0] if return_attention_scores else found)
            weights.append(found[1] if return_attention_scores else None)
        mixed = _mixed(logits)
        return (mixed, _mean(weights)) if return_attention_scores else mixed

    def start(
        self,
        encoded: Any,
        source_mask: Any,
        max_length: int | None,
        beams: int = 1,
        initial_state: Any = None,
    ) -> list:
        """Returns the states of all members before the first step."""
        return [
            member.start(part, source_mask, max_length, beams=beams, **options)
            for member, part, options in self._parts(encoded, initial_state)
        ]

    def step(
        self, tokens: Any, state: list, index: Any, ancestors: Any = None
    ) -> tuple[Any, list, Any]:
        """Runs one position of each beam in all members; see `decode`."""
        found = [
            member.step(tokens, own, index, ancestors=ancestors)
            for member, own in zip(self.members, state, strict=True)
        ]
        logits, state, alignments = map(list, zip(*found, strict=True))
        return _mixed(logits), state, _mean(alignments)

    def reorder(self, state: list, parents: Any) -> list:
        """Returns the states after each beam took the place of a parent."""
        return [
            member.reorder(own, parents)
            for member, own in zip(self.members, state, strict=True)
        ]

    def compute_mask(self, target: Any, previous_mask: Any = None) -> Any:
        return self.members[0].compute_mask(target)

    def compute_output_spec(
        self,
        target: Any,
        encoded: Any,
        encoded_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        initial_state: Any = None,
    ) -> Any:
        shape = (*target.shape, self.vocabulary_size)
        logits = keras.KerasTensor(shape, dtype="float32")
        if not return_attention_scores:
            return logits
        shape = (*target.shape, encoded.shape[1])
        return logits, keras.KerasTensor(shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        config = {
            "widths": self.widths,
            "shares_embeddings": self.shares_embeddings,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "EnsembleDecoder":
        members = config["members"]
        shares = config.get("shares_embeddings") or [False] * len(members)
        members = [
            unbuilt(member) if shared else member
            for member, shared in zip(members, shares, strict=True)
        ]
        return super().from_config({**config, "members": members})

    def _parts(self, encoded, initial_state):
        """Yields each member, its part of the source, and its states."""
        states = list(initial_state or [])
        if initial_state is not None:
            self._check_states(states)
        begin = first = 0
        for member, width, count in zip(
            self.members, self.widths, self.state_counts, strict=True
        ):
            part = encoded[..., begin : begin + width]  # (B, S, D)
            own = states[first : first + count]
            begin, first = begin + width, first + count
            options = {"initial_state": own} if own else {}
            yield member, ops.cast(part, member.compute_dtype), options

    def _check_states(self, states):
        if len(states) != sum(self.state_counts):
            counts = ", ".join(map(str, self.state_counts))
            raise validation.invalid(
                "initial_state",
                "a list of the states that the encoders of the members "
                f"return, {counts} of them",
                f"{len(states)} tensors",
                "A member whose encoder returns none begins as it does alone.",
            )


def _mixed(logits):
    """Returns the logarithm of the mean of the softmax of logits."""
    each = [
        ops.log_softmax(ops.cast(part, "float32"), axis=-1) for part in logits
    ]
    return ops.logsumexp(ops.stack(each), axis=0) - math.log(len(each))


def _mean(weights):
    return ops.mean(
        ops.stack([ops.cast(part, "float32") for part in weights]), axis=0
    )


def _all_of(masks):
    found = masks[0]
    for mask in masks[1:]:
        found = ops.logical_and(found, mask)
    return found
