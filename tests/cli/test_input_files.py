"""The files that a command reads."""

import codecs
import gzip

import pytest

from keras_attention.cli.input_files import bytes_of


def test_all_of_a_text_is_without_its_mark_and_unpacked(tmp_path):
    text = codecs.BOM_UTF8 + b"ab\n" + codecs.BOM_UTF8
    plain, packed = tmp_path / "texts", tmp_path / "texts.GZ"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    for path in (plain, packed):
        assert bytes_of(str(path)) == b"ab\n" + codecs.BOM_UTF8


@pytest.mark.parametrize("kept", [0, 12, -9])
def test_what_is_no_archive_is_named(kept, tmp_path):
    path = tmp_path / "texts.gz"
    path.write_bytes(gzip.compress(b"ab")[:kept] or b"plain")
    with pytest.raises(ValueError, match="texts.gz': the gzip archive is bro"):
        bytes_of(str(path))
