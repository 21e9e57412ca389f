"""Batches: their contract, their order, their lengths."""

import gzip
import itertools
import random
import sys
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
from memory import peak_growth

from keras_attention import Vocabulary
from keras_attention.training import Survey
from keras_attention.training import make_dataset
from keras_attention.training import steps_per_epoch
from keras_attention.training import survey_pairs
from keras_attention.training.batching import items_of
from keras_attention.training.batching import shuffled
from keras_attention.training.buckets import choose_buckets

SOURCE = Vocabulary.build(["abcdefg"])
TARGET = Vocabulary.build(["A B C D E F G"], unit="symbols")


def random_pairs(number, longest=11, seed=5):
    draw = random.Random(seed)
    words = [
        "".join(draw.choices("abcdefg", k=draw.randint(1, longest)))
        for _ in range(number)
    ]
    return [(word, " ".join(word.upper())) for word in words]


def batches_of(pairs, **options):
    return [
        (x["source"].numpy(), x["target"].numpy(), y.numpy())
        for x, y in make_dataset(pairs, SOURCE, TARGET, **options)
    ]


def rows_of(batches):
    """The texts of all real rows, in order."""
    texts = []
    for vocabulary, part in ((SOURCE, 0), (TARGET, 2)):
        rows = [row for batch in batches for row in batch[part]]
        ids = np.zeros((len(rows), max(map(len, rows))), "int32")
        for row, of_one in zip(ids, rows, strict=True):
            row[: len(of_one)] = of_one
        texts.append(vocabulary.decode(ids).numpy().tolist())
    pairs = zip(*texts, strict=True)
    return [(s.decode(), t.decode()) for s, t in pairs if s or t]


