"""The vocabulary: tokens to ids and back, inside the graph."""

import json
import pathlib
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from keras_attention import validation
from keras_attention.special_ids import UNKNOWN_ID
from keras_attention.text import ids as ids_of_rows
from keras_attention.text import units

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")

FILE_VERSION = 1


class Vocabulary(ids_of_rows.NamedIds):
    """The tokens of a language, their ids, and how text is cut into them.

    Ids are positions in `tokens`. The first four are always `"<pad>"`,
    `"<bos>"`, `"<eos>"` and `"<unk>"`; text that happens to spell one of them
    is read as unknown, so no input can end or start a sequence.

    Units:

    - `"characters"`: one token for each Unicode code point, nothing changed.
    - `"words"`: lower-cased; numbers, words (with inner apostrophes and
      hyphens) and single other characters. Any white space separates. A
      decoded text has one space between tokens and none before `.,!?;:`.
    - `"symbols"`: whatever stands between spaces (U+0020 alone), unchanged,
      such as the phonemes of `"HH AH L OW"`. Repeated spaces count as one.

    Bytes that are not UTF-8 are read as U+FFFD, the replacement character.
    Text is not normalised otherwise: composed and decomposed accents differ.

    Args:
        tokens: list of str, the special tokens first. `Vocabulary.build`
            collects it from texts.
        unit: `"characters"`, `"words"` or `"symbols"`.

    Raises:
        ValueError: unknown unit; special tokens missing; no other token; a
            token twice; a token that its unit could never produce.

    Example:

    >>> vocabulary = Vocabulary.build(["HH AH", "AH L OW"], unit="symbols")
    >>> vocabulary.tokens[4:]
    ['AH', 'HH', 'L', 'OW']
    >>> vocabulary.encode(["L OW", "ZZ"]).numpy().tolist()
    [[6, 7, 2], [3, 2, 0]]
    >>> vocabulary.decode([[6, 7, 2]]).numpy().tolist()
    [b'L OW']
    """

    def __init__(
        self, tokens: list[str] | tuple[str, ...], unit: str = "characters"
    ):
        validation.check_choice("unit", unit, units.UNITS)
        tokens = _check_tokens(tokens, unit)
        super().__init__()
        self.unit = unit
        self._tokens = tuple(tokens)
        # The special tokens are not in the table: they are not text.
        known = tokens[len(SPECIAL_TOKENS) :]
        self._table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                tf.constant(known),
                tf.range(len(SPECIAL_TOKENS), len(tokens), dtype=tf.int32),
            ),
            default_value=UNKNOWN_ID,
        )
        self._names = tf.constant(tokens)
        self._pieces = tf.constant([units.with_space(t, unit) for t in tokens])

    @classmethod
    def build(
        cls,
        texts: Iterable[str | bytes],
        unit: str = "characters",
        max_size: int | None = None,
        min_count: int = 1,
    ) -> "Vocabulary":
        """Counts the tokens of `texts` and keeps the frequent ones.

        Tokens are ordered by falling frequency, then by code points, so the
        same texts in any order give the same ids. The texts are streamed:
        only the counts are held in memory.

        Args:
            texts: iterable of str or bytes, such as the lines of a file without
                their ends, `(line.rstrip("\\n") for line in file)`.
            unit: `"characters"`, `"words"` or `"symbols"`.
            max_size: the most tokens to keep, special ones included.
            min_count: tokens seen fewer times become unknown.

        Returns:
            A `Vocabulary`.

        Raises:
            ValueError: a bad argument, or no token in `texts` to keep.
        """
        validation.check_choice("unit", unit, units.UNITS)
        _check_limits(max_size, min_count)  # before a long reading
        counts = units.count_tokens(texts, unit)
        return cls.from_counts(counts, unit, max_size, min_count)

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        unit: str = "characters",
        max_size: int | None = None,
        min_count: int = 1,
    ) -> "Vocabulary":
        """Keeps the frequent tokens among those that were counted.

        Args:
            counts: dict from tokens of the unit to how often they were seen.
            unit: as for `build`, like `max_size` and `min_count`.

        Returns:
            A `Vocabulary`, the one of `build` for the texts with these counts.

        Raises:
            ValueError: a bad argument, or no token to keep.

        Example:

        >>> Vocabulary.from_counts({"b": 5, "a": 2, "c": 3}, max_size=6).tokens
        ['<pad>', '<bos>', '<eos>', '<unk>', 'b', 'c']
        """
        validation.check_choice("unit", unit, units.UNITS)
        _check_limits(max_size, min_count)
        counts = {t: n for t, n in counts.items() if t not in SPECIAL_TOKENS}
        if not counts:
            raise ValueError(
                "`texts` must hold at least one token. Received: no text, "
                "or only empty ones. Is the file empty?"
            )
        ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        kept = [token for token, count in ordered if count >= min_count]
        if not kept:
            expected = f"at most {ordered[0][1]}, the highest count"
            raise validation.invalid("min_count", expected, min_count)
        tokens = [*SPECIAL_TOKENS, *kept]
        return cls(tokens[:max_size], unit=unit)

    @property
    def tokens(self) -> list[str]:
        """The tokens in the order of their ids, a new list of str."""
        return list(self._tokens)

    def __len__(self):
        return len(self._tokens)

    def __repr__(self):
        return f"<Vocabulary of {len(self)} {self.unit}>"

    def __reduce__(self):
        # A lookup table cannot be pickled or copied; its tokens can.
        return Vocabulary.from_dict, (self.to_dict(),)

    def encode(self, texts: Any, max_length: int | None = None) -> tf.Tensor:
        """Cuts texts into tokens and looks up their ids.

        Args:
            texts: string tensor `(batch,)`; outside of graphs also a list or
                array of str or bytes. The batch may be empty.
            max_length: the most ids per text, the final `<eos>` included. The
                tokens beyond are cut off, with a warning outside of graphs.

        Returns:
            int32 tensor `(batch, length)`: each row ends with `<eos>` (2) and
            is padded with `<pad>` (0). Unknown tokens are `<unk>` (3).

        Raises:
            ValueError: `texts` is not a batch of strings, or `max_length` is
                not a positive integer.
        """
        if max_length is not None:
            validation.check_positive_integer("max_length", max_length)
        texts = units.as_text_tensor(texts)  # (B,)
        pieces = units.split(texts, self.unit)  # (B, ragged)
        pieces = ids_of_rows.cut_off(pieces, max_length)
        ids = tf.ragged.map_flat_values(self._table.lookup, pieces)
        return ids_of_rows.padded_with_ends(ids, texts.shape[0])

    def encode_ragged(self, texts: Any) -> tf.RaggedTensor:
        """Returns the ids of `encode` without padding.

        Args:
            texts: as in `encode`.

        Returns:
            int32 ragged tensor `(batch, (length))`: each row ends with
            `<eos>` (2).
        """
        pieces = units.split(units.as_text_tensor(texts), self.unit)
        ids = tf.ragged.map_flat_values(self._table.lookup, pieces)
        return ids_of_rows.with_ends(ids)

    def decode(self, ids: Any) -> tf.Tensor:
        """Joins the tokens of each row, up to its first `<eos>`.

        Args:
            ids: integer tensor `(..., length)`, ragged or not. `<pad>` and
                `<bos>` are dropped; ids outside of the vocabulary read
                `<unk>`.

        Returns:
            string tensor `(...)`, always valid UTF-8.

        Raises:
            ValueError: `ids` are not integers or have no axis.
        """
        texts = ids_of_rows.joined(ids, self._pieces)  # (...)
        if self.unit == "characters":
            return texts
        return tf.strings.regex_replace(texts, "^ ", "")

    def to_dict(self) -> dict[str, Any]:
        """Returns what `from_dict` needs, ready for JSON."""
        entries = {"version": FILE_VERSION, "unit": self.unit}
        return {**entries, "tokens": self.tokens}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Vocabulary":
        """Makes the vocabulary that `to_dict` described.

        Raises:
            ValueError: an entry is missing, the version is unknown, or the
                tokens are not valid.
        """
        wanted = {"version", "unit", "tokens"}
        if not isinstance(data, dict) or not wanted <= set(data):
            expected = "a dict with 'version', 'unit' and 'tokens'"
            fix = "`text.read_vocabulary` reads other kinds, too."
            raise validation.invalid("data", expected, str(data)[:80], fix)
        if data["version"] != FILE_VERSION:
            fix = "Was it written by a newer keras_attention?"
            version = repr(data["version"])
            raise validation.invalid("version", FILE_VERSION, version, fix)
        return cls(data["tokens"], unit=data["unit"])

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "Vocabulary":
        """Reads a file written by `save`.

        Raises:
            ValueError: the file does not hold a vocabulary.
            FileNotFoundError: there is no such file.
        """
        try:
            data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
            return cls.from_dict(data)
        except ValueError as error:
            # Undecodable bytes and broken JSON are ValueErrors, too.
            raise ValueError(
                f"The file {str(path)!r} does not hold a vocabulary: {error}"
            ) from error


