"""From pairs of text to batches of ids, streamed and in a known order.

Pairs are read window by window. A window is shuffled, sorted into buckets of
like length and cut into batches, whose order is shuffled again. Each batch is
padded when its turn comes, so that a long text widens one batch only. The order
follows from (seed, epoch) and nothing else, so that a training can stop and
go on at any step.
"""

import itertools

import numpy as np
import tensorflow as tf

from keras_attention import validation
from keras_attention.text import BOS_ID
from keras_attention.training.buckets import survey_pairs
from keras_attention.training.pairs import Pairs

BATCHES_PER_WINDOW = 64
PREFETCHED_BATCHES = 4


def make_dataset(
    pairs,
    source_vocabulary,
    target_vocabulary,
    *,
    batch_size=64,
    max_source_length=None,
    max_target_length=None,
    num_buckets=6,
    shuffle=True,
    shuffle_buffer=100_000,
    seed=0,
    epoch=0,
    step=0,
    repeat=False,
    survey=None,
):
    """Makes the batches that `Seq2Seq` trains on.

    Everything is read and checked once before the first batch. Each batch is
    padded to one of few pairs of lengths, so that XLA compiles few programs;
    the last batch of an epoch is filled up with rows of padding.

    Args:
        pairs: path, list of paths, list of (source, target), or `Pairs`.
        source_vocabulary: a `text.Vocabulary`.
        target_vocabulary: a `text.Vocabulary`.
        batch_size: rows of a batch; at most the number of pairs.
        max_source_length: ids, EOS counted; longer pairs are left out.
        max_target_length: the same for targets.
        num_buckets: the most different pairs of lengths.
        shuffle: whether the order is random. If not, it follows the file,
            but for the sorting by length inside each window of 64 batches.
        shuffle_buffer: pairs held in memory for shuffling. With more pairs
            than this, near ones are shuffled among each other.
        seed: integer, at least 0.
        epoch: integer, at least 0; each has an order of its own.
        step: number of batches left out at the start of `epoch`.
        repeat: whether the following epochs come after this one, endlessly.
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
    """
    validation.check_positive_integer("batch_size", batch_size)
    validation.check_positive_integer("shuffle_buffer", shuffle_buffer)
    pairs = pairs if isinstance(pairs, Pairs) else Pairs(pairs)
    survey = survey or survey_pairs(
        pairs,
        source_vocabulary,
        target_vocabulary,
        max_source_length,
        max_target_length,
        num_buckets,
    )
    batch_size = min(batch_size, survey.num_pairs)
    steps = steps_per_epoch(survey, batch_size)
    if not 0 <= step < steps:
        raise validation.invalid("step", f"in [0, {steps})", step)

    def windows():
        size = batch_size * BATCHES_PER_WINDOW
        for number in itertools.count(epoch) if repeat else [epoch]:
            order = np.random.default_rng((seed, number))
            kept = _kept(pairs, survey.left_out)
            if shuffle:
                kept = _shuffled(kept, shuffle_buffer, order)
            for window in _windows_of(kept, size):
                batches = -(-len(window) // batch_size)
                turns = np.arange(batches)
                if shuffle:
                    turns = order.permutation(batches)
                yield *_as_arrays(window), turns

    # Whole windows are left out unseen, the rest batch by batch.
    skipped, rest = divmod(step, BATCHES_PER_WINDOW)
    cut = _cutter(source_vocabulary, target_vocabulary, survey, batch_size)
    dataset = tf.data.Dataset.from_generator(
        lambda: itertools.islice(windows(), skipped, None),
        output_signature=(
            tf.TensorSpec((None,), tf.string),
            tf.TensorSpec((None,), tf.string),
            tf.TensorSpec((None,), tf.int64),
        ),
    )
    dataset = dataset.flat_map(cut).skip(rest)
    remaining = tf.data.INFINITE_CARDINALITY if repeat else steps - step
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(remaining))
    return dataset.prefetch(PREFETCHED_BATCHES)


def steps_per_epoch(survey, batch_size):
    """Returns the number of batches of one epoch."""
    return -(-survey.num_pairs // min(batch_size, survey.num_pairs))


def _kept(pairs, left_out):
    if not left_out:
        return iter(pairs)
    return (p for number, p in enumerate(pairs) if number not in left_out)


def _shuffled(pairs, buffer_size, order):
    """Shuffles within a buffer, half of which stays for the next filling."""
    held = []
    while filling := list(itertools.islice(pairs, buffer_size - len(held))):
        held += filling
        held = [held[place] for place in order.permutation(len(held))]
        if len(held) == buffer_size:
            half = -(-buffer_size // 2)
            yield from held[:half]
            held = held[half:]
    yield from held


def _windows_of(pairs, size):
    while window := list(itertools.islice(pairs, size)):
        yield window


def _as_arrays(window):
    sides = zip(*window, strict=True)
    return [
        np.array([text.encode("utf-8", "replace") for text in side], object)
        for side in sides
    ]


def _cutter(source_vocabulary, target_vocabulary, survey, batch_size):
    """Returns the function from a window of texts to a dataset of batches.

    W is the number of pairs in the window. Pair number W is an empty one,
    which fills up the last batch.
    """
    boundaries = [
        tf.constant(side) for side in zip(*survey.buckets, strict=True)
    ]
    vocabularies = (source_vocabulary, target_vocabulary)
    pad = _padder(survey.buckets, batch_size)

    def cut(source, target, turns):
        bucket, sides = 0, []
        for texts, vocabulary, limits in zip(
            (source, target), vocabularies, boundaries, strict=True
        ):
            ids = vocabulary.encode_ragged(texts)  # (W, (length))
            lengths = tf.cast(ids.row_lengths(), tf.int32)
            bucket = tf.maximum(bucket, tf.searchsorted(limits, lengths))
            sides.append(_with_empty_row(ids))  # (W + 1, (length))
        rows = tf.argsort(bucket, stable=True)
        window_size = tf.shape(rows)[0]
        filling = tf.fill([-window_size % batch_size], window_size)
        rows = tf.reshape(tf.concat([rows, filling], 0), [-1, batch_size])
        rows = tf.gather(rows, turns)  # (batches, B)
        bucket = tf.gather(tf.pad(bucket, [[0, 1]]), rows)
        widths = tf.gather(survey.buckets, tf.reduce_max(bucket, axis=1))

        def batch_of(rows, width):
            source, target = (tf.gather(ids, rows) for ids in sides)
            return pad(source, target, width)

        batches = tf.data.Dataset.from_tensor_slices((rows, widths))
        return batches.map(batch_of, num_parallel_calls=tf.data.AUTOTUNE)

    return cut


def _with_empty_row(ids):
    splits = tf.concat([ids.row_splits, ids.row_splits[-1:]], axis=0)
    return tf.RaggedTensor.from_row_splits(ids.values, splits, validate=False)


def _padder(buckets, batch_size):
    """Returns the function from the ids of a batch to what a model takes."""
    # With several buckets the lengths are not known before the run.
    source_length, target_length = (
        buckets[0] if len(buckets) == 1 else (None, None)
    )

    def pad(source, target, width):
        source = source.to_tensor(shape=(batch_size, width[0]))
        labels = target.to_tensor(shape=(batch_size, width[1]))
        begins = BOS_ID * tf.cast(labels[:, :1] != 0, tf.int32)
        target = tf.concat([begins, labels[:, :-1]], axis=1)
        source.set_shape((batch_size, source_length))
        for tensor in (target, labels):
            tensor.set_shape((batch_size, target_length))
        return {"source": source, "target": target}, labels

    return pad