def assert_same_batches(first, second):
    assert len(first) == len(second)
    for ours, theirs in zip(first, second, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in-order"])
def test_every_pair_comes_once(shuffle):
    pairs = random_pairs(1013)
    batches = batches_of(pairs, batch_size=7, shuffle=shuffle)
    assert len(batches) == 145  # 1013 / 7, rounded up
    assert sorted(rows_of(batches)) == sorted(pairs)


def test_target_is_bos_and_shifted_labels():
    for source, target, labels in batches_of(random_pairs(53), batch_size=5):
        real = labels[:, 0] != 0
        assert source.dtype == target.dtype == labels.dtype == np.int32
        np.testing.assert_array_equal(target[:, 1:], labels[:, :-1])
        np.testing.assert_array_equal(target[:, 0], np.where(real, 1, 0))
        for row in labels[real]:
            length = np.count_nonzero(row)
            assert row[length - 1] == 2 and not row[length:].any()


def test_batches_have_few_shapes_and_all_rows():
    pairs = random_pairs(997, longest=29)
    survey = survey_pairs(pairs, SOURCE, TARGET, num_buckets=3)
    batches = batches_of(pairs, batch_size=13, num_buckets=3)
    shapes = {(s.shape[1], y.shape[1]) for s, _, y in batches}
    assert len(survey.buckets) == 3
    assert shapes <= set(survey.buckets)
    assert {s.shape[0] for s, _, _ in batches} == {13}
    # 997 = 76 * 13 + 9: four rows of padding fill the last batch.
    padded = sum(np.sum(~y.any(axis=1)) for _, _, y in batches)
    assert padded == 4


def test_one_bucket_makes_shapes_static():
    options = {"batch_size": 3, "max_source_length": 12}
    one, few = (
        make_dataset(random_pairs(53), SOURCE, TARGET, num_buckets=n, **options)
        for n in (1, 3)
    )
    assert one.element_spec[0]["source"].shape == (3, 12)
    assert one.element_spec[1].shape == (3, 12)
    assert few.element_spec[0]["source"].shape.as_list() == [3, None]


def test_a_batch_is_no_larger_than_the_data():
    ((source, _, _),) = batches_of(random_pairs(3), batch_size=64)
    assert source.shape[0] == 3


def test_order_follows_from_seed_and_epoch_alone():
    pairs = random_pairs(307)
    first = batches_of(pairs, batch_size=11, seed=3, epoch=2)
    np.random.seed(1)
    assert_same_batches(
        first, batches_of(pairs, batch_size=11, seed=3, epoch=2)
    )
    for other in ({"seed": 4, "epoch": 2}, {"seed": 3, "epoch": 1}):
        rows = rows_of(batches_of(pairs, batch_size=11, **other))
        assert rows != rows_of(first)
        assert sorted(rows) == sorted(rows_of(first))


@pytest.mark.parametrize(
    ("sizes", "steps"),
    # 64 batches are a window: steps before, on and after its borders.
    [({"batch_size": 3}, [5, 64, 71, 128]), ({"batch_tokens": 29}, [41])],
    ids=["rows", "tokens"],
)
def test_steps_can_be_left_out(sizes, steps):
    pairs = random_pairs(401)
    options = {**sizes, "seed": 7, "epoch": 1}
    whole = batches_of(pairs, **options)
    for step in steps:
        left = batches_of(pairs, step=step, **options)
        assert_same_batches(whole[step:], left)


def padded_rows(lengths, buckets, batch_tokens):
    """The shapes of batches by tokens and how many, counted pair by pair."""
    counts = dict.fromkeys(buckets, 0)
    for source, target in lengths:
        counts[
            next(b for b in buckets if source <= b[0] and target <= b[1])
        ] += 1
    rows = {b: min(batch_tokens // max(b), n) for b, n in counts.items()}
    steps = sum(-(-n // rows[b]) for b, n in counts.items() if n)
    return {(rows[b], *b) for b, n in counts.items() if n}, steps


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in-order"])
def test_batches_by_tokens_have_the_declared_shapes(shuffle):
    pairs = random_pairs(997, longest=29)
    survey = survey_pairs(pairs, SOURCE, TARGET, num_buckets=5)
    lengths = [(len(s) + 1, len(s) + 1) for s, _ in pairs]
    wanted, steps = padded_rows(lengths, survey.buckets, 211)
    assert set(survey.shapes(batch_tokens=211)) == wanted and len(wanted) == 5
    batches = batches_of(
        pairs, batch_tokens=211, shuffle=shuffle, survey=survey
    )
    shapes = [(*s.shape, y.shape[1]) for s, _, y in batches]
    assert set(shapes) == wanted
    assert len(batches) == steps
    assert steps == steps_per_epoch(survey, batch_tokens=211)
    assert all(rows * max(both) <= 211 for rows, *both in shapes)
    assert sorted(rows_of(batches)) == sorted(pairs)
    # Rows of padding are in one batch of each pair of lengths alone.
    filled = [n for n, (_, _, y) in enumerate(batches) if not y.any(1).all()]
    assert len({shapes[n] for n in filled}) == len(filled)
    if not shuffle:
        assert filled == list(range(steps - len(filled), steps))


def test_batches_by_tokens_of_few_pairs_have_no_more_rows():
    pairs = [("ab", "A"), ("ba", "B"), ("abcabc", "C D E F G A B C")]
    survey = survey_pairs(pairs, SOURCE, TARGET)
    assert survey.shapes(batch_tokens=1009) == ((2, 3, 2), (1, 7, 9))
    assert len(batches_of(pairs, batch_tokens=1009)) == 2


def test_one_shape_in_use_is_static():
    dataset = make_dataset([("ab", "A")] * 5, SOURCE, TARGET, batch_tokens=11)
    assert dataset.element_spec[0]["source"].shape == (3, 3)
    assert dataset.element_spec[1].shape == (3, 2)


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in-order"])
@pytest.mark.parametrize(
    ("sizes", "kept"),
    [({"batch_size": 13}, 13 * (997 // 13)), ({"batch_tokens": 211}, None)],
    ids=["rows", "tokens"],
)
def test_remainder_can_be_dropped(sizes, kept, shuffle):
    pairs = random_pairs(997, longest=29)
    survey = survey_pairs(pairs, SOURCE, TARGET, num_buckets=5)
    options = {**sizes, "survey": survey, "shuffle": shuffle}
    batches = batches_of(pairs, **options, drop_remainder=True)
    assert len(batches) == steps_per_epoch(survey, **sizes, drop_remainder=True)
    assert all(y.any(axis=1).all() for _, _, y in batches)  # none is padding
    shapes = {(*s.shape, y.shape[1]) for s, _, y in batches}
    assert shapes <= set(survey.shapes(**sizes))
    full = [b for b in batches_of(pairs, **options) if b[2].any(axis=1).all()]
    if kept is None:  # each is a batch of the other way, in the same order
        assert_same_batches(batches, full)
    else:
        assert len(rows_of(batches)) == kept
    if kept and not shuffle:  # the last to come is left out, not the longest
        assert sorted(rows_of(batches)) == sorted(pairs[:kept])


def test_remainder_of_few_pairs_is_all_of_them():
    (batch,) = batches_of(random_pairs(5), batch_size=7, drop_remainder=True)
    assert batch[0].shape[0] == 5


def test_lengths_are_padded_to_multiples():
    pairs = random_pairs(211, longest=29)
    lengths = {len(source) + 1 for source, _ in pairs}
    survey = survey_pairs(pairs, SOURCE, TARGET, pad_to_multiple_of=8)
    assert survey.buckets == ((8, 8), (16, 16), (24, 24), (32, 32))
    assert survey.longest == (max(lengths),) * 2
    batches = batches_of(pairs, batch_size=7, pad_to_multiple_of=8)
    assert_same_batches(batches, batches_of(pairs, batch_size=7, survey=survey))
    assert sorted(rows_of(batches)) == sorted(pairs)
    assert {s.shape for s, _, _ in batches} <= {
        (7, n) for n, _ in survey.buckets
    }
    one = batches_of(
        pairs, batch_size=7, pad_to_multiple_of=64, max_source_length=20
    )
    assert {(s.shape, y.shape) for s, _, y in one} == {((7, 64), (7, 64))}


def test_survey_of_other_lengths_is_refused():
    pairs = random_pairs(53)
    survey = survey_pairs(pairs, SOURCE, TARGET)
    with pytest.raises(
        ValueError, match="`pad_to_multiple_of` must be that of"
    ):
        make_dataset(pairs, SOURCE, TARGET, survey=survey, pad_to_multiple_of=8)


TEXTS = strategies.text(strategies.sampled_from("abz \x00<pad>"), max_size=9)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    strategies.lists(strategies.tuples(TEXTS, TEXTS), min_size=1, max_size=9),
    strategies.sampled_from([{"batch_size": 4}, {"batch_tokens": 31}]),
    strategies.sampled_from([None, 8]),
)
def test_padding_is_last(texts, sizes, multiple):
    """What `declared_batches(padding_is_last=True)` says of these batches."""
    pairs = [(f"a{source}", f"A{target}") for source, target in texts]
    batches = batches_of(pairs, **sizes, pad_to_multiple_of=multiple)
    for source, target, labels in batches:
        for ids in (source, target, labels):
            real = ids != 0
            assert not np.any(real[:, 1:] & ~real[:, :-1])
            rows = real[:, 0]
            assert not np.any(rows[1:] & ~rows[:-1])
        # What a decoder sees is as long as what it is to say, row by row.
        np.testing.assert_array_equal(
            np.count_nonzero(target, axis=1), lengths_of_target(labels)
        )


def lengths_of_target(labels):
    real = np.count_nonzero(labels, axis=1)
    return np.minimum(np.where(real, real + 1, 0), labels.shape[1])


class Letters:
    """A tokenizer that is no `Vocabulary`: an id for each code point."""

    def encode(self, texts):
        points = tf.strings.unicode_decode(texts, "UTF-8") - 90
        ends = tf.fill([points.nrows(), 1], 2)
        return tf.concat([points, ends], axis=1).to_tensor()


def test_tokenizer_of_the_caller_makes_the_ids():
    pairs = random_pairs(53)
    dataset = make_dataset(
        pairs, Letters(), TARGET, batch_tokens=37, shuffle=False
    )
    wanted = batches_of(pairs, batch_tokens=37, shuffle=False)
    for (inputs, labels), (source, _, y) in zip(dataset, wanted, strict=True):
        # "a" is 97, here 7; the vocabulary has it at 4.
        letters = np.where(source > 3, source + 3, source)
        np.testing.assert_array_equal(inputs["source"], letters)
        np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize("number", [52, 54], ids=["fewer", "more"])
def test_pairs_that_are_not_those_surveyed_are_refused(number):
    survey = survey_pairs(random_pairs(53), SOURCE, TARGET)
    pairs = random_pairs(54)[:number]
    received = "fewer" if number < 53 else "more"
    with pytest.raises(ValueError, match=f"53 pairs that were.*={received}"):
        list(items_of(pairs, survey.bucket_numbers()))


def test_survey_made_by_hand_has_no_lengths():
    survey = Survey(53, frozenset(), ((12, 12),))
    with pytest.raises(ValueError, match="`survey` must be a result of"):
        make_dataset(random_pairs(53), SOURCE, TARGET, survey=survey)
    with pytest.raises(ValueError, match="`survey` must be a result of"):
        _ = survey.longest


@pytest.mark.parametrize("sizes", [{"batch_size": 7}, {"batch_tokens": 43}])
def test_repeat_goes_on_with_the_following_epochs(sizes):
    pairs = random_pairs(101)
    options = {**sizes, "seed": 3}
    wanted = [
        *batches_of(pairs, epoch=4, **options)[9:],
        *batches_of(pairs, epoch=5, **options),
    ]
    dataset = make_dataset(
        pairs, SOURCE, TARGET, epoch=4, step=9, repeat=True, **options
    )
    found = [
        (x["source"].numpy(), x["target"].numpy(), y.numpy())
        for x, y in dataset.take(len(wanted))
    ]
    assert_same_batches(found, wanted)
    assert dataset.cardinality().numpy() == -1


def test_files_give_the_batches_of_the_list(tmp_path):
    pairs = random_pairs(61)
    lines = [f"{source}\t{target}\n" for source, target in pairs]
    plain, packed = tmp_path / "a.tsv", tmp_path / "b.tsv.gz"
    plain.write_text("".join(lines[:23]), encoding="utf-8")
    packed.write_bytes(gzip.compress("".join(lines[23:]).encode()))
    found = batches_of([plain, packed], batch_size=5, seed=2)
    assert_same_batches(found, batches_of(pairs, batch_size=5, seed=2))


def test_long_pairs_are_left_out():
    pairs = random_pairs(211)
    kept = [pair for pair in pairs if len(pair[0]) <= 6]  # 7 with EOS
    batches = batches_of(pairs, batch_size=5, max_source_length=7)
    assert sorted(rows_of(batches)) == sorted(kept)
    survey = survey_pairs(pairs, SOURCE, TARGET, max_target_length=7)
    assert survey.num_pairs == len(kept)
    assert steps_per_epoch(survey, 5) == -(-len(kept) // 5)


def test_shuffle_streams_with_a_bounded_buffer():
    taken = []

    def numbers():
        for number in range(1000):
            taken.append(number)
            yield number

    mixed = shuffled(numbers(), 20, np.random.default_rng(0))
    first = [next(mixed) for _ in range(3)]
    assert len(taken) == 20 and set(first) <= set(range(20))
    rest = list(mixed)
    assert sorted(first + rest) == list(range(1000))


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "pairs.tsv"
    peaks = []
    for lines in (5_000, 20_000):
        path.write_text("abcabcabc\tA B C\n" * lines, encoding="utf-8")
        tracemalloc.start()
        dataset = make_dataset(
            path, SOURCE, TARGET, batch_size=32, shuffle_buffer=500
        )
        for _ in dataset:
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_line_widens_its_own_batch_only():
    """Padding the window of 64 batches to it would take 195 MiB a tensor."""
    pairs = [*random_pairs(1023), ("a" * 50_000, " ".join("B" * 53))]
    survey = survey_pairs(pairs, SOURCE, TARGET)
    widths = []

    def read():
        dataset = make_dataset(
            pairs, SOURCE, TARGET, batch_size=16, survey=survey
        )
        widths.extend(inputs["source"].shape[1] for inputs, _ in dataset)

    assert peak_growth(read) < 150
    assert sorted(widths)[-2:] == [12, 50_001]


def test_broken_pairs_fail_before_the_first_batch(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tA\n" * 5000 + "broken\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 5001: the number of columns"):
        make_dataset(path, SOURCE, TARGET)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"shuffle_buffer": 0}, "`shuffle_buffer` must be a positive"),
        ({"step": 3}, r"`step` must be in \[0, 3\)"),
        ({"step": "1"}, "`step` must be an integer of at least 0"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"seed": 1.5}, "`seed` must be an integer of at least 0"),
        ({"epoch": -1}, "`epoch` must be an integer of at least 0"),
        ({"max_source_length": "5"}, "`max_source_length` must be a positive"),
        ({"max_target_length": 0}, "`max_target_length` must be a positive"),
        ({"max_source_length": 1}, "must leave at least one pair"),
        ({"num_buckets": 0}, "`num_buckets` must be a positive integer"),
        ({"num_buckets": 255}, "`num_buckets` must be below 255"),
        ({"pad_to_multiple_of": 0}, "`pad_to_multiple_of` must be a positive"),
        ({"batch_tokens": 64}, "`batch_size` must be left at 64 where"),
    ],
    ids=[
        *("batch-size", "buffer", "step", "no-step", "seed", "half-seed"),
        *("epoch", "source-length", "target-length", "all-too-long"),
        *("no-bucket", "many-buckets", "no-multiple", "rows-and-tokens"),
    ],
)
def test_make_dataset_checks_its_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        make_dataset(
            random_pairs(13), SOURCE, TARGET, **{"batch_size": 5, **options}
        )


def padded_total(counts, boundaries):
    return sum(
        count * min(b for b in boundaries if b >= length)
        for length, count in counts.items()
    )


def test_buckets_add_the_least_padding():
    draw = random.Random(11)
    counts = {n: draw.randint(1, 50) for n in draw.sample(range(1, 40), 9)}
    lengths = sorted(counts)
    best = min(
        padded_total(counts, [*some, lengths[-1]])
        for some in itertools.combinations(lengths[:-1], 2)
    )
    both = {(n, n): count for n, count in counts.items()}
    buckets = choose_buckets(both, 3)
    assert len(buckets) == 3
    assert padded_total(counts, [source for source, _ in buckets]) == best


def test_buckets_of_one_length():
    assert choose_buckets({(5, 3): 2, (5, 7): 1}, 4) == ((5, 3), (5, 7))
    assert choose_buckets({(5, 3): 2}, 4) == ((5, 3),)


def test_survey_takes_buckets_that_hold_its_own():
    ours = Survey(2, frozenset(), ((3, 11),))
    theirs = Survey(9, frozenset(), ((2, 3), (5, 7)))
    assert ours.including(theirs) == Survey(2, frozenset(), ((2, 3), (5, 11)))


@pytest.mark.parametrize("options", [{"batch_size": 6}, {"batch_tokens": 40}])
def test_parts_together_are_every_pair_once_per_epoch(options):
    pairs, num_parts = random_pairs(53), 5

    def texts_of(**parts):
        made = make_dataset(pairs, SOURCE, TARGET, seed=3, **options, **parts)
        batches = [inputs["source"] for inputs, _ in made]
        assert len(batches) == int(made.cardinality())
        return batches

    whole = texts_of()
    shares = [
        texts_of(num_parts=num_parts, parts=[part]) for part in range(num_parts)
    ]
    together = texts_of(num_parts=num_parts)
    for number, batch in enumerate(whole):
        dealt = [share[number] for share in shares]
        start = number * num_parts
        for one, other in zip(
            dealt, together[start : start + num_parts], strict=True
        ):
            np.testing.assert_array_equal(one, other)
        assert len({part.shape for part in dealt}) == 1
        rows = sorted(row for part in dealt for row in part.numpy().tolist())
        wanted = batch.numpy().tolist()
        padding = [[0] * batch.shape[1]] * (len(rows) - len(wanted))
        assert rows == sorted(wanted + padding)


def test_parts_out_of_range_are_refused():
    for parts in ([], [2], [-1]):
        with pytest.raises(ValueError, match="`parts` must be numbers from 0"):
            make_dataset(
                random_pairs(5), SOURCE, TARGET, num_parts=2, parts=parts
            )
