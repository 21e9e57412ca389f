"""How the guide of a file cuts and joins texts, in plain Python."""

import pytest

from keras_attention.export.guide import sample_text
from keras_attention.export.runtime_texts import CUTS
from keras_attention.export.runtime_texts import JOINS
from keras_attention.text import Vocabulary
from keras_attention.text import units

TEXTS = [
    "Don’t step-by-step, 1,000.5 km!  (Ärger\u00a0ÇA) \t x_y",
    " lead,  trail ",
    "ΣΑΣ e\u0301 \U0001f600a 'quoted'",
    "line\nbreak\x1b .",
]


@pytest.mark.parametrize("unit", units.UNITS)
def test_python_cuts_and_joins_as_the_vocabulary(unit):
    functions = {}
    exec(f"def cut(text):\n{CUTS[unit]}", functions)
    exec(f"def join(tokens):\n{JOINS[unit]}", functions)
    vocabulary = Vocabulary.build(TEXTS, unit=unit)
    pieces = units.split(units.as_text_tensor(TEXTS), unit).to_list()
    joined = vocabulary.decode(vocabulary.encode(TEXTS)).numpy()
    for text, piece, again in zip(TEXTS, pieces, joined, strict=True):
        tokens = functions["cut"](text)
        assert [token.encode() for token in tokens] == piece
        assert functions["join"](tokens).encode() == again


def test_the_sample_of_a_guide_is_plain_words():
    words = Vocabulary.build(["the i , to you ! a"], unit="words")
    sample = sample_text(words)
    assert sample and sample == " ".join(sample.split())
    assert set(sample.split()) <= {"the", "i", "to", "you", "a"}
