"""Vocabularies of pieces against brute force and the reference packages."""

import copy
import itertools
import pickle
import re

import numpy as np
import piece_lines
import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from keras_attention.text import SPECIAL_TOKENS
from keras_attention.text import PieceVocabulary
from keras_attention.text import Reading
from keras_attention.text import learning
from keras_attention.text.reading import MARK

pytestmark = pytest.mark.tensorflow_only

PIECES = ["▁", "a", "b", "ab", "ba", "aba", "▁a", "▁b", "bb", "▁ab"]
SCORES = [-3.1, -2.3, -2.9, -4.7, -3.7, -6.1, -4.1, -5.3, -5.9, -6.7]
texts_of_few = st.lists(st.text("ab c", max_size=17), min_size=1, max_size=7)


@pytest.fixture(scope="module")
def unigram():
    return PieceVocabulary(PIECES, SCORES, sums="float64")


@pytest.fixture(scope="module")
def byte_pair():
    return PieceVocabulary(PIECES, SCORES, "byte_pair", unknown="single")


@pytest.fixture(scope="module", params=["unigram", "byte_pair", "bytes"])
def learned(request):
    """A vocabulary that was learned, and the processor of the same model."""
    falls_back = request.param == "bytes"
    algorithm = "unigram" if falls_back else request.param
    seen = []

    def read_model(data, reading):
        seen.append(data)
        return original(data, reading)

    original = learning.read_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "read_model", read_model)
        vocabulary = PieceVocabulary.build(
            piece_lines.lines_of(501),
            size=401 if falls_back else 151,
            algorithm=algorithm,
            byte_fallback=falls_back,
            character_coverage=0.99 if falls_back else 1,
        )
    return vocabulary, sentencepiece.SentencePieceProcessor(model_proto=seen[0])


def marked(text):
    """What `Reading()` makes of a text, in Python."""
    words = [word for word in text.split(" ") if word]
    return "".join(MARK + word for word in words)


def pieces_of(vocabulary, texts):
    ids = vocabulary.encode_ragged(texts)
    return [
        [vocabulary.tokens[number] for number in row[:-1]]
        for row in ids.to_list()
    ]


def cuts_of(word):
    """All ways to cut a word."""
    for cuts in itertools.product((False, True), repeat=len(word) - 1):
        ends = [n for n, cut in enumerate(cuts, start=1) if cut]
        starts = [0, *ends]
        yield [
            word[start:end]
            for start, end in zip(starts, [*ends, len(word)], strict=True)
        ]


def score_of(parts):
    """The sum of scores; unknown characters are 10 below the lowest."""
    scores = dict(zip(PIECES, SCORES, strict=True))
    lowest = min(SCORES) - 10
    known = (scores.get(p, lowest if len(p) == 1 else -np.inf) for p in parts)
    return sum(known)


@settings(max_examples=30)
@given(st.lists(st.text("abc", max_size=9), min_size=1, max_size=5))
def test_unigram_takes_the_best_of_all_ways(unigram, texts):
    for text, found in zip(texts, pieces_of(unigram, texts), strict=True):
        ways = [*cuts_of(marked(text))] if text else [[]]
        best = max(map(score_of, ways))
        alike = [way for way in ways if score_of(way) > best - 1e-9]
        unknown = [[p if p in PIECES else "<unk>" for p in w] for w in alike]
        fused = [
            [
                p
                for p, before in zip(way, ["", *way], strict=False)
                if (p, before) != ("<unk>", "<unk>")
            ]
            for way in unknown
        ]
        assert found in fused


def merged_by_hand(text):
    """Byte pair encoding as the paper words it, one merge after the other."""
    scores = dict(zip(PIECES, SCORES, strict=True))
    parts = list(marked(text))
    while True:
        pairs = [a + b for a, b in itertools.pairwise(parts)]
        known = [pair for pair in pairs if pair in scores]
        if not known:
            return [p if p in scores else "<unk>" for p in parts]
        at = pairs.index(max(known, key=scores.get))
        parts[at : at + 2] = [pairs[at]]


@settings(max_examples=50)
@given(texts_of_few)
def test_byte_pair_merges_one_pair_after_the_other(byte_pair, texts):
    expected = [merged_by_hand(text) for text in texts]
    assert pieces_of(byte_pair, texts) == expected


@pytest.mark.parametrize(
    "options",
    [{"scores": [-1.0, -2.0, -3.0]}, {"merges": []}],
    ids=["scores", "merges"],
)
def test_byte_pairs_without_a_merge_are_characters(options):
    pieces = [MARK, "a", "b"]
    vocabulary = PieceVocabulary(pieces, algorithm="byte_pair", **options)
    assert pieces_of(vocabulary, ["ab ca"]) == [
        [MARK, "a", "b", MARK, "<unk>", "a"]
    ]
    built = PieceVocabulary.build(["ab ba"] * 5, 7, algorithm="byte_pair")
    assert sorted(built.tokens[4:]) == ["a", "b", MARK]


