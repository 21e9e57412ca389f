"""The vocabulary of pieces: parts of words that were learned from texts."""

import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_attention import validation
from keras_attention.text import ids as ids_of_rows
from keras_attention.text import piece_checks
from keras_attention.text import units
from keras_attention.text.byte_alphabet import byte_of
from keras_attention.text.byte_alphabet import bytes_of
from keras_attention.text.reading import Reading
from keras_attention.text.segmenter import Segmenter
from keras_attention.text.vocabulary import FILE_VERSION
from keras_attention.text.vocabulary import SPECIAL_TOKENS


class PieceVocabulary(ids_of_rows.NamedIds):
    """Pieces of words, their ids, and how text is cut into them.

    The first four ids are those of `SPECIAL_TOKENS`, as in `Vocabulary`; no
    text is read as one of them. A space is part of the piece after it, where
    it is marked by "▁".

    - `"unigram"`: the pieces of a word are those whose scores, the
      log-probabilities, have the largest sum (Kudo 2018, "Subword
      Regularization", equation 7).
    - `"byte_pair"`: a word begins as its characters, and neighbours are
      merged in the order in which their merges were learned (Sennrich et al.
      2016, "Neural Machine Translation of Rare Words with Subword Units").

    Encoding and decoding are plain TensorFlow operations. Pieces are those of
    the `sentencepiece` and `tokenizers` packages, ties included; the ids are
    our own, and begin with those of the special tokens. `decode` gives
    back what `normalize` makes of the text that was encoded; the prefix, which
    `tokenizers` may leave, is not part of it. Other ids, which a model may
    generate, can spell bytes that are no UTF-8, a mark or spaces in front: of
    these the packages, which differ among themselves, may leave more, and
    write more U+FFFD. `build` learns the pieces from texts; `read_vocabulary`
    reads the files of both packages.

    Args:
        pieces: list of str, without the special tokens.
        scores: list of float, one for each piece. Byte pairs merge those of
            the highest score first; with `merges` they need none.
        algorithm: `"unigram"` or `"byte_pair"`.
        merges: list of (left, right) for byte pairs, first ones first.
        reading: a `Reading`, how text is read before it is cut.
        unknown: what characters without a piece become: "fused", one
            `<unk>` for several in a row, "fused_in_words", "single", or
            "bytes", the pieces "<0x00>" to "<0xFF>", which must all be there.
        byte_level: whether pieces are made of bytes, written in the 256
            letters of GPT-2.
        sums: "float32": scores are summed over the whole text and rounded as
            in `sentencepiece`; "float64": over each word, as in `tokenizers`.
        unknown_score: the score of a character without a piece. Defaults to
            10 below the lowest.
        charsmap: the normalizer of a SentencePiece model, in base64: what is
            replaced in a text before anything else.

    Raises:
        ValueError: if the arguments do not fit each other.

    Example:

    >>> from keras_attention.text import PieceVocabulary
    >>> pieces = ["▁", "a", "b", "▁ab", "ba"]
    >>> scores = [-4.0, -3.0, -3.0, -2.0, -1.5]
    >>> vocabulary = PieceVocabulary(pieces, scores)
    >>> ids = vocabulary.encode(["abba ab", "baz"])
    >>> ids.numpy().tolist()
    [[7, 8, 7, 2], [4, 8, 3, 2]]
    >>> [text.decode() for text in vocabulary.token_strings(ids[0]).numpy()]
    ['▁ab', 'ba', '▁ab', '<eos>']
    >>> vocabulary.decode(ids).numpy().tolist()
    [b'abba ab', b'ba<unk>']
    """

    unit = "pieces"

    def __init__(
        self,
        pieces: Sequence[str],
        scores: Sequence[float] | None = None,
        algorithm: str = "unigram",
        merges: Sequence | None = None,
        reading: Reading | None = None,
        unknown: str = "fused",
        byte_level: bool = False,
        sums: str = "float32",
        unknown_score: float | None = None,
        charsmap: str | None = None,
    ):
        reading = Reading() if reading is None else reading
        given = {
            "pieces": pieces,
            "scores": scores,
            "algorithm": algorithm,
            "merges": merges,
            "reading": reading,
            "unknown": unknown,
            "byte_level": byte_level,
            "sums": sums,
            "unknown_score": unknown_score,
            "charsmap": charsmap,
        }
        self._config = piece_checks.checked(given)
        super().__init__()
        self.algorithm, self._reading = algorithm, reading
        self._unknown, self._byte_level = unknown, byte_level
        self._tokens = (*SPECIAL_TOKENS, *self._config["pieces"])
        self._names = tf.constant(self._tokens)
        self._texts = tf.constant([self._text_of(t) for t in self._tokens])
        pieces = self._config["pieces"]
        first = len(SPECIAL_TOKENS)
        ids = {piece: n for n, piece in enumerate(pieces, start=first)}
        self._segmenter = Segmenter(self._config, ids)

    @classmethod
    def build(
        cls,
        texts: Iterable[str | bytes],
        size: int = 8000,
        algorithm: str = "unigram",
        lower_case: bool = False,
        byte_fallback: bool = False,
        character_coverage: float = 0.9995,
    ) -> "PieceVocabulary":
        """Learns the pieces of texts; needs the `sentencepiece` package.

        The same texts, in any order, give the same pieces with the same
        version of the package. The texts are streamed: only the counts of
        their words are held in memory.

        Args:
            texts: iterable of str or bytes, such as an open file's lines.
            size: the most entries, special tokens included. Few texts may
                give fewer.
            algorithm: `"unigram"` or `"byte_pair"`.
            lower_case: whether texts are lower-cased, here and in `encode`.
            byte_fallback: whether unknown characters become the pieces of
                their bytes, which take 256 entries.
            character_coverage: share of the characters that get a piece, in
                (0, 1]; the rarest ones do not.

        Returns:
            A `PieceVocabulary`.

        Raises:
            ValueError: a bad argument; no word in `texts`; `size` too small
                for the characters alone.
            ImportError: if `sentencepiece` is not installed.
        """
        from keras_attention.text.learning import WordCounts

        counts = WordCounts(
            size, algorithm, lower_case, byte_fallback, character_coverage
        )
        counts.add_all(texts)
        return counts.vocabulary()

    @property
    def tokens(self) -> list[str]:
        """The tokens in the order of their ids, a new list of str."""
        return list(self._tokens)

    def __len__(self):
        return len(self._tokens)

    def __repr__(self):
        return f"<PieceVocabulary of {len(self)} {self.algorithm} pieces>"

    def __reduce__(self):
        # A lookup table cannot be pickled or copied; its entries can.
        return PieceVocabulary.from_dict, (self.to_dict(),)

    def normalize(self, texts: Any) -> tf.Tensor:
        """Returns the texts that `decode` gives back if all is known.

        Args:
            texts: as in `encode`.
        """
        texts = self._segmenter.read(units.as_text_tensor(texts))
        return self._reading.back(texts)

    def encode(self, texts: Any, max_length: int | None = None) -> tf.Tensor:
        """Cuts texts into pieces and looks up their ids.

        Args:
            texts: string tensor `(batch,)`; outside of graphs also a list or
                array of str or bytes. The batch may be empty.
            max_length: the most ids per text, the final `<eos>` included. The
                pieces beyond are cut off, with a warning outside of graphs.

        Returns:
            int32 tensor `(batch, length)`: each row ends with `<eos>` (2) and
            is padded with `<pad>` (0).

        Raises:
            ValueError: `texts` is not a batch of strings, or `max_length` is
                not a positive integer.
        """
        if max_length is not None:
            validation.check_positive_integer("max_length", max_length)
        texts = units.as_text_tensor(texts)  # (B,)
        ids = self._segmenter(texts)  # (B, (L))
        ids = ids_of_rows.cut_off(ids, max_length)
        return ids_of_rows.padded_with_ends(ids, texts.shape[0])

    def encode_ragged(self, texts: Any) -> tf.RaggedTensor:
        """Returns the ids of `encode` without padding.

        Args:
            texts: as in `encode`.

        Returns:
            int32 ragged tensor `(batch, (length))`: each row ends with
            `<eos>` (2).
        """
        ids = self._segmenter(units.as_text_tensor(texts))
        return ids_of_rows.with_ends(ids)

    def decode(self, ids: Any) -> tf.Tensor:
        """Joins the pieces of each row, up to its first `<eos>`.

        Args:
            ids: integer tensor `(..., length)`, ragged or not. `<pad>` and
                `<bos>` are dropped; ids outside of the vocabulary read
                `<unk>`.

        Returns:
            string tensor `(...)`, always valid UTF-8: bytes that make no
            character are U+FFFD.

        Raises:
            ValueError: `ids` are not integers or have no axis.
        """
        texts = ids_of_rows.joined(ids, self._texts)  # (...)
        texts = tf.strings.unicode_transcode(
            texts, "UTF-8", "UTF-8", errors="replace"
        )
        return self._reading.back(texts)

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` needs, ready for JSON."""
        config = dict(self._config)
        config["reading"] = dataclasses.asdict(config["reading"])
        return {"version": FILE_VERSION, "unit": self.unit, **config}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "PieceVocabulary":
        """Makes the vocabulary that `to_dict` described.

        Raises:
            ValueError: an entry is missing or not valid, or the version is
                unknown.
        """
        return cls(**piece_checks.config_of(data))

    def _is_byte(self, token):
        return self._unknown == "bytes" and byte_of(token) is not None

    def _text_of(self, token):
        """Returns the bytes that a token adds to a text."""
        if token in SPECIAL_TOKENS:
            return token.encode()
        if self._is_byte(token):
            return bytes([byte_of(token)])
        return bytes_of(token) if self._byte_level else token.encode()
