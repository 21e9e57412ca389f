"""Reading pairs: what is accepted, and every way a file can be broken."""

import gzip

import pytest

from keras_attention.training import Pairs
from keras_attention.training import read_pairs
from keras_attention.training.pairs import share_of

TEXT = "hello\tHH AH\nköln\tK OE\n"
PAIRS = [("hello", "HH AH"), ("köln", "K OE")]


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode().rstrip(b"\n"),
        TEXT.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
    ],
    ids=["plain", "no-last-line-end", "windows", "byte-order-mark"],
)
def test_read_pairs_of_one_file(tmp_path, content):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    assert list(read_pairs(path)) == PAIRS
    assert list(read_pairs(str(path))) == PAIRS


def test_read_pairs_of_several_files_and_gzip(tmp_path):
    plain, packed = tmp_path / "a.tsv", tmp_path / "b.tsv.gz"
    plain.write_text("a b\tc\n", encoding="utf-8")
    packed.write_bytes(gzip.compress(TEXT.encode()))
    assert list(read_pairs([packed, str(plain)])) == [*PAIRS, ("a b", "c")]


def test_read_pairs_does_not_read_ahead(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\nbroken\n", encoding="utf-8")
    assert next(read_pairs(path)) == ("a", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a\tb\nonly\n", r"pairs\.tsv, line 2: the number of columns is 1"),
        (b"\n \t\n", "the file is empty"),
        (b"a b\n", "columns is 1, not 2. Separate .* by one tab"),
        (b"a,b\n", "columns is 1, not 2. .* commas, let the name"),
        (b"a\tb\tc\n", r"columns is 3, not 2. Choose .* \(--columns 1,2\)"),
        (b"a\tb\n\tb\n", "line 2: the source is empty"),
        (b"a\t  \n", "line 1: the target is empty"),
        (b"a\tb\nab\t\xe9\n", "line 2: byte 4 is not UTF-8.*Save the file"),
        ("a\tb\n".encode("utf-16"), "line 1: byte 1 is not UTF-8"),
    ],
    ids=[
        "empty",
        "one-column",
        "blank",
        "spaces",
        "commas",
        "three-columns",
        "no-source",
        "no-target",
        "latin-1",
        "utf-16",
    ],
)
def test_read_pairs_names_file_and_line_of_a_fault(tmp_path, content, message):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_pairs(path))


FORMATS = {
    "a.txt": "hello\tHH AH\n\nköln\tK OE\n",
    "a.csv": 'hello,HH AH\r\n,\r\n"köln","K OE"\r\n',
    "a.jsonl": '{"source": "hello", "target": "HH AH"}\n\n'
    '["k\\u00f6ln", "K OE"]\n',
    "a.ndjson": '{"n": 7, "target": "HH AH", "source": "hello"}\n'
    '{"source": "köln", "target": "K OE"}',
}


@pytest.mark.parametrize("name", FORMATS)
def test_read_pairs_of_each_format_with_blank_lines(tmp_path, name):
    plain, packed = tmp_path / name, tmp_path / f"{name}.gz"
    plain.write_bytes(FORMATS[name].encode())
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert list(read_pairs(plain)) == PAIRS
    assert list(read_pairs(packed)) == PAIRS


def test_csv_has_quotes_commas_and_line_ends_in_a_text(tmp_path):
    path = tmp_path / "pairs.CSV"
    path.write_bytes(b'"a, ""b""","c\nd"\ne,f\n')
    assert list(read_pairs(path)) == [('a, "b"', "c\nd"), ("e", "f")]


KEYS_A_B = '{"b": "HH AH", "a": "hello"}\n{"a": "köln", "b": "K OE"}'


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.tsv", "7\thello\tx\tHH AH\n8\tköln\ty\tK OE\n", (1, 3)),
        ("b.tsv", "HH AH\thello\nK OE\tköln\n", (1, 0)),
        ("c.tsv", "n\tfr\ten\n\tHH AH\thello\n\tK OE\tköln\n", ("en", "fr")),
        ("d.csv", "en,fr\nhello,HH AH\nköln,K OE\n", ["en", "fr"]),
        (
            "e.jsonl",
            '{"b": "HH AH", "a": "hello"}\n{"a": "köln", "b": "K OE"}',
            ("a", "b"),
        ),
        ("f.jsonl", '[1, "HH AH", "hello"]\n[2, "K OE", "köln"]', (2, 1)),
    ],
    ids=["numbers", "swapped", "names", "csv-names", "keys", "places"],
)
def test_columns_choose_source_and_target(tmp_path, name, content, columns):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert list(Pairs(path, columns=columns)) == PAIRS
    rest, held_out = Pairs(path, columns=columns).split(0.5)
    assert sorted([*rest, *held_out]) == PAIRS


