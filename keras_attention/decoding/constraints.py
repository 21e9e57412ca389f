"""What a search may not, or should rather not, say: small composable objects.

A constraint is any callable `(log_probabilities, tokens, index) ->
log_probabilities` with shapes (batch, slots, vocabulary), (batch, slots,
max_length) and (): `tokens` holds what each slot has said at the positions
before `index`, and PAD from there on. It may lower log probabilities, down
to -inf, and raise none above 0, or a beam could stop too early. The score of
a hypothesis sums the log probabilities that the constraints return; they are
not normalised again, so a token that stays possible scores what the model
gave it.

B is the batch, K the slots, T the maximum length, V the vocabulary, P the
length of the prefix.
"""

import dataclasses
from typing import Any

from keras import ops

from keras_attention import validation
from keras_attention.special_ids import EOS_ID as EOS
from keras_attention.special_ids import PAD_ID as PAD

# A forced token that the model rules out stays possible, and what is said after
# it matters: in float32 a sum with -1e9 would be the same for each next token.
LEAST_FORCED = -1e4


@dataclasses.dataclass(frozen=True)
class MinLength:
    """Rules out EOS before `length` tokens, EOS counted.

    Example:

    >>> from keras_attention.decoding import Beam, MinLength
    >>> Beam(constraints=[MinLength(3)]).constraints
    (MinLength(length=3),)
    """

    length: int

    def __post_init__(self):
        validation.check_positive_integer("length", self.length)

    def __call__(self, log_probabilities, tokens, index):
        vocabulary = log_probabilities.shape[-1]
        is_eos = ops.arange(vocabulary, dtype="int32") == EOS  # (V,)
        too_early = ops.logical_and(is_eos, index + 1 < self.length)
        return _forbid(log_probabilities, too_early)


@dataclasses.dataclass(frozen=True)
class Suppress:
    """Rules out the given tokens: ids of the vocabulary, such as unknown."""

    tokens: tuple

    def __post_init__(self):
        tokens = tuple(self.tokens) if _is_sequence(self.tokens) else ()
        if not tokens or not all(
            validation.is_integer(t) and t >= 0 for t in tokens
        ):
            raise validation.invalid(
                "tokens",
                "a sequence of integers of at least 0",
                repr(self.tokens),
            )
        object.__setattr__(self, "tokens", tuple(map(int, tokens)))

    def __call__(self, log_probabilities, tokens, index):
        vocabulary = log_probabilities.shape[-1]
        if max(self.tokens) >= vocabulary:
            raise validation.invalid(
                "tokens",
                f"ids below the size of the vocabulary, {vocabulary}",
                self.tokens,
            )
        ids = ops.convert_to_tensor(self.tokens, dtype="int32")
        every = ops.arange(vocabulary, dtype="int32")[:, None]
        return _forbid(log_probabilities, ops.any(every == ids, axis=-1))


@dataclasses.dataclass(frozen=True)
class NoRepeatNgram:
    """Rules out saying the same `size` tokens in a row twice.

    Example:

    >>> from keras_attention.decoding import Greedy, NoRepeatNgram
    >>> Greedy(constraints=[NoRepeatNgram(2)]).constraints
    (NoRepeatNgram(size=2),)
    """

    size: int

    def __post_init__(self):
        validation.check_positive_integer("size", self.size)

    def __call__(self, log_probabilities, tokens, index):
        before = self.size - 1  # tokens of the n-gram that are already said
        max_length = tokens.shape[-1]
        windows = max_length - before
        if windows <= 0:
            return log_probabilities
        positions = ops.arange(max_length, dtype="int32")
        # A window counts if its last token has been said too.
        repeated = positions[before:] < index  # (windows,)
        for offset in range(before):
            recent = _at(tokens, positions, index - before + offset)  # (B, K)
            inside = tokens[..., offset : offset + windows]
            repeated = ops.logical_and(repeated, inside == recent[..., None])
        forbidden = _said(tokens[..., before:], repeated, log_probabilities)
        return _forbid(log_probabilities, forbidden)


@dataclasses.dataclass(frozen=True)
class RepetitionPenalty:
    """Multiplies the log probability of tokens already said (CTRL).

    Keskar et al. 2019, section 4.1, on log probabilities, which are never
    above 0: a `penalty` above 1 makes them less likely, below 1 more likely.
    """

    penalty: float

    def __post_init__(self):
        validation.check_positive_number("penalty", self.penalty)

    def __call__(self, log_probabilities, tokens, index):
        past = ops.arange(tokens.shape[-1], dtype="int32") < index
        said = _said(tokens, past, log_probabilities)
        return ops.where(
            said, log_probabilities * self.penalty, log_probabilities
        )


def fit_prefix(prefix: Any, source_mask: Any, max_length: int) -> Any:
    """Returns (B, P) `prefix` as (B, T): padded, or cut where it is longer."""
    shape = (ops.shape(source_mask)[0], max_length)
    free = ops.full(shape, PAD, dtype="int32")
    prefix = ops.concatenate([ops.cast(prefix, "int32"), free], axis=1)
    # The reshape only tells TensorFlow the length, whatever P is.
    return ops.reshape(prefix[:, :max_length], shape)  # (B, T)


def force_prefix(
    log_probabilities: Any,
    model_log_probabilities: Any,
    prefix: Any,
    index: Any,
) -> Any:
    """Leaves nothing but the token of `prefix` where it has one.

    Args:
        log_probabilities: shape (B, K, V), under the constraints.
        model_log_probabilities: shape (B, K, V), without them: the prefix
            overrides the constraints.
        prefix: int32, shape (B, T), PAD where the search is free.
        index: int32 scalar.
    """
    positions = ops.arange(prefix.shape[-1], dtype="int32")
    token = _at(prefix, positions, index)[:, None, None]  # (B, 1, 1)
    vocabulary = log_probabilities.shape[-1]
    chosen = ops.arange(vocabulary, dtype="int32") == token  # (B, 1, V)
    forced = _forbid(
        ops.maximum(model_log_probabilities, LEAST_FORCED),
        ops.logical_not(chosen),
    )
    return ops.where(token == PAD, log_probabilities, forced)


def _is_sequence(value):
    return isinstance(value, (tuple, list))


def _forbid(log_probabilities, forbidden):
    return ops.where(forbidden, -float("inf"), log_probabilities)


def _at(tokens, positions, index):
    """tokens (..., T) -> (...), those at `index`; 0 where it is outside."""
    return ops.sum(ops.where(positions == index, tokens, 0), axis=-1)


def _said(tokens, counts, log_probabilities):
    """Which tokens of the vocabulary occur where `counts` is true.

    tokens (B, K, M), counts broadcasts to it -> boolean (B, K, V)
    """
    batch, width, vocabulary = ops.shape(log_probabilities)
    rows = ops.arange(batch * width, dtype="int32")
    rows = ops.reshape(rows, (batch, width, 1))
    places = rows * vocabulary + tokens  # (B, K, M)
    counts = ops.broadcast_to(ops.cast(counts, "int32"), ops.shape(tokens))
    found = ops.scatter(
        ops.reshape(places, (-1, 1)),
        ops.reshape(counts, (-1,)),
        (batch * width * vocabulary,),
    )
    return ops.reshape(found, (batch, width, vocabulary)) > 0
