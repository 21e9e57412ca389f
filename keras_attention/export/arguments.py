"""The checks of arguments that every kind of export shares."""

from typing import Any

from keras_attention import validation
from keras_attention.decoding.search import Search
from keras_attention.decoding.search import check_search
from keras_attention.export import language_signatures as language
from keras_attention.models import LanguageModel
from keras_attention.models import Seq2Seq
from keras_attention.models.finite import check_finite
from keras_attention.models.parts import check_positions


def checked_max_length(
    model: Any, search: Search, max_length: int | None, max_source_length: int
) -> int:
    """Checks what is exported; returns the longest target.

    Args:
        model: a `Seq2Seq` or a `LanguageModel`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted; None for the model's.
        max_source_length: longest source.

    Raises:
        ValueError: an argument is out of range, a weight is not finite, or
            lengths are beyond the positions of encoder or decoder.
    """
    if not isinstance(model, (Seq2Seq, LanguageModel)):
        expected = "a Seq2Seq or a LanguageModel"
        raise validation.invalid("model", expected, repr(model))
    check_finite(model, "exported")
    if max_length is None:
        max_length = model.max_length
    check_search(search)
    validation.check_positive_integer("max_length", max_length)
    validation.check_positive_integer("max_source_length", max_source_length)
    _check_room(model, max_length, max_source_length)
    return max_length


def _check_room(model, max_length, max_source_length):
    """Raises a ValueError unless there are as many positions."""
    reason = f"max_length={max_length}"
    if isinstance(model, LanguageModel):
        reason = f"max_source_length={max_source_length} and {reason}"
        count = language.room(max_source_length, max_length)
        check_positions("decoder", model.decoder, count, f"BOS, {reason}")
        return
    check_positions("decoder", model.decoder, max_length, reason)
    if model.encoder_facts.keeps_length:
        count = model.source_signature.shape[0] or max_source_length
        reason = f"max_source_length={max_source_length}"
        check_positions("encoder", model.encoder, count, reason)