@pytest.mark.parametrize(
    ("name", "header", "columns"),
    [
        ("a.tsv", "source\ttarget", None),
        ("b.csv", "id, Input ,OUTPUT", (1, 2)),
        ("c.tsv", "trg\tsrc", (1, 0)),
    ],
)
def test_a_header_is_left_out_with_a_warning(tmp_path, name, header, columns):
    path = tmp_path / name
    row = {"a.tsv": "a\tb", "b.csv": "7,a,b", "c.tsv": "b\ta"}[name]
    path.write_text(f"{header}\n{row}\n{header}\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="line 1: .* names the columns"):
        pairs = list(read_pairs(path, columns))
    assert pairs[0] == ("a", "b")
    assert len(pairs) == 2  # the same words further down are a pair


ENGLISH_GERMAN = '{"en": "a", "de": "b"}'


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("a.tsv", "a\tb\n", (0, 2), "line 1: there is no column 3, but 1, 2"),
        ("a.tsv", "en\tfr\n", ("en", "de"), "no column 'de', but 'en', 'fr'"),
        ("a.jsonl", ENGLISH_GERMAN, None, "column 'source', but 'en', 'de'"),
        ("a.jsonl", ENGLISH_GERMAN, (0, 1), "no column 1, but 'en', 'de'"),
        ("a.jsonl", '["a", "b"]', ("a", "b"), "there is no column 'a', but 1"),
        ("a.jsonl", '["a", "b", "c"]', None, "the number of columns is 3"),
        ("a.jsonl", '["a", 7]', None, "line 1: 7 is not a text"),
        ("a.jsonl", '\n{"source": ', None, "line 2: the line is not JSON"),
        ("a.jsonl", "[" * 99_999, None, "line 1: the line is not JSON"),
        ("a.jsonl", "7", None, "line 1: the line is no JSON object"),
        ("a.csv", 'a,b\n"c,d\ne,f\n', None, "line 2: the CSV is .*quote"),
        ("a.csv", "a;b\n", None, "columns is 1, not 2"),
    ],
    ids=[
        *("missing-number", "missing-name", "missing-key", "number-of-object"),
        *("key-of-array", "three", "no-text", "cut-json", "nested-json"),
        *("no-object", "open-quote", "semicolons"),
    ],
)
def test_wrong_columns_and_formats_get_advice(
    tmp_path, name, content, columns, message
):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        list(read_pairs(path, columns))


@pytest.mark.parametrize(
    "columns", [7, "ab", (0,), (0, -1), ("a", 1), (True, 0), (0, 1, 2)]
)
def test_columns_are_two_numbers_or_two_names(columns):
    with pytest.raises(ValueError, match="`columns` must be two numbers"):
        read_pairs("pairs.tsv", columns)


def test_columns_have_no_use_for_a_list():
    with pytest.raises(ValueError, match="`columns` must be None for a list"):
        read_pairs([("a", "b")], (0, 1))


@pytest.mark.parametrize(
    "damage",
    [lambda packed: packed[:-9], lambda packed: b"a\tb\n"],
    ids=["cut-short", "not-gzip"],
)
def test_read_pairs_of_a_broken_archive(tmp_path, damage):
    path = tmp_path / "pairs.tsv.gz"
    path.write_bytes(damage(gzip.compress(TEXT.encode())))
    with pytest.raises(ValueError, match=r"tsv\.gz, line .* archive is broken"):
        list(read_pairs(path))


def test_read_pairs_of_a_missing_file_fails_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"files that exist.*none\.tsv"):
        read_pairs([tmp_path / "none.tsv"])
    with pytest.raises(ValueError, match="files that exist"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "a path, a list of paths"),
        (7, "a path, a list of paths"),
        ([("a", "b"), ("a",)], "pair 2 of the list: .* is not a pair"),
        ([("a", 7)], "pair 1 of the list: .* is not a pair of two str"),
        ([("a", "b"), ("", "b")], "pair 2 of the list: the source is empty"),
    ],
    ids=["empty", "number", "one-side", "not-text", "empty-side"],
)
def test_read_pairs_checks_lists(pairs, message):
    with pytest.raises(ValueError, match=message):
        list(read_pairs(pairs))


def test_split_keeps_each_source_on_one_side():
    data = [(f"s{n % 101}", f"t{n}") for n in range(303)]
    rest, held_out = (list(part) for part in Pairs(data).split(0.3))
    assert sorted(rest + held_out) == sorted(data)
    assert {s for s, _ in rest} & {s for s, _ in held_out} == set()
    assert 0.15 < len(held_out) / len(data) < 0.45
    assert list(Pairs(data).split(0.3)[1]) == held_out


def test_share_of_is_spread_evenly():
    shares = sorted(share_of(str(n)) for n in range(1009))
    worst = max(abs(s - n / 1009) for n, s in enumerate(shares))
    assert worst < 0.05  # Kolmogorov-Smirnov, 1% level: 1.63 / sqrt(1009)
