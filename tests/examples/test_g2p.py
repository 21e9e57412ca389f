"""Spelling to phonemes: the split, the rates, the run."""

import types

import numpy as np
import pytest
from g2p_pages import check_page

from keras_attention import Beam
from keras_attention import export
from keras_attention.examples import g2p
from keras_attention.models import read_card

pytestmark = pytest.mark.tensorflow_only


@pytest.fixture(scope="module")
def pronunciations():
    return g2p.load_pronunciations()


def test_pronunciations_are_without_stress_and_not_repeated(pronunciations):
    assert pronunciations["lead"] == ["L EH D", "L IY D"]
    # Its two entries differ in stress alone.
    assert len(pronunciations["import"]) == 1
    phonemes = {
        phoneme
        for spoken in pronunciations.values()
        for one in spoken
        for phoneme in one.split()
    }
    assert len(phonemes) == 39
    assert all(phoneme.isalpha() for phoneme in phonemes)


def test_split_is_the_hash_of_the_word_alone(pronunciations):
    # Their SHA-256 begin with 676cb750, 77af778b and e3456bc1.
    numbers = [n % 1000 for n in (0x676CB750, 0x77AF778B, 0xE3456BC1)]
    assert numbers == [64, 107, 601]
    found = [g2p.split_of(word) for word in ("zebra", "cat", "lead")]
    assert found == ["test", "dev", "train"]
    splits = g2p.split_pronunciations(pronunciations)
    assert sum(map(len, splits.values())) == len(pronunciations)
    for name, share in (("test", 0.096), ("dev", 0.022), ("train", 0.882)):
        assert abs(len(splits[name]) / len(pronunciations) - share) < 2e-3
        assert {g2p.split_of(word) for word in splits[name]} == {name}


def test_rates_are_against_the_closest_pronunciation():
    said = {"lead": "L IY D", "cat": "K AE D", "a": ""}
    model = types.SimpleNamespace(
        generate=lambda words: types.SimpleNamespace(
            texts=np.array([[said[word], "N O"] for word in words], object)
        )
    )
    words = {
        "lead": ["L EH D", "L IY D"],
        "cat": ["K AE T", "K AA T S"],
        "a": ["AH"],
    }
    rates = g2p.word_and_phoneme_error_rates(model, words)
    assert rates == pytest.approx((2 / 3, 2 / 7))


@pytest.mark.parametrize("preset", g2p.PRESETS)
def test_options_replace_those_of_the_preset(preset, monkeypatch):
    calls = []
    monkeypatch.setattr(g2p, "run", lambda **options: calls.append(options))
    assert g2p.main(["--preset", preset]) == 0
    assert g2p.main(["--preset", preset, "--units", "7", "--resume"]) == 0
    preset = {"output": "saved_models/demo", **g2p.PRESETS[preset]}
    assert calls == [preset, {**preset, "units": 7, "resume": True}]


def test_run_trains_measures_exports_and_describes(
    pronunciations, tmp_path, monkeypatch, capsys
):
    few = {word: pronunciations[word] for word in list(pronunciations)[::1999]}
    assert {g2p.split_of(word) for word in few} == {"train", "dev", "test"}
    monkeypatch.setattr(g2p, "load_pronunciations", lambda: few)
    exported = []
    # The SavedModel itself is proven where exports are tested.
    monkeypatch.setattr(
        export,
        "export_saved_model",
        lambda model, *places, **options: exported.append((places, options)),
    )
    monkeypatch.setattr(
        export,
        "check_saved_model",
        lambda folder, words: {
            "text": [word.upper() for word in words],
            "score": [-0.25 for word in words],
        },
    )
    output = tmp_path / "small"
    options = ["--units", "5", "--epochs", "1", "--batch-size", "13"]
    assert g2p.main(["--output", str(output), *options]) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "CMUDICT-LICENSE",
        "README.md",
        "alignment.png",
        "model",
    ]
    assert exported == [((output / "1", Beam(width=4)), {"overwrite": True})]
    card = read_card(output / "model")
    assert card["test"]["words"] == len(g2p.split_pronunciations(few)["test"])
    check_page(output)
    assert "`xylophone` -> `XYLOPHONE`" in (output / "README.md").read_text()
    printed = capsys.readouterr().out
    rate = card["test"]["beam 4"]["word_error_rate"]
    assert f"beam 4  word error rate {rate:.1%}" in printed
    assert "XYLOPHONE" in printed and "(score -0.25)" in printed
