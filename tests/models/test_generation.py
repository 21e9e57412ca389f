"""Lists of any length, and texts that no one meant a model to read."""

import numpy as np
import pytest
from small_models import randomize
from small_models import small_model
from small_models import source_ids

import keras_attention as ka
from keras_attention.models.generated import decoded_texts
from keras_attention.models.source_rows import SourceRows
from keras_attention.models.source_rows import lengths_of
from keras_attention.models.source_rows import next_power_of_two

# Control characters, bytes that are not UTF-8, nothing, only unknown
# characters, the names of special tokens, lone surrogates, beyond 16 bits;
# and longer than any buffer.
HOSTILE = [
    "\x00a\n\t\x1b[31mb\x7f",
    b"\xff\xfea\xc3",
    "",
    "xyz" * 7,
    "<eos><pad>",
    "\udcff\udcfe",
    "\U0001f600a\u0301",
]
LONG = "ab" * 5000


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "kind",
    [
        "transformer",
        pytest.param("bahdanau", marks=pytest.mark.exhaustive),
        "cnn-luong",
    ],
)
def test_hostile_texts_have_answers_and_leave_the_others_alone(kind):
    vocabulary = ka.Vocabulary.build(["abcdefg"])
    options = {"num_heads": 2} if kind == "transformer" else {}
    model = ka.build_seq2seq(
        kind, vocabulary, vocabulary, units=4, max_length=5, **options
    )
    search = ka.Beam(3, num_hypotheses=2)
    alone = model.generate(["abc"], search)
    for mates in (HOSTILE, [LONG]):
        found = model.generate(["abc", *mates], search)
        assert found.texts.shape == (1 + len(mates), 2)
        assert np.isfinite(found.scores).all()
        assert np.isfinite(found.alignments).all()
        assert found.texts[0].tolist() == alone.texts[0].tolist()
        np.testing.assert_allclose(found.scores[0], alone.scores[0], atol=1e-5)
        for text in found.texts.ravel():
            text.encode("utf-8")  # no lone surrogate, or an error


def rows_of(lengths):
    ids = source_ids(lengths)
    return SourceRows({"source": ids}, lengths_of(ids != 0))


def test_batches_are_of_like_length():
    lengths = (5, 1, 3, 5, 2, 1, 4)
    batches = rows_of(lengths).batches(batch_size=3)
    found = [[lengths[row] for row in batch] for batch in batches]
    assert found == [[1, 1, 2], [3, 4, 5], [5]]
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))


def test_a_batch_is_as_long_as_its_longest_row():
    rows = rows_of((5, 1, 3))
    some = np.array([1, 2])
    for jit_compile, length in ((False, 3), (True, 4)):
        found = rows.take(some, jit_compile)["source"]
        assert found.shape == (2, length)
        np.testing.assert_array_equal(
            found[:, :3], rows.arrays["source"][1:, :3]
        )


def test_rows_of_unknown_length_are_neither_sorted_nor_cut():
    rows = SourceRows({"source": source_ids((5, 1, 3))}, lengths=None)
    assert [b.tolist() for b in rows.batches(2)] == [[0, 1], [2]]
    assert rows.take(np.array([1]), jit_compile=True)["source"].shape == (1, 5)


@pytest.mark.parametrize(
    ("size", "power"), [(0, 1), (1, 1), (2, 2), (3, 4), (17, 32), (64, 64)]
)
def test_next_power_of_two(size, power):
    assert next_power_of_two(size) == power


@pytest.mark.parametrize(
    ("verbose", "count", "shown"),
    [("auto", 9, False), ("auto", 10, True), (0, 10, False), (1, 1, True)],
)
def test_a_bar_is_shown_for_long_lists(verbose, count, shown, capsys):
    model = small_model("rnn", "luong", max_length=2)
    source = source_ids((1,) * count)
    model.generate(source, batch_size=1, verbose=verbose)
    assert (f"{count}/{count}" in capsys.readouterr().out) is shown


