"""Multi30k: lines in the original format, tokens, and the way back."""

import pytest

from keras_attention.examples import multi30k
from keras_attention.examples import translation


def test_lines_of_both_languages_are_pairs(tmp_path):
    multi30k.write_sample(tmp_path)
    pairs = multi30k.read_split(tmp_path, "val")
    assert pairs == list(multi30k.SAMPLE)
    assert translation.lowered(pairs)[0] == (
        "a man in a red shirt is running .",
        "ein mann im roten hemd läuft .",
    )
    (tmp_path / "val.de.gz").unlink()
    with pytest.raises(ValueError, match=r"holds the file 'val\.de\.gz'"):
        multi30k.read_split(tmp_path, "val")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (
            "Two men's hats, 1,000.5 m away.",
            "two men's hats , 1,000.5 m away .",
        ),
        ("Ein T-Shirt - „weiß“!", "ein t-shirt - „ weiß “ !"),
    ],
    ids=["english", "german"],
)
def test_tokens_are_words_numbers_and_other_characters(text, tokens):
    assert multi30k.tokenized(text) == tokens
    assert multi30k.tokenized(tokens) == tokens


def test_words_get_their_usual_case_back():
    case = multi30k.usual_case(
        ["Junge Frau rennt.", "Der Junge, die Frau und der Junge", "Ein junge"]
    )
    assert case["junge"] == "Junge" and case["und"] == "und"
    assert multi30k.written("junge , und frau !", case) == "Junge, und Frau!"
