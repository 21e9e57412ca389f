"""Reads the model of a SentencePiece processor, a `.model` file."""

import base64
from typing import Any

from keras_attention.text.pieces import PieceVocabulary
from keras_attention.text.reading import MARK
from keras_attention.text.reading import Reading

ALGORITHMS = {1: "unigram", 2: "byte_pair"}
OTHERS = {3: "WORD", 4: "CHAR"}
# Kinds of pieces.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
FIRST_BYTE = b"\n"  # the tag of the first piece
SUPPORTED = (
    "Supported are unigram and BPE models with any normalizer, without "
    "user-defined symbols."
)


def read_model(data: bytes, reading: Reading | None = None) -> PieceVocabulary:
    """Makes the vocabulary of a model.

    Args:
        data: the bytes of the file.
        reading: how texts are read; by default as the model says.

    Returns:
        A `PieceVocabulary`.

    Raises:
        ValueError: if it is no model, or has a part that cannot be followed
            exactly in plain TensorFlow operations.
        ImportError: if `sentencepiece` is not installed.
    """
    model = _parsed(data)
    algorithm = ALGORITHMS.get(model.trainer_spec.model_type)
    if algorithm is None:
        kind = model.trainer_spec.model_type
        raise _unsupported(f"model_type={OTHERS.get(kind, kind)}")
    kept = [p for p in model.pieces if p.type not in (UNKNOWN, CONTROL)]
    kinds = {piece.type for piece in kept}
    if USER_DEFINED in kinds:
        raise _unsupported("user-defined symbols")
    if UNUSED in kinds and algorithm == "byte_pair":
        raise _unsupported("unused pieces of a BPE model")
    kept = [piece for piece in kept if piece.type != UNUSED]
    charsmap = model.normalizer_spec.precompiled_charsmap
    if model.trainer_spec.byte_fallback:
        unknown = "bytes"
    else:
        unknown = "fused"
        kept = [piece for piece in kept if piece.type != BYTE]
    return PieceVocabulary(
        [piece.piece for piece in kept],
        [piece.score for piece in kept],
        algorithm,
        reading=reading or _reading(model, kept),
        unknown=unknown,
        charsmap=base64.b64encode(charsmap).decode() if charsmap else None,
    )


def import_sentencepiece() -> Any:
    """Returns the package, with the description of its models.

    Raises:
        ImportError: if it is not installed.
    """
    try:
        import sentencepiece
        import sentencepiece.sentencepiece_model_pb2
    except ImportError as error:
        raise ImportError(
            "Pieces are learned, and SentencePiece models read, by the "
            "`sentencepiece` package: pip install sentencepiece"
        ) from error
    return sentencepiece


def _parsed(data):
    if data[:1] != FIRST_BYTE:  # found without the package
        raise ValueError(
            "it is not a SentencePiece model, nor JSON: it begins with "
            f"{data[:8]!r}"
        )
    model = import_sentencepiece().sentencepiece_model_pb2.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise ValueError(f"it is not a SentencePiece model: {error}") from error
    if not model.pieces:
        raise ValueError("it is not a SentencePiece model: it has no pieces")
    return model


def _reading(model, pieces):
    spec = model.normalizer_spec
    if not spec.escape_whitespaces:
        raise _unsupported("escape_whitespaces=False")
    if model.trainer_spec.treat_whitespace_as_suffix:
        raise _unsupported("treat_whitespace_as_suffix=True")
    crosses = any(MARK in piece.piece.lstrip(MARK) for piece in pieces)
    return Reading(
        any_space=False,
        folds_spaces=spec.remove_extra_whitespaces,
        prefix="always" if spec.add_dummy_prefix else "never",
        cut="nowhere" if crosses else "at_marks",
    )


def _unsupported(what: Any) -> ValueError:
    return ValueError(f"a SentencePiece model with {what}. {SUPPORTED}")
