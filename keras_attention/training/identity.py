"""What two runs must agree on for one to go on where the other stopped.

A training that is resumed ends at the weights of one that never stopped, but
only with the same data, in the same order, and the same settings.
"""

import hashlib
import pathlib

import keras

from keras_attention.models import folders
from keras_attention.models.digests import digest_of

# Arguments of `train` that change the result and are kept as they are given.
# Not among them: what only says where, how long and how loudly.
SETTINGS = (
    "kind",
    "options",
    "source_unit",
    "target_unit",
    "vocabulary_size",
    "min_count",
    "max_source_length",
    "max_target_length",
    "epochs",
    "batch_size",
    "learning_rate",
    "warmup_steps",
    "decay",
    "clip_norm",
    "label_smoothing",
    "monitor",
    "patience",
    "max_measured",
    "jit_compile",
    "seed",
)
MAY_GROW = ("epochs",)


def facts_of(args, data):
    """Returns the facts of a training, a dict for JSON.

    Args:
        args: the arguments of `train`, checked.
        data: its `preparation.Data`.
    """
    vocabularies = (data.source_vocabulary, data.target_vocabulary)
    tokens = [token for v in vocabularies for token in (v.unit, *v.tokens)]
    return {
        "pairs": _described(data.pairs),
        "validation_pairs": _described(data.held_out),
        "vocabularies": _digest(tokens),
        **{name: getattr(args, name) for name in SETTINGS},
        "initial_model": _initial_model(args.initial_folder),
        "search": repr(args.search),
        "dtype_policy": keras.config.dtype_policy().name,
    }


def _initial_model(folder):
    if folder is None:
        return None
    return digest_of(pathlib.Path(folder) / folders.MODEL)


def _described(pairs):
    """Returns the number of pairs, and a digest of them in their order."""
    count = 0

    def texts():
        nonlocal count
        for count, pair in enumerate(pairs, start=1):  # noqa: B007
            yield from pair

    digest = _digest(texts())
    return f"{count:,} pairs, SHA-256 {digest}"


def _digest(texts):
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        # The length first: "ab", "c" is not "a", "bc".
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]