def test_row_seeds_tell_samples_apart_whatever_the_batch():
    model = ka.build_seq2seq("luong", 11, 13, units=3, max_length=7)
    source = np.array([[5, 4, 2]] * 5)
    search = ka.Sample(temperature=3.0, seed=2)
    by_index = model.generate(source, search).tokens
    seeds = [4, 3, 2, 1, 0]
    by_seed = model.generate(source, search, batch_size=2, row_seeds=seeds)
    np.testing.assert_array_equal(by_seed.tokens, by_index[::-1])
    assert len(np.unique(by_index, axis=0)) > 1
    with pytest.raises(ValueError, match="one integer for each of the 5"):
        model.generate(source, search, row_seeds=[1, 2])


def test_what_int32_cannot_hold_is_refused():
    model = ka.Seq2Seq(ka.RNNEncoder(11, 3), ka.RNNDecoder(13, 5), 7)
    for source in ([[2**32 + 5]], [[2**63 + 5]]):
        with pytest.raises(ValueError, match="`source` must be ids from 0 to"):
            model.generate(np.array(source))
    for seed in (None, "a", 1.7, 2**40):
        with pytest.raises(ValueError, match="`row_seeds` must be integers"):
            model.generate([[5]], row_seeds=[seed])
    for source in ([[5]], []):
        with pytest.raises(ValueError, match="`search` must be a Greedy"):
            model.generate(source, [])


def test_no_source_and_no_target_reaches_past_a_learned_table():
    parts = (
        part(11, 6, num_heads=2, position=ka.LearnedPositionalEncoding(size))
        for part, size in (
            (ka.TransformerEncoder, 3),
            (ka.TransformerDecoder, 5),
        )
    )
    model = ka.Seq2Seq(*parts, max_length=5)
    found = model.generate([[5, 4, 2, 0], [2, 0, 0, 0]])
    assert found.tokens.shape == (2, 1, 5)
    # XLA pads to powers of two, but not past the table.
    compiled = model.generate([[5, 4, 2, 0], [2, 0, 0, 0]], jit_compile=True)
    np.testing.assert_array_equal(compiled.tokens, found.tokens)
    with pytest.raises(ValueError, match="`encoder` must have 4 positions for"):
        model.generate([[5, 4, 6, 2]])
    with pytest.raises(ValueError, match="`decoder` must have 6 positions for"):
        model.generate([[5, 4, 2]], max_length=6)


def test_a_mask_that_hides_ids_leaves_a_row_what_it_is_alone():
    """The encoder may read ids that the decoder is not to look at."""
    model = randomize(small_model("rnn", "bahdanau"))
    source = np.array([[4, 5, 6, 7, 8], [9, 7, 5, 4, 6]], "int32")
    mask = np.array([[True] * 2 + [False] * 3, [True] * 5])
    both = model.generate(source, source_mask=mask)
    alone = model.generate(source[:1], source_mask=mask[:1])
    np.testing.assert_allclose(both.scores[0], alone.scores[0], rtol=1e-5)
    said = alone.tokens[:, 0, : alone.lengths[0, 0]]
    inputs = {"source": source[:1], "source_mask": mask[:1]}
    inputs["target"] = np.pad(said, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
    logits = np.asarray(model(inputs), "float64")[0]
    chosen = logits[np.arange(len(logits)), said[0]]
    score = (chosen - np.log(np.exp(logits).sum(axis=1))).sum()
    assert alone.scores[0, 0] == pytest.approx(score, rel=1e-4)


def test_bytes_of_a_tokenizer_that_are_not_utf_8_are_replaced():
    class Raw:
        def decode(self, ids):
            return np.array([b"ab", b"a\xffb"], object)[np.asarray(ids)[..., 0]]

    texts = decoded_texts(Raw(), np.array([[[0], [1]]]))
    assert texts.tolist() == [["ab", "a\ufffdb"]]
