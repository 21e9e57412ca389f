"""What every target of a search begins with."""

import dataclasses
from typing import Any

from keras import ops

from keras_attention.decoding import PAD
from keras_attention.decoding.constraints import force_prefix
from keras_attention.text import UNKNOWN_ID


@dataclasses.dataclass(frozen=True)
class BeginWith:
    """A constraint: the first tokens are these.

    It comes before other constraints, which may not rule them out.

    Example:

    >>> from keras_attention.cli.prefix import BeginWith
    >>> BeginWith((5, 7)).tokens
    (5, 7)
    """

    tokens: tuple

    def __call__(self, log_probabilities, tokens, index):
        free = tokens.shape[-1] - len(self.tokens)
        prefix = ops.convert_to_tensor(
            [[*self.tokens, *[PAD] * free]], dtype="int32"
        )
        return force_prefix(log_probabilities, log_probabilities, prefix, index)


def prefix_of(
    text: str, model: Any, max_length: int | None = None
) -> BeginWith:
    """Returns the `BeginWith` of a text.

    Raises:
        ValueError: if the model can say no such text.
    """
    vocabulary = model.target_vocabulary
    ids = vocabulary.encode([text]).numpy()[0, :-1].tolist()  # without EOS
    unknown = [i for i, token in enumerate(ids) if token == UNKNOWN_ID]
    if unknown or not ids:
        raise ValueError(
            f"--prefix {text!r} must be made of {vocabulary.unit} that the "
            "model can say"
        )
    longest = model.max_length if max_length is None else max_length
    if len(ids) >= longest:
        raise ValueError(
            f"--prefix {text!r} has {len(ids)} tokens, and the longest target "
            f"{longest} with its end: set a larger --max-length"
        )
    return BeginWith(tuple(ids))
