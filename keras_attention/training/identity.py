"""What two runs must agree on for one to go on where the other stopped.

A training that is resumed ends at the weights of one that never stopped, but
only with the same data, in the same order, and the same settings.
"""

import dataclasses
import hashlib
import json
import pathlib
import re
from typing import Any

import keras

from keras_attention.models import folders
from keras_attention.models.digests import digest_of
from keras_attention.text import PieceVocabulary
from keras_attention.training import aids
from keras_attention.training import optimizers
from keras_attention.training.settings import TrainingSettings

# Arguments of `train` that change the result and are kept as they are given.
# Not among them: what only says where, how long and how loudly.
SETTINGS = (
    "kind",
    "source_unit",
    "target_unit",
    "vocabulary_size",
    "min_count",
    "max_source_length",
    "max_target_length",
    "epochs",
    "batch_size",
    "batch_tokens",
    "pad_to_multiple_of",
    "learning_rate",
    "warmup_steps",
    "decay",
    "clip_norm",
    "label_smoothing",
    "monitor",
    "bleu_tokenizer",
    "patience",
    "average",
    "max_measured",
    "jit_compile",
    "seed",
)
MAY_GROW = ("epochs",)
# What a training had that knew nothing of a setting yet.
DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(TrainingSettings)
    if field.name in (*SETTINGS, "optimizer")
}
SHOWN_DIGITS = 16


class PairDigest:
    """A number and a digest of pairs, in their order.

    Example:

    >>> digest = PairDigest()
    >>> digest.add(("ab", "c"))
    >>> str(digest)
    '1 pairs, SHA-256 601d5476e2ccfe2c'
    """

    def __init__(self):
        self.count = 0
        self._sha256 = hashlib.sha256()

    def add(self, pair: tuple[str, str]) -> None:
        """Adds the next pair."""
        self.count += 1
        for text in pair:
            _add_text(self._sha256, text)

    def __str__(self):
        digest = self._sha256.hexdigest()[:SHOWN_DIGITS]
        return f"{self.count:,} pairs, SHA-256 {digest}"


def facts_of(settings: TrainingSettings, data: Any) -> dict:
    """Returns the facts of a training, a dict for JSON.

    Args:
        settings: a `TrainingSettings`.
        data: its `preparation.Data`.
    """
    vocabularies = (data.source_vocabulary, data.target_vocabulary)
    return {
        "pairs": data.digest,
        "validation_pairs": data.held_out_digest,
        "vocabularies": _digest_of_vocabularies(vocabularies),
        **{name: getattr(settings, name) for name in SETTINGS},
        "options": settings.options_for_json,
        "alignment_loss": aids.describe(settings.alignment_loss),
        "scheduled_sampling": aids.describe(settings.scheduled_sampling),
        "optimizer": optimizers.describe(settings.optimizer),
        "initial_model": _initial_model(settings.initial_folder),
        "search": _without_addresses(repr(settings.search)),
        "dtype_policy": keras.config.dtype_policy().name,
    }


def _without_addresses(text):
    """Functions and objects, such as constraints, lie elsewhere each time."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _initial_model(folder):
    if folder is None:
        return None
    return digest_of(pathlib.Path(folder) / folders.MODEL)


def _digest_of_vocabularies(vocabularies):
    digest = hashlib.sha256()
    for vocabulary in vocabularies:
        unit = getattr(vocabulary, "unit", type(vocabulary).__name__)
        for text in (unit, *_tokens_of(vocabulary)):
            _add_text(digest, text)
        if isinstance(vocabulary, PieceVocabulary):
            # The tokens alone do not say how text is cut.
            _add_text(digest, json.dumps(vocabulary.to_dict()))
    return digest.hexdigest()[:SHOWN_DIGITS]


def _tokens_of(vocabulary):
    """Returns all tokens as str, of another tokenizer by their names."""
    if hasattr(vocabulary, "tokens"):
        return vocabulary.tokens
    names = vocabulary.token_strings(range(len(vocabulary))).numpy()
    return [name.decode("utf-8", "surrogateescape") for name in names]


def _add_text(digest, text):
    data = text.encode("utf-8", "surrogatepass")
    # The length first: "ab", "c" is not "a", "bc".
    digest.update(len(data).to_bytes(8, "big"))
    digest.update(data)
