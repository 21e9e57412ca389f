"""Spelling to phonemes: the settings, the rates, the run."""

import types

import numpy as np
import pytest
from g2p_pages import check_page

from keras_attention import Beam
from keras_attention import export
from keras_attention.examples import g2p
from keras_attention.examples import g2p_training
from keras_attention.examples import pronunciations
from keras_attention.models import read_card

pytestmark = pytest.mark.tensorflow_only


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
    rates = g2p_training.word_and_phoneme_error_rates(model, words)
    assert rates == pytest.approx((2 / 3, 2 / 7))


def settings(*arguments):
    """Returns the arguments of `train` for each kind of a command."""
    kept = []

    def run(options):
        kinds = options.kind or [g2p.PRESETS[options.preset]["kind"]]
        kept.extend(g2p_training.settings_of(kind, options) for kind in kinds)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(g2p, "run", run)
        assert g2p.main(list(arguments)) == 0
    return kept


@pytest.mark.parametrize("preset", g2p.PRESETS)
def test_options_replace_those_of_the_preset(preset):
    (plain,) = settings("--preset", preset)
    (changed,) = settings("--preset", preset, "--units", "7", "--resume")
    for name in ("dropout", "batch_size", "learning_rate"):
        assert plain[name] == changed[name] == g2p.PRESETS[preset][name]
    assert plain["units"] == g2p.PRESETS[preset]["units"]
    assert changed["units"] == 7
    assert (plain["resume"], plain["overwrite"]) == (False, True)
    assert (changed["resume"], changed["overwrite"]) == (True, False)


def test_table_has_a_mechanism_for_each_kind_and_equal_minutes():
    kinds = ["global", "local-m", "local-p", "monotonic", "transformer"]
    found = settings("--preset", "table", "--kind", *kinds, "--minutes", "3")
    assert [each["minutes"] for each in found] == [3] * 5
    assert [each["kind"] for each in found] == ["luong"] * 4 + ["transformer"]
    mechanisms = [type(each["attention"]).__name__ for each in found[:4]]
    assert mechanisms == [
        "DotProductAttention",
        "LocalAttention",
        "LocalAttention",
        "MonotonicAttention",
    ]
    assert not found[1]["attention"].predictive
    assert found[2]["attention"].predictive
    assert "embedding_dim" not in found[4]


def test_resuming_needs_a_folder(capsys):
    assert g2p.main(["--quick", "--resume"]) == 2
    assert "`--resume` needs the `--output`" in capsys.readouterr().err


def test_epochs_and_minutes_exclude_each_other(capsys):
    for given in (["--preset", "table"], ["--minutes", "3"]):
        assert g2p.main([*given, "--epochs", "7"]) == 2
        assert "`--epochs` must not be given where" in capsys.readouterr().err
    (quick,) = settings("--preset", "table", "--quick", "--epochs", "7")
    assert quick["epochs"] == 7 and "minutes" not in quick


@pytest.mark.parametrize(
    ("length", "told"),
    [
        pytest.param(
            *(["--epochs", "2"], "for 2 epochs (29 words a"),
            marks=pytest.mark.exhaustive,
        ),
        (["--minutes", "1e-3"], "for 0.001 minutes of processor time (29"),
    ],
    ids=["epochs", "minutes"],
)
def test_run_trains_measures_exports_and_describes(
    tmp_path, monkeypatch, capsys, length, told
):
    pronunciations.write_sample(tmp_path)
    words = pronunciations.load_classic(tmp_path)
    monkeypatch.setattr(pronunciations, "load_pronunciations", lambda: words)
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
    monkeypatch.setitem(g2p.PRESETS["demo"], "average", 1)
    output = tmp_path / "small"
    options = ["--units", "5", "--batch-size", "29", *length]
    assert g2p.main(["--output", str(output), *options]) == 0
    assert sorted(path.name for path in output.iterdir()) == [
        "CMUDICT-LICENSE",
        "README.md",
        "alignment.png",
        "model",
    ]
    assert exported == [((output / "1", Beam(width=4)), {"overwrite": True})]
    card = read_card(output / "model")
    test = pronunciations.read_dictionary(None).splits["test"]
    assert card["test"]["words"] == len(test)
    check_page(output)
    assert (output / "model" / card["training"]["history"]).is_file()
    page = (output / "README.md").read_text()
    assert "`xylophone` -> `XYLOPHONE`" in page
    assert told in page and "peak learning rate 0.004," in page
    printed = capsys.readouterr().out
    rate = card["test"]["beam 4"]["word_error_rate"]
    assert f"beam 4 WER {rate:.1%}" in printed
    assert "XYLOPHONE" in printed and "(score -0.25)" in printed


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("transformer", set()),
        ("bahdanau", {"embedding_dim"}),
        ("luong", {"embedding_dim", "input_feeding"}),
    ],
)
def test_a_kind_gets_of_its_preset_what_it_has_use_for(kind, has):
    options = types.SimpleNamespace(
        preset="best", quick=False, resume=False, seed=0, verbose=0
    )
    settings = g2p_training.settings_of(kind, options)
    assert {"embedding_dim", "input_feeding"} & set(settings) == has
