"""From pairs of text to batches of ids, streamed and in a known order.

Pairs are read one by one, shuffled in a buffer, and cut into batches of like
length (`batching`). Each batch is encoded and padded when its turn comes, so
that a long text widens one batch only. The order follows from (seed, epoch)
and nothing else, so that a training can stop and go on at any step.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention import validation
from keras_attention.text import BOS_ID
from keras_attention.training.batching import batches_of
from keras_attention.training.batching import items_of
from keras_attention.training.batching import shuffled
from keras_attention.training.pairs import Pairs
from keras_attention.training.survey import BATCH_SIZE
from keras_attention.training.survey import Survey
from keras_attention.training.survey import check_batching
from keras_attention.training.survey import survey_pairs
from keras_attention.training.tokenization import Tokenizer
from keras_attention.training.tokenization import ragged_ids

PREFETCHED_BATCHES = 4


def make_dataset(
    pairs: Any,
    source_vocabulary: Tokenizer,
    target_vocabulary: Tokenizer,
    *,
    batch_size: int = BATCH_SIZE,
    batch_tokens: int | None = None,
    max_source_length: int | None = None,
    max_target_length: int | None = None,
    num_buckets: int = 6,
    pad_to_multiple_of: int | None = None,
    drop_remainder: bool = False,
    shuffle: bool = True,
    shuffle_buffer: int = 100_000,
    seed: int = 0,
    epoch: int = 0,
    step: int = 0,
    repeat: bool = False,
    num_parts: int = 1,
    parts: Sequence[int] | None = None,
    survey: Survey | None = None,
) -> tf.data.Dataset:
    """Makes the batches that `Seq2Seq` trains on.

    Everything is read and checked once before the first batch. A batch has
    one of few shapes, `survey.shapes(...)`, so that XLA compiles few programs;
    rows of padding fill up what the pairs do not: the last batch of an epoch,
    and with `batch_tokens` the last of each pair of lengths. Padding stands
    at the end of each row, and rows of padding at the end of a batch.

    A graph of `fit` is traced for batches of unknown lengths, a fused kernel
    of a GPU made for one shape. `functional.declared_batches` tells the graph
    the shapes to come, as in the example; `train` does it by itself.

    With `batch_tokens` the rows shrink as the lengths grow, so that the
    memory of a step is bounded and short pairs do not leave the device idle.

    Args:
        pairs: path, list of paths, list of (source, target), or `Pairs`.
        source_vocabulary: a `text.Vocabulary`, or another tokenizer.
        target_vocabulary: the same for targets.
        batch_size: rows of a batch; at most the number of pairs.
        batch_tokens: in place of `batch_size`: rows times the longer of the
            two lengths, padding counted, is at most that.
        max_source_length: ids, EOS counted; longer pairs are left out.
        max_target_length: the same for targets.
        num_buckets: the most different pairs of lengths; with 1 all batches
            have one shape, which the dataset declares.
        pad_to_multiple_of: lengths are padded to multiples of it; see
            `survey_pairs`. A survey that is given has its lengths already.
        drop_remainder: whether to leave out pairs, others in each epoch if
            they are shuffled, rather than fill up with rows of padding.
        shuffle: whether the order is random. If not, it follows the file,
            but for the sorting by length: inside each window of 64 batches,
            or with `batch_tokens` by which batch is full first.
        shuffle_buffer: pairs held in memory for shuffling. With more pairs
            than this, near ones are shuffled among each other.
        seed: integer, at least 0.
        epoch: integer, at least 0; each has an order of its own.
        step: number of batches left out at the start of `epoch`.
        repeat: whether the following epochs come after this one, endlessly.
        num_parts: each batch is dealt out, pair by pair, into so many
            batches that follow one another: one for each of the replicas
            that train together. All are of one size, with rows of padding.
        parts: numbers of the parts to yield, those of one machine; by
            default all.
        survey: result of `survey_pairs` for these pairs, to save a reading.

    Returns:
        tf.data.Dataset of `({"source", "target"}, labels)`, all int32:
        source (batch, source_length), labels (batch, target_length), ids
        with EOS; target is BOS and the labels but for their last column.

    Masking:
        Id 0 is padding on both sides and in the labels.

    Raises:
        ValueError: if an argument is out of range, or the pairs are broken.

    Example:

    >>> import keras_attention as ka
    >>> from keras_attention.training import make_dataset
    >>> source = ka.Vocabulary.build(["abc"])
    >>> target = ka.Vocabulary.build(["A B C"], unit="symbols")
    >>> pairs = [("ab", "A B"), ("cab", "C A B")]
    >>> dataset = make_dataset(pairs, source, target, shuffle=False)
    >>> inputs, labels = next(iter(dataset))
    >>> inputs["target"].numpy().tolist()
    [[1, 4, 5, 2], [1, 6, 4, 5]]
    >>> labels.numpy().tolist()
    [[4, 5, 2, 0], [6, 4, 5, 2]]

    For a fused kernel, tell the graph what will come:

    >>> from keras_attention import functional
    >>> from keras_attention.training import survey_pairs
    >>> survey = survey_pairs(pairs, source, target, pad_to_multiple_of=8)
    >>> dataset = make_dataset(pairs, source, target, survey=survey)
    >>> with functional.declared_batches(
    ...     survey.shapes(), padding_is_last=True
    ... ):
    ...     pass  # model.fit(dataset)
    >>> survey.shapes()
    ((2, 8, 8),)
    """
    check_batching(batch_size, batch_tokens)
    validation.check_positive_integer("shuffle_buffer", shuffle_buffer)
    for name, number in (("seed", seed), ("epoch", epoch), ("step", step)):
        validation.check_count(name, number)
    pairs = pairs if isinstance(pairs, Pairs) else Pairs(pairs)
    vocabularies = (source_vocabulary, target_vocabulary)
    limits = (max_source_length, max_target_length)
    survey = survey or survey_pairs(
        pairs, *vocabularies, *limits, num_buckets, pad_to_multiple_of
    )
    _check_multiples(survey, pad_to_multiple_of)
    sizes = (batch_size, batch_tokens)
    steps = survey.num_batches(*sizes, drop_remainder)
    if step >= steps:
        raise validation.invalid("step", f"in [0, {steps})", step)
    bucket_numbers = survey.bucket_numbers()
    parts = _checked_parts(num_parts, parts)

    def epochs():
        for number in itertools.count(epoch) if repeat else [epoch]:
            order = np.random.default_rng((seed, number))
            items = items_of(pairs, bucket_numbers)
            if shuffle:
                items = shuffled(items, shuffle_buffer, order)
            yield from batches_of(
                items,
                survey,
                *sizes,
                order if shuffle else None,
                drop_remainder,
            )

    def dealt_out():
        for items, bucket in itertools.islice(epochs(), step, None):
            for part in parts:
                yield items[part::num_parts], bucket

    dataset = _as_dataset(dealt_out)
    encode = _encoder(vocabularies, survey, sizes, num_parts)
    dataset = dataset.map(encode, num_parallel_calls=tf.data.AUTOTUNE)
    remaining = (steps - step) * len(parts)
    if repeat:
        remaining = tf.data.INFINITE_CARDINALITY
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(remaining))
    return dataset.prefetch(PREFETCHED_BATCHES)


def steps_per_epoch(
    survey: Survey,
    batch_size: int = BATCH_SIZE,
    batch_tokens: int | None = None,
    drop_remainder: bool = False,
) -> int:
    """Returns the number of batches of one epoch.

    Args:
        survey: result of `survey_pairs`.
        batch_size: rows of a batch.
        batch_tokens: see `make_dataset`.
        drop_remainder: the same.
    """
    return survey.num_batches(batch_size, batch_tokens, drop_remainder)


def rows_of_part(rows: Sequence[int], num_parts: int) -> tuple:
    """Returns the rows of a part of a batch, for each number of rows."""
    return tuple(-(-size // num_parts) for size in rows)


def shapes_of_part(shapes: Sequence[tuple], num_parts: int) -> tuple:
    """Returns the shapes of parts of batches of these shapes."""
    rows, *lengths = zip(*shapes, strict=True)
    rows = rows_of_part(rows, num_parts)
    return tuple(zip(rows, *lengths, strict=True))


def _checked_parts(num_parts, parts):
    validation.check_positive_integer("num_parts", num_parts)
    parts = tuple(range(num_parts) if parts is None else parts)
    if not parts or not set(parts) <= set(range(num_parts)):
        raise validation.invalid(
            "parts", f"numbers from 0 to {num_parts - 1}", parts
        )
    return parts


def _check_multiples(survey, pad_to_multiple_of):
    validation.check_positive_integer(
        "pad_to_multiple_of", pad_to_multiple_of, optional=True
    )
    lengths = {length for bucket in survey.buckets for length in bucket}
    if any(length % (pad_to_multiple_of or 1) for length in lengths):
        raise validation.invalid(
            "pad_to_multiple_of",
            "that of the `survey` given, which has chosen the lengths",
            pad_to_multiple_of,
            f"survey.buckets={survey.buckets}. Give it to `survey_pairs`.",
        )


def _as_dataset(batches):
    """Returns the dataset of (sources, targets, number of the bucket)."""

    def as_arrays():
        for items, bucket in batches():
            sides = [[item[side] for item in items] for side in (0, 1)]
            yield *map(_as_bytes, sides), bucket

    return tf.data.Dataset.from_generator(
        as_arrays,
        output_signature=(
            tf.TensorSpec((None,), tf.string),
            tf.TensorSpec((None,), tf.string),
            tf.TensorSpec((), tf.int32),
        ),
    )


def _as_bytes(texts):
    return np.array([text.encode("utf-8", "replace") for text in texts], object)


def _encoder(vocabularies, survey, sizes, num_parts):
    """Returns the function from the texts of a batch to what a model takes."""
    rows = rows_of_part(survey.rows(*sizes), num_parts)
    shapes = [
        (n, *lengths) for n, lengths in zip(rows, survey.buckets, strict=True)
    ]
    # What differs between the shapes in use is not known before the run.
    in_use = shapes_of_part(survey.shapes(*sizes), num_parts)
    static = [
        sizes.pop() if len(sizes) == 1 else None
        for sizes in map(set, zip(*in_use, strict=True))
    ]

    def encode(sources, targets, bucket):
        shape = tf.gather(shapes, bucket)
        sides = []
        for texts, vocabulary, length in zip(
            (sources, targets), vocabularies, (1, 2), strict=True
        ):
            ids = ragged_ids(vocabulary, texts)  # (pairs, (length))
            ids = ids.to_tensor(shape=(shape[0], shape[length]))  # (B, length)
            ids.set_shape((static[0], static[length]))
            sides.append(ids)
        source, labels = sides
        begins = BOS_ID * tf.cast(labels[:, :1] != 0, tf.int32)  # (B, 1)
        target = tf.concat([begins, labels[:, :-1]], axis=1)  # (B, T)
        return {"source": source, "target": target}, labels

    return encode
