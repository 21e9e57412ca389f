"""English to Chinese: the part held out, and the page of the model."""

import pathlib
import types

import pytest

import keras_attention as ka
from keras_attention.examples import tatoeba
from keras_attention.examples import tatoeba_card

pytestmark = pytest.mark.tensorflow_only

COMMITTED = pathlib.Path(__file__).parents[2] / "saved_models" / "en_zh"


def test_the_model_in_git_says_what_its_page_says():
    model = ka.models.load(COMMITTED / "model")
    search = ka.Beam(tatoeba.RECIPE["beam"])
    texts = list(tatoeba_card.TEXTS)
    found = model.generate(texts, search).texts[:, 0]
    page = (COMMITTED / "README.md").read_text(encoding="utf-8")
    for text, translation in zip(texts, found, strict=True):
        assert f"- `{text}` -> {translation}\n" in page
    size = sum(p.stat().st_size for p in COMMITTED.glob("model/*"))
    assert size < 10e6


def test_a_twentieth_of_the_english_sentences_is_held_out():
    held_out = [tatoeba.is_held_out(f"Sentence {n}.") for n in range(2000)]
    assert 70 < sum(held_out) < 130
    sides = [
        tatoeba.is_held_out(line.split("\t")[0]) for line in tatoeba.SAMPLE
    ]
    assert set(sides) == {False, True}


def test_the_page_says_what_the_model_says_and_whose_sentences(
    tmp_path, monkeypatch
):
    from keras_attention import export
    from keras_attention import plots

    exported = []
    monkeypatch.setattr(plots, "save_figure", lambda *_: None)
    monkeypatch.setattr(
        export, "export_saved_model", lambda *_, **o: exported.append(o)
    )
    monkeypatch.setattr(
        export, "check_saved_model", lambda _, texts: {"text": list(texts)}
    )
    model = types.SimpleNamespace(
        plot_alignment=lambda *_: None, count_params=lambda: 1234567
    )
    tatoeba_card.export_and_describe(model, tmp_path, None, "7.5 BLEU", 999)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    for part in ("7.5 BLEU, on 999", "1,234,567 weights", "CC BY 2.0 FR"):
        assert part in page
    assert "- `I am a dog` -> I am a dog" in page
    assert exported[0]["weights"] == "float16"