def _check_limits(max_size, min_count):
    validation.check_positive_integer("min_count", min_count)
    validation.check_positive_integer("max_size", max_size, optional=True)
    if max_size is not None and max_size <= len(SPECIAL_TOKENS):
        expected = f"above {len(SPECIAL_TOKENS)}, the special tokens"
        raise validation.invalid("max_size", expected, max_size)


def _check_tokens(tokens, unit):
    """Returns the tokens as a list if each has one id and can be found."""
    is_sequence = isinstance(tokens, (list, tuple))
    if not is_sequence or not all(isinstance(t, str) for t in tokens):
        raise validation.invalid("tokens", "a list of str", str(tokens)[:80])
    tokens = list(tokens)
    special = len(SPECIAL_TOKENS)
    if tuple(tokens[:special]) != SPECIAL_TOKENS or len(tokens) == special:
        raise ValueError(
            f"`tokens` must be {', '.join(SPECIAL_TOKENS)} and at least one "
            f"more. Received: tokens={str(tokens[: special + 1])[:80]}. "
            "`Vocabulary.build` adds the special ones."
        )
    units.check_tokens(tokens[special:], unit)
    repeated = [token for token, n in Counter(tokens).items() if n > 1]
    if repeated:
        raise validation.invalid("tokens", "all different", repeated[:5])
    return tokens
