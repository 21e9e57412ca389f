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
        (b"a\tb\n\n", r"line 2: the number of columns is 1, not 2"),
        (b"a\tb\tc\n", r"line 1: the number of columns is 3, not 2"),
        (b"a\tb\n\tb\n", "line 2: the source is empty"),
        (b"a\t  \n", "line 1: the target is empty"),
        (b"a\tb\nab\t\xe9\n", "line 2: byte 4 is not UTF-8.*Save the file"),
        ("a\tb\n".encode("utf-16"), "line 1: byte 1 is not UTF-8"),
    ],
    ids=[
        "empty",
        "one-column",
        "blank-line",
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
