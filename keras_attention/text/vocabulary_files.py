"""Which vocabulary a dict or a file holds."""

import codecs
import json
import pathlib
from typing import Any

from keras_attention.text.pieces import PieceVocabulary
from keras_attention.text.sentencepiece_model import read_model
from keras_attention.text.tokenizer_json import from_tokenizer
from keras_attention.text.vocabulary import Vocabulary


def vocabulary_from_dict(data: dict[str, Any]) -> Any:
    """Makes the vocabulary that `to_dict` of either class described.

    Args:
        data: dict with "unit": that of a `Vocabulary`, or "pieces".

    Raises:
        ValueError: an entry is missing or not valid.

    Example:

    >>> from keras_attention.text import Vocabulary, vocabulary_from_dict
    >>> vocabulary_from_dict(Vocabulary.build(["ab"]).to_dict())
    <Vocabulary of 6 characters>
    """
    is_pieces = isinstance(data, dict) and data.get("unit") == "pieces"
    return (PieceVocabulary if is_pieces else Vocabulary).from_dict(data)


def read_vocabulary(path: str | pathlib.Path) -> Any:
    """Reads a vocabulary from a file, whoever wrote it.

    Args:
        path: path of a JSON file that `save` of a `Vocabulary` or a
            `PieceVocabulary` wrote; of a SentencePiece `.model`, which takes
            the `sentencepiece` package to read; or of a `tokenizer.json` of
            Hugging Face's tokenizers. The models may be unigram or BPE.
            Their ids change: ours begin with `SPECIAL_TOKENS`.

    Returns:
        A `Vocabulary` or a `PieceVocabulary`.

    Raises:
        ValueError: the path is that of a folder; the file holds no
            vocabulary, or has a part that cannot be followed exactly in plain
            TensorFlow operations.
        FileNotFoundError: there is no such file.

    Example:

    >>> import tempfile
    >>> from keras_attention.text import PieceVocabulary, read_vocabulary
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PieceVocabulary(["▁a", "b"], [-1, -2]).save(f"{folder}/a.json")
    ...     read_vocabulary(f"{folder}/a.json")
    <PieceVocabulary of 6 unigram pieces>
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise ValueError(
            "`path` must name a file, such as a tokenizer.json or a .model. "
            f"Received: {str(path)!r}, which is a folder"
        )
    # Some editors begin UTF-8 with a mark, which says nothing.
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    try:
        if data.lstrip()[:1] != b"{":
            return read_model(data)
        data = json.loads(data.decode("utf-8"))
        if "model" in data and "unit" not in data:
            return from_tokenizer(data)
        return vocabulary_from_dict(data)
    except ValueError as error:
        # Undecodable bytes and broken JSON are ValueErrors, too.
        raise ValueError(
            f"The file {str(path)!r} does not hold a vocabulary: {error}"
        ) from error
