"""A picture of what each target token looked at."""

from typing import Any

from keras_attention import plots
from keras_attention.decoding.search import Search


def plot_alignment(
    model: Any, text: str, search: Search, max_length: int | None
) -> Any:
    """See `Seq2Seq.plot_alignment`."""
    ids = model.source_vocabulary.encode([text]).numpy()
    result = model.generate(ids, search, max_length)
    # A target that was cut at `max_length` has no EOS.
    best = result.tokens[0, 0, : result.lengths[0, 0]]
    said = model.target_vocabulary.decode(best).numpy().decode("utf-8")
    return plots.plot_alignment(
        result.alignments[0, 0],
        source_tokens=_names(model.source_vocabulary, ids[0]),
        target_tokens=_names(model.target_vocabulary, best),
        title=f"{text} \N{RIGHTWARDS ARROW} {said}",
    )


def _names(vocabulary, ids):
    tokens = vocabulary.token_strings(ids).numpy()
    return [token.decode("utf-8") for token in tokens]
