"""SCAN: a model that learns some of it, and the rows of several."""

import types
from collections import Counter

import pytest

from keras_attention.examples import scan


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_tiny_model_learns_short_commands(tmp_path):
    pairs = [
        (command, target)
        for command, target in scan.all_pairs()
        if len(target.split()) <= 3 and "after" not in command
    ]
    _, rate = scan.train_and_measure(
        pairs,
        pairs,
        tmp_path / "model",
        kind="luong",
        cell="gru",
        units=32,
        epochs=8,
        batch_size=16,
        learning_rate=1e-2,
        dropout=0.0,
        jit_compile=False,
        verbose=0,
        seed=3,
    )
    targets = Counter(target for _, target in pairs)
    by_one_answer = targets.most_common(1)[0][1] / len(pairs)
    assert by_one_answer < 0.05
    assert rate > 0.5


@pytest.mark.tensorflow_only
def test_a_row_holds_the_mean_and_each_seed(monkeypatch, capsys):
    calls = []

    def measured(train, test, folder, **options):
        calls.append((len(train), len(test), options))
        model = types.SimpleNamespace(count_params=lambda: 1234)
        return model, {3: 0.5, 4: 0.25}[options["seed"]]

    monkeypatch.setattr(scan, "train_and_measure", measured)
    words = ["--split", "simple", "length", "--model", "rnn-bahdanau"]
    assert scan.main([*words, "--seed", "3", "--seeds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert "| SCAN simple, rnn-bahdanau | 16,728 commands, 6 epochs" in rows[0]
    assert "| 37.5% exact match (50.0, 25.0) | 99.8 (LSTM 2x200) |" in rows[0]
    assert "| 20.8 (GRU with attention 1x50) |" in rows[1]
    sizes = [call[:2] for call in calls]
    assert sizes == [(16_728, 4_182)] * 2 + [(16_990, 3_920)] * 2
    assert {call[2]["kind"] for call in calls} == {"rnn-bahdanau"}


@pytest.mark.tensorflow_only
def test_options_reach_the_training(monkeypatch):
    calls = []

    def measured(train, test, folder, **options):
        calls.append(options)
        return types.SimpleNamespace(count_params=lambda: 1), 0.5

    monkeypatch.setattr(scan, "train_and_measure", measured)
    assert scan.main(["--epochs", "3", "--units", "7", "--cell", "simple"]) == 0
    assert scan.main(["--model", "transformer", "--clip-norm", "2"]) == 0
    assert scan.main(["--split", "length", "--units", "7"]) == 0
    first, second, third = calls
    assert (third["units"], third["dropout"], third["cell"]) == (7, 0.5, "gru")
    assert (first["epochs"], first["units"]) == (3, 7)
    assert first["cell"] == "simple" and "cell" not in second
    assert second["clip_norm"] == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "gru"], "--model: must be one of transformer,"),
        (["--split", "lenght"], "Did you mean length?"),
        (["--dropout", "-2"], "must be a number at least 0"),
        (["--epoch", "2"], "no option '--epoch'. Did you mean --epochs?"),
    ],
)
def test_command_line_refuses_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        scan.main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("scan: error: ")
    assert message in error
    assert error.count("\n") == 1
