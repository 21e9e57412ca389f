"""A picture of what each target token looked at."""

from typing import Any

from keras_attention import plots
from keras_attention.decoding.search import Search
from keras_attention.models.generated import decoded_texts
from keras_attention.models.generation import ids_of_texts
from keras_attention.special_ids import PAD_ID


def plot_alignment(
    model: Any, text: str, search: Search, max_length: int | None
) -> Any:
    """See `Seq2Seq.plot_alignment`."""
    ids = ids_of_texts(model, [text])
    result = model.generate(ids, search, max_length)
    # A target that was cut at `max_length` has no EOS; others may be longer.
    length = result.lengths[0, 0]
    best = result.tokens[0, 0, :length]
    said = decoded_texts(model.target_vocabulary, best).item()
    weights = result.alignments[0, 0, :length]
    source = None
    if model.encoder_facts.keeps_length:  # a place has its token, without pads
        source = token_names(model.source_vocabulary, ids[0][ids[0] != PAD_ID])
        weights = weights[:, : len(source)]
    return plots.plot_alignment(
        weights,
        source_tokens=source,
        target_tokens=token_names(model.target_vocabulary, best),
        title=f"{text} \N{RIGHTWARDS ARROW} {said}",
    )


def token_names(vocabulary: Any, ids: Any) -> list[str]:
    """Returns what each id stands for, as labels of a picture."""
    tokens = vocabulary.token_strings(ids).numpy()
    return [token.decode("utf-8", "replace") for token in tokens]
