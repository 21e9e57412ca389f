import copy
import json
import pathlib
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_attention.text import SPECIAL_TOKENS
from keras_attention.text import UNITS
from keras_attention.text import Vocabulary
from keras_attention.text import units

pytestmark = pytest.mark.tensorflow_only

PHONEMES = ["HH AH L OW", "W ER L D", "HH AH"]
SENTENCES = ["Don't stop, step-by-step!", "It costs 3.14 or 1,000.", "A b ?"]
NAMES = ["Österreich", "中国", "ελλάδα", "🙂 a"]
TEXTS = {"characters": NAMES, "words": SENTENCES, "symbols": PHONEMES}
BROKEN = [b"\xff", b"a\xc3", b"\xed\xa0\x80 b", b"\x80\x80", b"\xf0\x9f\x99"]

each_unit = pytest.mark.parametrize("unit", UNITS)


def vocabulary_of(unit):
    return Vocabulary.build(TEXTS[unit], unit=unit)


def as_str(strings):
    return [text.decode("utf-8") for text in strings.numpy().tolist()]


def pieces_of(text, unit):
    (pieces,) = units.split(tf.constant([text]), unit).to_list()
    return [piece.decode("utf-8") for piece in pieces]


class Speller(tf.Module):
    """What an export does with a vocabulary: strings in, strings out."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary = vocabulary

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, text):
        ids = self.vocabulary.encode(text, max_length=7)
        return {
            "ids": ids,
            "text": self.vocabulary.decode(ids),
            "tokens": self.vocabulary.token_strings(ids),
        }


# How texts are cut.


@pytest.mark.parametrize(
    ("unit", "text", "expected"),
    [
        ("characters", "aß 中", ["a", "ß", " ", "中"]),
        ("characters", "🙂\n", ["🙂", "\n"]),
        ("characters", "", []),
        ("words", "", []),
        ("words", " \t\n\u3000\u00a0\x00 ", []),
        ("words", "Hello, World!", ["hello", ",", "world", "!"]),
        ("words", "Don't “stop”", ["don't", "“", "stop", "”"]),
        ("words", "It’s step-by-step - ok", "it’s step-by-step - ok".split()),
        ("words", "'tis rock'n'roll'", ["'", "tis", "rock'n'roll", "'"]),
        ("words", "3.14, 1,000.5.", ["3.14", ",", "1,000.5", "."]),
        ("words", "ÀÉ ΔΣ ё", ["àé", "δς", "ё"]),
        ("words", "a_1 (b)", ["a_1", "(", "b", ")"]),
        ("words", "no\u00a0break\u3000中国。", ["no", "break", "中国", "。"]),
        ("words", "<eos>", ["<", "eos", ">"]),
        ("words", "A\x00 b\x00C", ["a", "b", "c"]),
        ("symbols", "HH AH0", ["HH", "AH0"]),
        ("symbols", "  a  b ", ["a", "b"]),
        ("symbols", "a\tb\u00a0c\nd é", ["a\tb\u00a0c\nd", "é"]),
        ("symbols", "", []),
        ("symbols", " ", []),
    ],
)
def test_split_cuts_as_documented(unit, text, expected):
    assert pieces_of(text, unit) == expected


@pytest.mark.parametrize("text", BROKEN, ids=repr)
@each_unit
def test_split_replaces_broken_bytes(unit, text):
    pieces = pieces_of(text, unit)
    assert "\ufffd" in "".join(pieces)
    replaced = text.decode("utf-8", errors="replace")
    assert "".join(pieces).strip("\ufffd ") == replaced.strip("\ufffd ")


# Building.


def test_build_orders_by_count_then_code_point():
    vocabulary = Vocabulary.build(["b b z a", "z é a", "b"], unit="symbols")
    assert vocabulary.tokens == [*SPECIAL_TOKENS, "b", "a", "z", "é"]
    assert len(vocabulary) == 8


@each_unit
def test_build_ignores_the_order_of_texts(unit):
    backwards = Vocabulary.build(TEXTS[unit][::-1], unit=unit)
    assert backwards.tokens == vocabulary_of(unit).tokens


def test_build_streams_its_texts():
    waiting = 0

    def texts():
        nonlocal waiting
        for number in range(5003):
            waiting += 1
            yield f"s{number % 3}"

    def counted(batch):
        nonlocal waiting
        most.append(waiting)
        waiting = 0
        return original(batch)

    most = []
    original = units.as_text_tensor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "as_text_tensor", counted)
        counts = units.count_tokens(texts(), "symbols")
    assert counts == {"s0": 1668, "s1": 1668, "s2": 1667}
    assert max(most) == units.TEXTS_COUNTED_AT_ONCE


def test_build_reads_str_bytes_and_files(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"a b\nc\xff\n")
    with open(path, "rb") as lines:
        from_file = Vocabulary.build(line.rstrip(b"\n") for line in lines)
    mixed = Vocabulary.build(iter(["a b", b"c\xff"]))
    assert from_file.tokens == mixed.tokens
    assert mixed.tokens[4:] == [" ", "a", "b", "c", "\ufffd"]


def test_build_keeps_max_size_and_min_count():
    texts = ["a a a b b c"]
    largest = Vocabulary.build(texts, unit="symbols", max_size=6)
    assert largest.tokens[4:] == ["a", "b"]
    frequent = Vocabulary.build(texts, unit="symbols", min_count=3)
    assert frequent.tokens[4:] == ["a"]


def test_build_leaves_special_tokens_out():
    vocabulary = Vocabulary.build(["<eos> a <pad> <unk> <bos>"], unit="symbols")
    assert vocabulary.tokens == [*SPECIAL_TOKENS, "a"]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {}, "`texts` must hold at least one token.*Is the file empty"),
        (["", ""], {}, "`texts` must hold at least one token"),
        ([" "], {"unit": "words"}, "`texts` must hold at least one token"),
        (["<eos>"], {"unit": "symbols"}, "`texts` must hold at least one"),
        ("abc", {}, "`texts` must be an iterable.*Put it in a list"),
        (["a", None], {}, "`texts` must hold str or bytes.*None.*NoneType"),
        (["a"], {"unit": "letters"}, "`unit` must be one of .*'letters'"),
        (["aab"], {"min_count": 3}, "`min_count` must be at most 2.*=3"),
        (["a"], {"min_count": 0}, "`min_count` must be a positive integer"),
        (["a"], {"max_size": 4}, "`max_size` must be above 4.*max_size=4"),
        (["a"], {"max_size": 2.5}, "`max_size` must be a positive integer"),
    ],
    ids=str,
)
def test_build_names_bad_arguments(texts, options, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary.build(texts, **options)


@pytest.mark.parametrize(
    ("tokens", "unit", "message"),
    [
        (["a", "b"], "characters", "`tokens` must be <pad>, <bos>"),
        ([], "characters", "`tokens` must be <pad>, <bos>"),
        ([*SPECIAL_TOKENS], "characters", "and at least one more"),
        ([*SPECIAL_TOKENS[::-1], "a"], "characters", "`tokens` must be <pad>"),
        ([*SPECIAL_TOKENS, "a", "b", "a"], "words", "all different.*'a'"),
        ([*SPECIAL_TOKENS, "ab"], "characters", "token 'ab'. Is `unit` right"),
        ([*SPECIAL_TOKENS, "<eos>"], "characters", "token '<eos>'"),
        ([*SPECIAL_TOKENS, "<eos>"], "symbols", "different.*'<eos>'"),
        ([*SPECIAL_TOKENS, "Ab"], "words", "one of the words.*'Ab'"),
        ([*SPECIAL_TOKENS, "a b"], "symbols", "one of the symbols.*'a b'"),
        ([*SPECIAL_TOKENS, ""], "symbols", "one of the symbols.*''"),
        ([*SPECIAL_TOKENS, "\ud800"], "characters", "one of the characters"),
        ([*SPECIAL_TOKENS, 7], "symbols", "`tokens` must be a list of str"),
        ("abc", "symbols", "`tokens` must be a list of str"),
        (None, "symbols", "`tokens` must be a list of str"),
        ([*SPECIAL_TOKENS, "a"], "bytes", "`unit` must be one of"),
    ],
    ids=str,
)
def test_vocabulary_names_bad_tokens(tokens, unit, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens, unit=unit)


def test_tokens_is_a_copy():
    vocabulary = vocabulary_of("symbols")
    vocabulary.tokens.append("more")
    assert "more" not in vocabulary.tokens


# Encoding.


def test_encode_gives_padded_ids_with_eos():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "b", "c"])
    ids = vocabulary.encode(["cab", "", "b", "xa"])
    assert ids.dtype == tf.int32
    assert ids.numpy().tolist() == [
        [6, 4, 5, 2],
        [2, 0, 0, 0],
        [5, 2, 0, 0],
        [3, 4, 2, 0],
    ]


@each_unit
def test_encode_of_empty_texts_is_eos_alone(unit):
    assert vocabulary_of(unit).encode(["", ""]).numpy().tolist() == [[2], [2]]


@each_unit
def test_encode_ragged_is_encode_without_padding(unit):
    vocabulary = vocabulary_of(unit)
    texts = ["a b", "", "<eos> zz", "b"]
    ragged = vocabulary.encode_ragged(texts)
    expected = vocabulary.encode(texts).numpy()
    np.testing.assert_array_equal(ragged.to_tensor(), expected)
    assert ragged.row_lengths().numpy().tolist() == [
        *map(np.count_nonzero, expected)
    ]
    assert vocabulary.encode_ragged([]).shape[0] == 0


@pytest.mark.parametrize("max_length", [None, 5], ids=str)
@each_unit
def test_encode_of_an_empty_batch(unit, max_length):
    vocabulary = vocabulary_of(unit)
    for empty in ([], np.array([], object), tf.zeros([0], tf.string)):
        ids = vocabulary.encode(empty, max_length=max_length)
        assert ids.shape == (0, 1)
        assert vocabulary.decode(ids).shape == (0,)


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        lambda texts: [text.encode("utf-8") for text in texts],
        tf.constant,
    ],
    ids=["list", "tuple", "array", "objects", "bytes", "tensor"],
)
def test_encode_accepts_any_batch_of_strings(make):
    vocabulary = vocabulary_of("characters")
    expected = vocabulary.encode(tf.constant(NAMES))
    np.testing.assert_array_equal(vocabulary.encode(make(NAMES)), expected)


def test_encode_reads_spelt_special_tokens_as_unknown():
    vocabulary = vocabulary_of("symbols")
    ids = vocabulary.encode(["<eos> <pad> <bos> <unk>"])
    assert ids.numpy().tolist() == [[3, 3, 3, 3, 2]]


@pytest.mark.parametrize(
    ("max_length", "expected"),
    [
        (1, [[2], [2], [2]]),
        (2, [[4, 2], [4, 2], [2, 0]]),
        (3, [[4, 5, 2], [4, 2, 0], [2, 0, 0]]),
        (4, [[4, 5, 6, 2], [4, 2, 0, 0], [2, 0, 0, 0]]),
        (5, [[4, 5, 6, 2], [4, 2, 0, 0], [2, 0, 0, 0]]),
    ],
)
def test_encode_truncates_and_keeps_eos_last(max_length, expected):
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "b", "c"])
    encode = tf.function(lambda t: vocabulary.encode(t, max_length=max_length))
    assert encode(tf.constant(["abc", "a", ""])).numpy().tolist() == expected


def test_encode_warns_of_truncation_once_eager():
    vocabulary = vocabulary_of("symbols")
    with pytest.warns(UserWarning, match="2 of 3 texts have more than .* = 3"):
        ids = vocabulary.encode(PHONEMES, max_length=4)
    assert ids.shape == (3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert vocabulary.encode(PHONEMES, max_length=5).shape == (3, 5)


@each_unit
def test_encode_of_broken_bytes_is_unknown(unit):
    ids = vocabulary_of(unit).encode([*BROKEN, "\ud800", "\udcff"]).numpy()
    assert (ids == 3).any(axis=1).all()
    assert (ids == 2).sum(axis=1).tolist() == [1] * 7


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("abc", {}, "`texts` must be a batch of strings.*Put a single text"),
        (b"abc", {}, "`texts` must be a batch of strings"),
        (7, {}, "`texts` must be a batch of strings.*texts=7"),
        (["a", 7], {}, "`texts` must hold str or bytes only. Received: 7"),
        ([["a"]], {}, "`texts` must hold str or bytes only"),
        (tf.constant("a"), {}, r"`texts` must be a batch.*shape=\(\)"),
        (tf.constant([["a"]]), {}, r"`texts` must be a batch.*\(1, 1\)"),
        (tf.constant([1]), {}, "`texts` must be a batch.*dtype=int32"),
        (["a"], {"max_length": 0}, "`max_length` must be a positive integer"),
        (["a"], {"max_length": True}, "`max_length` must be a positive"),
    ],
    ids=str,
)
def test_encode_names_bad_arguments(texts, options, message):
    with pytest.raises(ValueError, match=message):
        vocabulary_of("characters").encode(texts, **options)


# Decoding.


def test_decode_stops_at_eos_and_drops_pad_and_bos():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "b"], unit="symbols")
    ids = [[1, 4, 5, 2, 4], [0, 4, 0, 1, 5], [2, 4, 4, 4, 4], [3, 4, 2, 2, 0]]
    texts = as_str(vocabulary.decode(ids))
    assert texts == ["a b", "a b", "", "<unk> a"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_decode_takes_any_integers(dtype):
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "b"])
    ids = np.array([5, 4, 99, 2], dtype)
    assert vocabulary.decode(ids).numpy().decode() == "ba<unk>"


@pytest.mark.parametrize("wrong", [-1, -(2**40), 6, 2**31 - 1, 2**32 + 4])
def test_decode_reads_ids_out_of_range_as_unknown(wrong):
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "b"])
    ids = tf.constant([[4, wrong, 5]], tf.int64)
    assert as_str(vocabulary.decode(ids)) == ["a<unk>b"]
    names = vocabulary.token_strings(ids).numpy().tolist()
    assert names == [[b"a", b"<unk>", b"b"]]


@each_unit
def test_decode_keeps_leading_axes(unit):
    vocabulary = vocabulary_of(unit)
    ids = vocabulary.encode(TEXTS[unit][:2])
    nested = tf.stack([ids, ids, ids])[:, :, tf.newaxis]  # (3, 2, 1, L)
    texts = vocabulary.decode(nested)
    assert texts.shape == (3, 2, 1)
    single = vocabulary.decode(ids[1])
    assert single.shape == ()
    assert texts[2, 1, 0].numpy() == single.numpy()


@each_unit
def test_decode_of_no_ids_is_empty_text(unit):
    vocabulary = vocabulary_of(unit)
    assert vocabulary.decode([]).numpy() == b""
    assert as_str(vocabulary.decode(np.zeros((3, 0), int))) == ["", "", ""]
    assert vocabulary.decode(np.zeros((0, 3), int)).shape == (0,)


def test_decode_of_words_puts_no_space_before_closing_punctuation():
    text = 'a, b. c! d? e; f: (g) "h"'
    vocabulary = Vocabulary.build([text], unit="words")
    decoded = as_str(vocabulary.decode(vocabulary.encode([text, "!?.", ". a"])))
    assert decoded == ['a, b. c! d? e; f: ( g ) " h "', "!?.", ". a"]


@pytest.mark.parametrize(
    "ids", [[[1.5]], np.array([4.0]), ["a"], [True]], ids=repr
)
def test_decode_refuses_what_is_not_integer(ids):
    vocabulary = vocabulary_of("symbols")
    for method in (vocabulary.decode, vocabulary.token_strings):
        with pytest.raises(ValueError, match="`ids` must be integers"):
            method(ids)


@each_unit
def test_decode_reads_what_encode_ragged_writes(unit):
    vocabulary = vocabulary_of(unit)
    texts = ["a b", "", "b"]
    ragged, dense = vocabulary.encode_ragged(texts), vocabulary.encode(texts)
    expected = as_str(vocabulary.decode(dense))
    assert as_str(vocabulary.decode(ragged)) == expected
    names = vocabulary.token_strings(dense).numpy().tolist()
    assert vocabulary.token_strings(ragged).numpy().tolist() == names
    decode = tf.function(vocabulary.decode)
    assert as_str(decode(ragged)) == expected


def test_decode_refuses_rows_of_different_lengths():
    with pytest.raises(ValueError, match="`ids` must be integers, all rows of"):
        vocabulary_of("symbols").decode([[4, 5, 2], [6, 2]])


def test_decode_refuses_a_scalar():
    with pytest.raises(ValueError, match=r"at least 1 axis.*shape=\(\)"):
        vocabulary_of("symbols").decode(4)


def test_token_strings_names_every_id():
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "a", "é"])
    names = vocabulary.token_strings([[1, 4, 5], [3, 2, 0]])
    assert names.shape == (2, 3)
    expected = [["<bos>", "a", "é"], ["<unk>", "<eos>", "<pad>"]]
    assert [as_str(row) for row in names] == expected
    assert vocabulary.token_strings(4).shape == ()


# Round trips.


def check_round_trip(texts, unit, expected=None):
    vocabulary = Vocabulary.build(texts, unit=unit)
    ids = vocabulary.encode(texts)
    decoded = vocabulary.decode(ids)
    assert as_str(decoded) == (texts if expected is None else expected)
    np.testing.assert_array_equal(vocabulary.encode(decoded), ids)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=17)
SYMBOL = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=" "),
    min_size=1,
    max_size=5,
).filter(lambda symbol: symbol not in SPECIAL_TOKENS)


@given(st.lists(TEXT, min_size=1, max_size=5).filter(any))
def test_round_trip_of_characters_is_exact(texts):
    check_round_trip(texts, "characters")


@given(st.lists(st.lists(SYMBOL, min_size=1, max_size=7), min_size=1))
def test_round_trip_of_symbols_is_exact(texts):
    check_round_trip([" ".join(symbols) for symbols in texts], "symbols")


@given(TEXT, st.text("aB1.,'-_ !é中\t", max_size=23))
def test_round_trip_of_words_is_settled_after_one(arbitrary, text):
    texts = [f"{arbitrary} a", f"{text} a"]
    vocabulary = Vocabulary.build(texts, unit="words")
    ids = vocabulary.encode(texts)
    settled = as_str(vocabulary.decode(ids))
    assert 3 not in ids.numpy()
    check_round_trip(settled, "words")
    np.testing.assert_array_equal(vocabulary.encode(settled), ids)


def test_round_trip_of_words_by_hand():
    expected = [
        "don't stop, step-by-step!",
        "it costs 3.14 or 1,000.",
        "a b?",
    ]
    check_round_trip(SENTENCES, "words", expected)


@given(st.lists(st.binary(max_size=13), max_size=5), st.sampled_from(UNITS))
def test_any_bytes_encode_and_decode_to_valid_text(texts, unit):
    vocabulary = vocabulary_of(unit)
    ids = vocabulary.encode(texts)
    assert ids.shape[0] == len(texts)
    assert ((ids.numpy() == 2).sum(axis=1) == 1).all()
    assert len(as_str(vocabulary.decode(ids))) == len(texts)


# In graphs and SavedModels.


@each_unit
def test_graph_equals_eager(unit):
    vocabulary = vocabulary_of(unit)
    speller = Speller(vocabulary)
    texts = tf.constant([*TEXTS[unit], "", "a unknown", *BROKEN])
    for batch in (texts, texts[:2], texts[:0]):
        outputs = speller(batch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ids = vocabulary.encode(batch, max_length=7)
        np.testing.assert_array_equal(outputs["ids"], ids)
        np.testing.assert_array_equal(outputs["text"], vocabulary.decode(ids))
        names = vocabulary.token_strings(ids)
        np.testing.assert_array_equal(outputs["tokens"], names)


def test_graph_keeps_the_static_batch_size():
    vocabulary = vocabulary_of("symbols")
    signature = tf.TensorSpec([5], tf.string)
    ids = tf.function(vocabulary.encode).get_concrete_function(signature)
    assert ids.output_shapes.as_list() == [5, None]


def test_encode_works_in_a_tf_data_pipeline():
    vocabulary = vocabulary_of("symbols")
    data = tf.data.Dataset.from_tensor_slices(PHONEMES).batch(2)
    first, second = data.map(vocabulary.encode)
    np.testing.assert_array_equal(first, vocabulary.encode(PHONEMES[:2]))
    np.testing.assert_array_equal(second, vocabulary.encode(PHONEMES[2:]))


@each_unit
def test_saved_model_spells_as_before(unit, tmp_path):
    speller = Speller(vocabulary_of(unit))
    tf.saved_model.save(speller, tmp_path / "saved")
    (tmp_path / "saved").rename(tmp_path / "moved")
    reloaded = tf.saved_model.load(tmp_path / "moved")
    texts = tf.constant([*TEXTS[unit], "", "a unknown", *BROKEN])
    for batch in (texts, texts[:1], texts[:0]):
        expected = speller(batch)
        for name, values in reloaded(batch).items():
            np.testing.assert_array_equal(values, expected[name])


def test_saved_model_needs_neither_keras_nor_this_package(tmp_path):
    speller = Speller(vocabulary_of("words"))
    tf.saved_model.save(
        speller, tmp_path / "saved", signatures=speller.__call__
    )
    code = (
        "import sys\n"
        "sys.modules['keras'] = sys.modules['keras_attention'] = None\n"
        "import tensorflow as tf\n"
        "model = tf.saved_model.load(sys.argv[1])\n"
        "run = model.signatures['serving_default']\n"
        "print(run(text=tf.constant(['STOP, it!']))['text'].numpy()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved")],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "b'stop, it!'", done.stderr


def test_saved_model_holds_no_file_of_tokens(tmp_path):
    tf.saved_model.save(Speller(vocabulary_of("symbols")), tmp_path / "saved")
    assert list((tmp_path / "saved" / "assets").iterdir()) == []
    proto = (tmp_path / "saved" / "saved_model.pb").read_bytes()
    assert b"OW" in proto


# Saving.


@each_unit
def test_dict_survives_json(unit):
    vocabulary = vocabulary_of(unit)
    data = json.loads(json.dumps(vocabulary.to_dict()))
    assert data == {"version": 1, "unit": unit, "tokens": vocabulary.tokens}
    again = Vocabulary.from_dict(data)
    assert (again.tokens, again.unit) == (vocabulary.tokens, unit)


@each_unit
def test_save_and_load(unit, tmp_path):
    path = tmp_path / "source.json"
    path.write_text("an older file")
    vocabulary = Vocabulary.build([*TEXTS[unit], '\u2028\r\n\\"'], unit=unit)
    vocabulary.save(path)
    again = Vocabulary.load(str(path))
    assert again.to_dict() == vocabulary.to_dict()
    assert [file.name for file in tmp_path.iterdir()] == ["source.json"]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "source.json"
    vocabulary_of("words").save(path)
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        vocabulary_of("symbols").save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["source.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not hold a vocabulary"),
        (b"\xff\xfe", "does not hold a vocabulary"),
        (b"[1, 2]", "must be a dict with 'version', 'unit' and 'tokens'"),
        (b'{"unit": "words"}', "must be a dict with 'version'"),
        (
            b'{"version": 2, "unit": "words", "tokens": []}',
            "`version` must be 1. Received: version=2.*newer",
        ),
        (
            b'{"version": 1, "unit": "words", "tokens": {"a": 1}}',
            "`tokens` must be a list of str",
        ),
        (
            b'{"version": 1, "unit": "words", "tokens": ["a"]}',
            "`tokens` must be <pad>",
        ),
        (
            b'{"version": 1, "unit": ["words"], "tokens": ["a"]}',
            "`unit` must be one of",
        ),
    ],
    ids=["empty", "bytes", "list", "missing", "version", "dict", "few", "unit"],
)
def test_load_names_the_broken_file(content, message, tmp_path):
    path = tmp_path / "source.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"source.json.*{message}"):
        Vocabulary.load(path)


def test_load_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="source.json"):
        Vocabulary.load(pathlib.Path(tmp_path) / "source.json")


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_work(duplicate):
    vocabulary = vocabulary_of("words")
    again = duplicate(vocabulary)
    assert again.to_dict() == vocabulary.to_dict()
    ids = vocabulary.encode(SENTENCES)
    np.testing.assert_array_equal(again.encode(SENTENCES), ids)


def test_repr_says_size_and_unit():
    assert repr(vocabulary_of("symbols")) == "<Vocabulary of 11 symbols>"
