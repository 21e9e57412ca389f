"""From texts to the ids of their pieces, in plain TensorFlow operations."""

from typing import Any

import tensorflow as tf

from keras_attention.text.byte_alphabet import LETTERS
from keras_attention.text.byte_alphabet import byte_of
from keras_attention.text.byte_alphabet import byte_piece
from keras_attention.text.byte_pair import BytePairs
from keras_attention.text.byte_pair import merges_of
from keras_attention.text.charsmap import Charsmap
from keras_attention.text.unigram import UNKNOWN_PENALTY
from keras_attention.text.unigram import Unigram
from keras_attention.text.unknown_characters import as_bytes_of
from keras_attention.text.unknown_characters import as_unknown

# Rounding errors of a sum, in units of its last place; float32 has 24 bits.
ROUNDING = 2.0**-22


class Segmenter(tf.Module):
    """Reads texts, finds their words, cuts these into pieces.

    B counts texts, L the pieces of one.

    Args:
        config: dict of the arguments of a `PieceVocabulary`, checked.
        ids: dict from all pieces to their ids.
    """

    def __init__(self, config: dict[str, Any], ids: dict[str, int]):
        super().__init__()
        self._reading, self._unknown = config["reading"], config["unknown"]
        self._byte_level = config["byte_level"]
        charsmap = config["charsmap"]
        self._charsmap = None if charsmap is None else Charsmap(charsmap)
        self._sums_over_text = (
            config["algorithm"] == "unigram" and config["sums"] == "float32"
        )
        self._byte_ids = None
        if self._unknown == "bytes":
            numbers = [ids[byte_piece(byte)] for byte in range(256)]
            self._byte_ids = tf.constant(numbers, tf.int32)
            ids = {p: n for p, n in ids.items() if byte_of(p) is None}
        self._letters = tf.constant([*map(ord, LETTERS)], tf.int32)
        self._model = _model_of(config, ids)
        # Its loops are slow where each operation is called from Python.
        self._compiled = tf.function(
            self._segment,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    def __call__(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns int32 ids without `<eos>`, `(batch, (length))`.

        Args:
            texts: string tensor `(batch,)`.
        """
        return self._compiled(texts)

    def read(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns texts `(batch,)` as they are cut into words."""
        return self._reading(texts, self._charsmap)

    def _segment(self, texts):
        """Returns the ids of texts without an end, (B, (L))."""
        texts = self.read(texts)
        words = self._reading.words(texts)  # (B, (words))
        # Each word is cut once, however often a batch has it.
        different, numbers = tf.unique(words.flat_values)
        found, facts = self._model.segment(self._codes(different))
        if self._unknown == "fused_in_words":
            found = as_unknown(found, fuse=True)
        pieces = words.with_values(tf.gather(found, numbers))
        pieces = pieces.merge_dims(1, 2)  # (B, (L))
        if self._sums_over_text and self._reading.cut != "nowhere":
            facts = [tf.gather(fact, numbers) for fact in facts]
            pieces = self._cut_again(texts, words, pieces, *facts)
        if self._unknown == "bytes":
            return as_bytes_of(pieces, self._byte_ids)
        return as_unknown(pieces, fuse=self._unknown == "fused")

    def _codes(self, texts):
        """Returns int32 code points, of letters for bytes, (N, (length))."""
        if not self._byte_level:
            return tf.strings.unicode_decode(texts, "UTF-8")
        bytes_ = tf.io.decode_raw(tf.strings.reduce_join(texts), tf.uint8)
        codes = tf.gather(self._letters, tf.cast(bytes_, tf.int32))  # (all,)
        lengths = tf.cast(tf.strings.length(texts), tf.int64)
        return tf.RaggedTensor.from_row_lengths(codes, lengths, validate=False)

    def _cut_again(self, texts, words, pieces, clear, largest):
        """Cuts texts as a whole where rounding may decide.

        The sum so far, to which those of a word are added, changes how these
        are rounded, so two ways that are almost as good may change places.
        """
        lengths = tf.strings.length(words.flat_values, "UTF8_CHAR")
        longest = tf.reduce_max(words.with_values(lengths), axis=1)  # (B,)
        totals = tf.reduce_sum(words.with_values(largest), axis=1)  # (B,)
        errors = ROUNDING * totals * tf.cast(longest, tf.float64)
        closest = tf.reduce_min(words.with_values(clear), axis=1)
        is_close = (closest <= errors) & (words.row_lengths() > 1)
        rows = tf.where(is_close)  # (close, 1)

        def again():
            codes = self._codes(tf.gather_nd(texts, rows))
            found, _ = self._model.segment(codes)
            count = tf.size(texts)
            index = tf.tensor_scatter_nd_update(
                tf.range(count), rows, count + tf.range(tf.shape(rows)[0])
            )
            return tf.gather(tf.concat([pieces, found], axis=0), index)

        return tf.cond(tf.reduce_any(is_close), again, lambda: pieces)


def _model_of(config, ids):
    """Returns what cuts words into the pieces that text can spell."""
    scores = dict(zip(config["pieces"], config["scores"] or (), strict=False))
    if config["algorithm"] == "byte_pair":
        return BytePairs(merges_of(ids, scores, config["merges"]), ids)
    scores = [scores[piece] for piece in ids]
    unknown_score = config["unknown_score"]
    if unknown_score is None:
        unknown_score = min(scores) - UNKNOWN_PENALTY
    return Unigram(
        [[*map(ord, piece)] for piece in ids],
        list(ids.values()),
        scores,
        unknown_score,
        config["sums"] == "float32",
    )
