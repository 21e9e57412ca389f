"""The model in git: it answers without Keras, and its card is true to it."""

import pathlib
import re

import pytest
from g2p_pages import check_page

from keras_attention import export
from keras_attention.examples import g2p
from keras_attention.examples.g2p_card import write_page
from keras_attention.export import guide
from keras_attention.models import read_card

pytestmark = pytest.mark.tensorflow_only

COMMITTED = pathlib.Path(__file__).parents[2] / "saved_models" / "g2p"


def test_committed_model_speaks_without_keras():
    spoken = export.check_saved_model(
        COMMITTED / "1", ["attention", "cat", "serving", "nation"]
    )
    assert spoken["text"] == [
        "AH T EH N SH AH N",
        "K AE T",
        "S ER V IH NG",
        "N EY SH AH N",
    ]


def test_committed_model_is_small_good_and_described():
    check_page(COMMITTED)
    card = read_card(COMMITTED / "model")
    assert card["options"]["units"] == g2p.PRESETS["best"]["units"]
    assert card["test"]["beam 4"]["word_error_rate"] < 0.339  # Phonetisaurus
    paths = [path for path in COMMITTED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in paths) < 11 * 2**20
    size = (COMMITTED / "model" / "model.keras").stat().st_size
    assert size < 4.4 * card["weights"]  # no state of an optimizer


def test_pages_in_git_are_those_of_the_code(tmp_path, monkeypatch):
    page = (COMMITTED / "README.md").read_text(encoding="utf-8")
    sample = re.search("`xylophone` -> `(.*)`", page)[1]
    output = pathlib.Path("saved_models/g2p")
    monkeypatch.chdir(tmp_path)
    output.mkdir(parents=True)
    write_page(output, read_card(COMMITTED / "model"), sample)
    assert (output / "README.md").read_text(encoding="utf-8") == page
    # What a model does not decide is in its guide word for word.
    fixed = [
        line for line in guide.GUIDE.template.split("\n") if "$" not in line
    ]
    text = (COMMITTED / "1" / "README.md").read_text(encoding="utf-8")
    assert [line for line in fixed if line not in text.split("\n")] == []
