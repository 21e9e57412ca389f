"""Learns pieces from the counts of words, with `sentencepiece`."""

import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable

import tensorflow as tf

from keras_attention import validation
from keras_attention.text.piece_checks import ALGORITHMS
from keras_attention.text.pieces import PieceVocabulary
from keras_attention.text.reading import MARK
from keras_attention.text.reading import Reading
from keras_attention.text.sentencepiece_model import import_sentencepiece
from keras_attention.text.sentencepiece_model import read_model
from keras_attention.text.units import TEXTS_COUNTED_AT_ONCE
from keras_attention.text.units import as_text_tensor
from keras_attention.text.vocabulary import SPECIAL_TOKENS

MODEL_TYPES = {"unigram": "unigram", "byte_pair": "bpe"}
BYTES = 256
LONGEST_WORD = 2**30 - 1  # bytes; longer ones would be left out


class WordCounts:
    """Counts the words of texts, for a vocabulary to come.

    Args:
        size: the most entries, special tokens included.
        algorithm: `"unigram"` or `"byte_pair"`.
        lower_case: see `PieceVocabulary.build`, as for the following.
        byte_fallback: the same.
        character_coverage: the same.

    Raises:
        ValueError: if an argument is out of range.
        ImportError: if `sentencepiece` is not installed.
    """

    def __init__(
        self,
        size: int = 8000,
        algorithm: str = "unigram",
        lower_case: bool = False,
        byte_fallback: bool = False,
        character_coverage: float = 0.9995,
    ):
        validation.check_positive_integer("size", size)
        validation.check_choice("algorithm", algorithm, ALGORITHMS)
        coverage = validation.check_positive_number(
            "character_coverage", character_coverage
        )
        if coverage > 1:
            raise validation.invalid(
                "character_coverage", "at most 1", coverage
            )
        for name, value in (
            ("lower_case", lower_case),
            ("byte_fallback", byte_fallback),
        ):
            validation.check_choice(name, value, (True, False))
        self._trainer = import_sentencepiece().SentencePieceTrainer
        self._reading = Reading(lower_case=bool(lower_case))
        self._options = {
            # It has one entry of its own, for unknown characters.
            "vocab_size": size - len(SPECIAL_TOKENS) + 1,
            "model_type": MODEL_TYPES[algorithm],
            "byte_fallback": bool(byte_fallback),
            "character_coverage": coverage,
        }
        self._smallest = len(SPECIAL_TOKENS) + BYTES * bool(byte_fallback)
        self._size = size
        if size <= self._smallest:  # before a long reading
            raise self._too_small("size")
        self._counts = Counter()

    def add(self, texts: tf.Tensor) -> tf.Tensor:
        """Counts the words of texts (batch,); returns how many each has."""
        words = self._reading.words(self._reading(texts))  # (B, (words))
        found, _, times = tf.unique_with_counts(words.flat_values)
        found, times = found.numpy().tolist(), times.numpy().tolist()
        self._counts.update(dict(zip(found, times, strict=True)))
        return words.row_lengths()

    def add_all(self, texts: Iterable[str | bytes]) -> None:
        """Counts the words of an iterable of texts, a batch at a time.

        Raises:
            ValueError: if it is one text.
        """
        if isinstance(texts, (str, bytes)):
            raise validation.invalid(
                "texts", "an iterable of texts, not one text", repr(texts[:40])
            )
        texts = iter(texts)
        while batch := list(itertools.islice(texts, TEXTS_COUNTED_AT_ONCE)):
            self.add(as_text_tensor(batch))

    def vocabulary(self, size_name: str = "size") -> PieceVocabulary:
        """Learns the pieces of what was counted.

        Args:
            size_name: what the size is called in errors.

        Raises:
            ValueError: if there was no word, or the size is too small.
        """
        if not self._counts:
            raise ValueError(
                "`texts` must hold at least one word. Received: no text, or "
                "only empty ones. Is the file empty?"
            )
        written = io.BytesIO()
        try:
            self._trainer.train(
                sentence_iterator=self._lines(),
                model_writer=written,
                input_format="tsv",
                normalization_rule_name="identity",
                hard_vocab_limit=False,
                max_sentence_length=LONGEST_WORD,
                # The result depends on the number of threads.
                num_threads=1,
                minloglevel=2,
                **{"pad_id": -1, "bos_id": -1, "eos_id": -1, "unk_id": 0},
                **self._options,
            )
        except RuntimeError as error:
            raise self._too_small(size_name, str(error)) from error
        return read_model(written.getvalue(), self._reading)

    def _too_small(self, name, said=""):
        """Returns the error, with the size to give if the trainer said it."""
        found = re.search(r"required_chars.* \d+ vs (\d+)\.", said, re.DOTALL)
        if found:  # one entry of its own is among those it counts
            least = int(found[1]) + len(SPECIAL_TOKENS) - 1
            fix = f"Here that takes at least {least}."
        else:
            fix = said and f"The trainer says: {said}"
        return validation.invalid(
            name,
            f"more than {self._smallest} and the number of different "
            "characters that get a piece",
            self._size,
            fix,
        )

    def _lines(self):
        mark = MARK.encode()
        for word, count in sorted(self._counts.items()):
            # The trainer marks the words itself.
            yield word.removeprefix(mark) + b"\t%d" % count
