"""Reads a `tokenizer.json` of Hugging Face's tokenizers."""

import math
from typing import Any

from keras_attention.text.byte_alphabet import LETTERS
from keras_attention.text.pieces import PieceVocabulary
from keras_attention.text.reading import MARK
from keras_attention.text.reading import Reading
from keras_attention.text.unigram import UNKNOWN_PENALTY

# What some converted SentencePiece models do in place of a pre-tokenizer.
MARKING = [
    {"type": "Prepend", "prepend": MARK},
    {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
]
SUPPORTED = (
    "Supported are the models Unigram and BPE with no normalizer, or one that "
    "puts '▁' before the text and for its spaces, and the pre-tokenizers "
    "Metaspace and ByteLevel."
)
# Options that change how a BPE model cuts.
PLAIN = {
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "ignore_merges": (None, False),
}


def from_tokenizer(data: dict[str, Any]) -> PieceVocabulary:
    """Makes the vocabulary of a tokenizer.

    Left out are the tokens that it adds around a text, and cutting off or
    padding. Text that spells one of its special tokens or bytes ("<0x0A>") is
    read as any other text.

    Args:
        data: dict, the parsed file.

    Returns:
        A `PieceVocabulary`.

    Raises:
        ValueError: if it has a part that cannot be followed exactly.
    """
    try:
        model = data["model"]
        added = data.get("added_tokens") or []
        special = {token["content"] for token in added if token["special"]}
        ordinary = [t["content"] for t in added if not t["special"]]
        if ordinary:
            raise _unsupported(f"added tokens as {ordinary[:3]}")
        make = {"Unigram": _unigram, "BPE": _byte_pair}.get(model.get("type"))
        if make is None:
            raise _unsupported(f"the model {model.get('type')!r}")
        return make(model, special, data)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"it is not a tokenizer.json: {error!r}") from error


def _unigram(model, special, data):
    entries = list(enumerate(model["vocab"]))
    unknown_id = model.get("unk_id")
    falls_back = model.get("byte_fallback", False)
    if unknown_id is None and not falls_back:
        raise _unsupported("a Unigram model without unk_id")
    kept = [
        (piece, score)
        for number, (piece, score) in entries
        if number != unknown_id and piece not in special
    ]
    reading, byte_level = _reading(data)
    if byte_level:
        raise _unsupported("the pre-tokenizer ByteLevel before Unigram")
    lowest = min(score for _, (_, score) in entries)
    return PieceVocabulary(
        [piece for piece, _ in kept],
        [score for _, score in kept],
        reading=reading,
        unknown="bytes" if falls_back else "fused_in_words",
        sums="float64",
        unknown_score=_finite(lowest - UNKNOWN_PENALTY),
    )


def _byte_pair(model, special, data):
    for name, plain in PLAIN.items():
        if model.get(name) not in plain:
            raise _unsupported(f"a BPE model with {name}={model[name]!r}")
    unknown_token, vocabulary = model.get("unk_token"), model["vocab"]
    left_out = {*special, unknown_token}
    pieces = sorted(set(vocabulary) - left_out, key=vocabulary.get)
    reading, byte_level = _reading(data)
    unknown = "single"
    if model.get("byte_fallback"):
        unknown = "bytes"
    elif model.get("fuse_unk"):
        is_whole = data.get("pre_tokenizer") is None
        unknown = "fused" if is_whole else "fused_in_words"
    has_all = byte_level and set(LETTERS) <= set(pieces)
    if unknown_token is None and unknown != "bytes" and not has_all:
        # It would drop unknown characters without a trace.
        raise _unsupported("a BPE model without unk_token")
    merges = [
        tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge)
        for merge in model["merges"]
    ]
    return PieceVocabulary(
        pieces,
        algorithm="byte_pair",
        merges=[pair for pair in merges if not left_out & {*pair}],
        reading=reading,
        unknown=unknown,
        byte_level=byte_level,
    )


def _reading(data):
    """Returns the `Reading`, and whether pieces are made of bytes."""
    normalizer = data.get("normalizer")
    tokenizer = data.get("pre_tokenizer")
    plain = {"any_space": False, "folds_spaces": False}
    if tokenizer is None and _steps(normalizer, "normalizers") == MARKING:
        return Reading(**plain, cut="nowhere"), False
    if normalizer is not None:
        raise _unsupported(f"the normalizer {_named(normalizer)}")
    if tokenizer is None:
        raise _unsupported("no pre-tokenizer")
    steps = _steps(tokenizer, "pretokenizers")
    kind = steps[0]["type"] if len(steps) == 1 else None
    if kind == "Metaspace" and steps[0].get("replacement") == MARK:
        return _metaspace(steps[0], plain), False
    if kind == "ByteLevel":
        adds = steps[0].get("add_prefix_space", True)
        reading = Reading(
            **plain,
            prefix="unless_there" if adds else "never",
            marks_spaces=False,
            cut="gpt2" if steps[0].get("use_regex", True) else "nowhere",
        )
        return reading, True
    raise _unsupported(f"the pre-tokenizer {_named(tokenizer)}")


def _metaspace(step, plain):
    scheme = step.get("prepend_scheme")
    if scheme is None:  # as older versions wrote it
        scheme = "always" if step.get("add_prefix_space", True) else "never"
    return Reading(
        **plain,
        prefix="never" if scheme == "never" else "unless_there",
        cut="at_each_mark" if step.get("split", True) else "nowhere",
    )


def _steps(part, key):
    if part is not None and part["type"] == "Sequence":
        return part[key]
    return [part]


def _named(part):
    kinds = [
        step["type"]
        for key in ("normalizers", "pretokenizers")
        for step in part.get(key, ())
    ]
    return f"{part['type']!r}" + (f" of {', '.join(kinds)}" if kinds else "")


def _finite(number):
    if not math.isfinite(number):
        raise ValueError(f"its lowest score is {number}")
    return float(number)


def _unsupported(what: str) -> ValueError:
    return ValueError(f"a tokenizer.json with {what}. {SUPPORTED}")
