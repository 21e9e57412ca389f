"""A picture of what each target token looked at."""

from typing import Any

from keras_attention import plots
from keras_attention.decoding.search import Search
from keras_attention.models.generated import decoded_texts


def plot_alignment(
    model: Any, text: str, search: Search, max_length: int | None
) -> Any:
    """See `Seq2Seq.plot_alignment`."""
    ids = model.source_vocabulary.encode([text]).numpy()
    result = model.generate(ids, search, max_length)
    # A target that was cut at `max_length` has no EOS; others may be longer.
    length = result.lengths[0, 0]
    best = result.tokens[0, 0, :length]
    said = decoded_texts(model.target_vocabulary, best).item()
    return plots.plot_alignment(
        result.alignments[0, 0, :length],
        source_tokens=token_names(model.source_vocabulary, ids[0]),
        target_tokens=token_names(model.target_vocabulary, best),
        title=f"{text} \N{RIGHTWARDS ARROW} {said}",
    )


def token_names(vocabulary: Any, ids: Any) -> list[str]:
    """Returns what each id stands for, as labels of a picture."""
    tokens = vocabulary.token_strings(ids).numpy()
    return [token.decode("utf-8", "replace") for token in tokens]