def test_learned_pieces_are_those_of_sentencepiece(learned):
    vocabulary, processor = learned
    lines = [
        *piece_lines.lines_of(307, seed=7),
        *piece_lines.odd_lines(307),
    ]
    # What `build` learned reads any white space as a space.
    read = [re.sub(r"[\s\0\x01]+", " ", line) for line in lines]
    names = processor.encode(read, out_type=int)
    names = [[processor.id_to_piece(n) for n in row] for row in names]
    expected = piece_lines.ids_of_reference(vocabulary, names, "<unk>")
    assert vocabulary.encode_ragged(lines).to_list() == expected


def test_learned_pieces_decode_as_sentencepiece_does(learned):
    vocabulary, processor = learned
    lines = piece_lines.lines_of(53, seed=11)
    ids = vocabulary.encode(lines)
    texts = [text.decode() for text in vocabulary.decode(ids).numpy()]
    assert texts == processor.decode(processor.encode(lines)) == lines


@settings(max_examples=40)
@given(st.lists(st.text(max_size=23), min_size=1, max_size=5))
def test_round_trip_of_any_text_with_bytes(bytes_vocabulary, texts):
    texts = [text.encode("utf-8", "replace") for text in texts]
    read = bytes_vocabulary.normalize(texts)
    ids = bytes_vocabulary.encode(texts)
    assert 3 not in ids.numpy()
    decoded = bytes_vocabulary.decode(ids).numpy()
    assert decoded.tolist() == read.numpy().tolist()


@pytest.fixture(scope="module")
def bytes_vocabulary():
    pieces = ["▁", "a", "▁a", "é", *(f"<0x{byte:02X}>" for byte in range(256))]
    scores = [-1.0, -2.0, -2.5, -3.0, *[0.0] * 256]
    return PieceVocabulary(pieces, scores, unknown="bytes")


@settings(max_examples=40)
@given(st.lists(st.text("ab ", max_size=23), min_size=1, max_size=5))
def test_round_trip_where_all_is_known(byte_pair, texts):
    decoded = byte_pair.decode(byte_pair.encode(texts)).numpy()
    folded = [" ".join(text.split()).encode() for text in texts]
    assert decoded.tolist() == folded
    assert byte_pair.normalize(texts).numpy().tolist() == folded


def test_one_long_word_does_not_pad_the_others(unigram, byte_pair):
    word = "ab" * 2003 + "b"
    others = [f"{n:b}".replace("1", "a").replace("0", "b") for n in range(97)]
    for vocabulary in (unigram, byte_pair):
        together = pieces_of(vocabulary, [word, *others, word])
        assert together[0] == together[-1]
        assert "".join(together[0]) == MARK + word
        assert together[1:-1] == pieces_of(vocabulary, others)


def test_sums_that_overflow_still_end():
    vocabulary = PieceVocabulary(["▁", "a", "b"], [-3e38] * 3)
    assert pieces_of(vocabulary, ["abc"]) == [["▁", "a", "b", "<unk>"]]


def test_no_text_is_read_as_a_special_token(bytes_vocabulary):
    texts = [*SPECIAL_TOKENS, "<0x41>"]
    ids = bytes_vocabulary.encode_ragged(texts)
    assert min(ids[:, :-1].flat_values.numpy()) > 3
    decoded = bytes_vocabulary.decode(ids.to_tensor()).numpy()
    assert [text.decode() for text in decoded] == texts


def test_encode_pads_ends_and_cuts_off(unigram):
    ids = unigram.encode(["ab", "", "b a b"])
    assert ids.dtype == tf.int32
    rows = [
        [*map(unigram.tokens.index, row), 2]
        for row in pieces_of(unigram, ["ab", "", "b a b"])
    ]
    width = max(map(len, rows))
    assert ids.numpy().tolist() == [r + [0] * (width - len(r)) for r in rows]
    with pytest.warns(UserWarning, match="1 of 2 texts have more than"):
        short = unigram.encode(["", "b a b"], max_length=3)
    assert short.numpy().tolist() == [[2, 0, 0], [*rows[2][:2], 2]]
    assert unigram.encode(tf.constant([], tf.string)).shape == (0, 1)


def test_decode_drops_what_is_no_text(unigram):
    a = unigram.tokens.index("▁a")
    ids = [[1, a, 3, a, 2, a], [0, 99, -1, 2, 0, 0]]
    found = unigram.decode(ids).numpy().tolist()
    assert found == [b"a<unk> a", b"<unk><unk>"]
    names = unigram.token_strings([a, 2, 99]).numpy().tolist()
    assert names == ["▁a".encode(), b"<eos>", b"<unk>"]


def test_copies_are_equal(byte_pair, tmp_path):
    byte_pair.save(tmp_path / "pieces.json")
    merges = [("a", "b"), ("▁", "ab")]
    other = PieceVocabulary(
        ["▁", "a", "b", "ab", "▁ab"],
        algorithm="byte_pair",
        merges=merges,
        reading=Reading(lower_case=True, prefix="never"),
    )
    for vocabulary in (byte_pair, other):
        again = pickle.loads(pickle.dumps(vocabulary))
        assert again.to_dict() == vocabulary.to_dict()
        assert copy.deepcopy(again).to_dict() == vocabulary.to_dict()
        texts = [" AB ba", "ab"]
        assert pieces_of(again, texts) == pieces_of(vocabulary, texts)


def test_build_ignores_the_order_of_texts():
    lines = piece_lines.lines_of(101)
    built = PieceVocabulary.build(lines, size=61)
    assert len(built) <= 61
    again = PieceVocabulary.build(iter(lines[::-1]), size=61)
    assert again.to_dict() == built.to_dict()


def test_build_with_lower_case_and_broken_bytes():
    built = PieceVocabulary.build(
        [b"Ab\tAB \xff", "aB\u3000ab"], size=12, lower_case=True
    )
    ids = built.encode_ragged(["AB\nab"])
    assert built.decode(ids.to_tensor()).numpy() == [b"ab ab"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": "one text"}, "`texts` must be an iterable of texts"),
        ({"texts": [" ", ""]}, "`texts` must hold at least one word"),
        ({"size": 5}, "`size` must be more than 4 and the number"),
        # Refused before anything is read.
        ({"size": 4, "texts": None}, "`size` must be more than 4 and the"),
        (
            {"size": 260, "byte_fallback": True, "texts": None},
            "`size` must be more than 260 and the number",
        ),
        ({"algorithm": "word"}, "`algorithm` must be one of 'unigram', "),
        ({"lower_case": "no"}, "`lower_case` must be one of True, False"),
        ({"byte_fallback": None}, "`byte_fallback` must be one of True, "),
        ({"character_coverage": 1.5}, "`character_coverage` must be at most 1"),
    ],
)
def test_build_refuses(options, message):
    options = {"texts": ["an ox"], "size": 23, **options}
    with pytest.raises(ValueError, match=message):
        PieceVocabulary.build(**options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pieces": "ab"}, "`pieces` must be a list of str"),
        ({"pieces": ["a", ""]}, "`pieces` must be a list of str, none empty"),
        ({"pieces": ["a", "a"]}, "`pieces` must be all different"),
        ({"pieces": ["a", "<eos>"]}, "and none of the special tokens"),
        ({"pieces": ["a", "b▁"]}, "at their beginning alone where words"),
        ({"pieces": ["a", "\ud800"]}, "`pieces` must be valid Unicode"),
        ({"scores": [1]}, "`scores` must be one number for each piece"),
        ({"scores": [1, float("nan")]}, "`scores` must be finite numbers"),
        ({"algorithm": "words"}, "`algorithm` must be one of"),
        ({"merges": []}, "`merges` must be None for unigrams"),
        ({"unknown": "bytes"}, 'all of "<0x00>" to "<0xFF>"'),
        ({"unknown": "drop"}, "`unknown` must be one of"),
        ({"byte_level": True, "pieces": ["a", "中"]}, "letters of GPT-2"),
        ({"sums": "float16"}, "`sums` must be one of"),
        ({"reading": "plain"}, "`reading` must be a Reading"),
        ({"unknown_score": -np.inf}, "`unknown_score` must be finite"),
        ({"unknown_score": "low"}, "`unknown_score` must be a number"),
        (
            {"algorithm": "byte_pair", "merges": [("a", "bc")]},
            "`merges` must be of pieces that make pieces",
        ),
    ],
)
def test_constructor_refuses(changed, message):
    given = {"pieces": ["a", "b"], "scores": [-1, -2], **changed}
    with pytest.raises(ValueError, match=message):
        PieceVocabulary(**given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unit": "words"}, "`data` must be a dict with 'unit': 'pieces'"),
        ({"version": 2}, "`version` must be 1"),
        ({"extra": 1}, "`data` must be a dict with algorithm, byte_level"),
        ({"reading": {"cut": "here"}}, "`cut` must be one of"),
        ({"reading": {"folds": 1}}, "`reading` must be of known names"),
    ],
)
def test_from_dict_refuses(unigram, changed, message):
    with pytest.raises(ValueError, match=message):
        PieceVocabulary.from_dict({**unigram.to_dict(), **changed})
