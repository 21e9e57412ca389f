"""train(): from pairs to a folder, and everything that may go wrong."""

import inspect

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.models import build_seq2seq
from keras_attention.models import read_card
from keras_attention.training import GenerationMetrics
from keras_attention.training import train

WORDS = [a + b + c for a in "abcd" for b in "abcd" for c in ("", "a", "d")]
PAIRS = [(word, " ".join(word.upper())) for word in WORDS]
SMALL = {
    "kind": "cnn-rnn",
    "cell": "gru",
    "units": 5,
    "dropout": 0.0,
    "target_unit": "symbols",
    "validation_pairs": PAIRS[::7],
    "batch_size": 13,
    "verbose": 0,
}


def test_train_saves_the_best_epoch_with_its_card(tmp_path, capsys):
    seen = []

    class Ruin(keras.callbacks.Callback):
        """Spoils the weights before the third epoch."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                for weight in self.model.trainable_weights:
                    weight.assign(weight * 100.0)

        def on_epoch_end(self, epoch, logs=None):
            weights = [weight.numpy() for weight in self.model.weights]
            seen.append((logs["val_loss"], weights))

    model, card = train(
        PAIRS,
        tmp_path / "model",
        **{**SMALL, "verbose": 2},
        epochs=4,
        monitor="loss",
        patience=1,
        callbacks=[Ruin()],
    )
    assert len(seen) == 3  # the patience ended it early
    losses = [loss for loss, _ in seen]
    assert losses[1] == min(losses) == card["metrics"]["val_loss"]
    assert card["metrics"]["epoch"] == 2
    loaded = ka.load(tmp_path / "model")
    for ours, theirs, best in zip(
        model.weights, loaded.weights, seen[1][1], strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), best)
        np.testing.assert_array_equal(theirs.numpy(), best)
    assert read_card(tmp_path / "model") == card
    assert card["kind"] == "cnn-rnn"
    assert card["options"] == {"cell": "gru", "units": 5, "dropout": 0.0}
    assert card["data"]["pairs"] == 48 and card["data"]["held_out"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    printed = capsys.readouterr().out
    assert "48 to train on, 7 held out, 0 too long" in printed
    assert f"{model.count_params():,} weights" in printed


def test_measured_rates_are_those_of_the_saved_model(tmp_path):
    model, card = train(
        PAIRS, tmp_path / "model", **SMALL, epochs=2, learning_rate=0.03
    )
    again = GenerationMetrics(SMALL["validation_pairs"])
    again.set_model(ka.load(tmp_path / "model"))
    measured = again.measure()
    metrics = card["metrics"]
    assert measured == (metrics["val_exact_match"], metrics["val_error_rate"])


def test_fine_tuning_goes_on_from_the_weights_of_a_folder(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    before, _ = train(PAIRS, first, **SMALL, epochs=1)
    tuned, card = train(
        [("abx", "A B"), ("da", "D A Y")],
        second,
        validation_pairs=PAIRS[:2],
        initial_folder=first,
        epochs=1,
        learning_rate=1e-12,
        verbose=0,
    )
    assert tuned.source_vocabulary.tokens == before.source_vocabulary.tokens
    for ours, theirs in zip(tuned.weights, before.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert card["kind"] == "cnn-rnn" and card["options"]["units"] == 5
    assert card["initial"]["data"]["pairs"] == 48


def test_a_share_is_held_out_when_no_validation_is_given(tmp_path):
    pairs = [(word * n, target) for word, target in PAIRS for n in (1, 2, 3)]
    without = {k: v for k, v in SMALL.items() if k != "validation_pairs"}
    _, card = train(
        pairs, tmp_path / "model", **without, epochs=1, max_minutes=1e-9
    )
    data = card["data"]
    assert data["pairs"] + data["held_out"] == len(pairs)
    assert 0 < data["held_out"] < 0.2 * len(pairs)


def test_long_pairs_are_left_out_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="32 pairs are longer than max_so"):
        _, card = train(
            PAIRS,
            tmp_path / "model",
            **SMALL,
            epochs=1,
            max_minutes=1e-9,
            max_source_length=3,
        )
    assert card["data"]["too_long"] == 32


def test_every_option_of_the_model_reaches_it():
    parameters = inspect.signature(build_seq2seq).parameters
    own = inspect.signature(train).parameters
    clashes = set(parameters) & set(own)
    assert clashes == {"kind", "seed"}


def test_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("precious")
    missing = tmp_path / "missing.tsv"
    with pytest.raises(ValueError, match="a path where nothing is yet"):
        train(missing, tmp_path / "model")
    with pytest.raises(ValueError, match=r"with model\.keras"):
        train(missing, tmp_path / "model", overwrite=True)
    assert [p.name for p in tmp_path.rglob("*")] == ["model", "mine.txt"]


def test_unfinished_training_is_neither_lost_nor_mixed_up(tmp_path):
    class Crash(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("crash")

    folder = tmp_path / "model"
    with pytest.raises(RuntimeError, match="crash"):
        train(PAIRS, folder, **SMALL, callbacks=[Crash()])
    assert not folder.exists()
    with pytest.raises(ValueError, match="unfinished training.*resume=True"):
        train(PAIRS, folder, **SMALL)
    with pytest.raises(ValueError, match="`pairs` must be what it was"):
        train(PAIRS[:-1], folder, **SMALL, resume=True, callbacks=[Crash()])
    again = {**SMALL, "overwrite": True, "max_minutes": 1e-9}
    train(PAIRS[:-1], folder, **again)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    # What is finished is returned as it is.
    finished = train(PAIRS, folder, **SMALL, resume=True)
    assert finished.card["data"]["pairs"] == len(PAIRS) - 1


def test_a_foreign_folder_beside_is_never_removed(tmp_path):
    beside = tmp_path / "model-training"
    beside.mkdir()
    (beside / "mine.txt").write_text("precious")
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(ValueError, match="FOLDER-training is free"):
            train(PAIRS, tmp_path / "model", **options)
    assert (beside / "mine.txt").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a\tb\nc\n", r"line 2: the number of columns is 1"),
        (b"a\tb\nc\t\xff\n", "line 2: byte 3 is not UTF-8"),
        (b"a\tb\n", "enough to hold some out.*Received: 1 pairs"),
    ],
    ids=["empty", "one-column", "encoding", "too-few"],
)
def test_broken_pairs_leave_nothing_behind(tmp_path, content, message):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        train(path, tmp_path / "model")
    with pytest.raises(ValueError, match=message[:12] if content else "empty"):
        train(path, tmp_path / "model", overwrite=True)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "`epochs` must be a positive integer"),
        ({"patience": 0}, "`patience` must be a positive integer or None"),
        ({"monitor": "bleu"}, "`monitor` must be one of 'error_rate'"),
        ({"jit_compile": "yes"}, "`jit_compile` must be 'auto', True"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"learning_rate": 0}, "`learning_rate` must be a number above 0"),
        ({"max_minutes": -1}, "`max_minutes` must be a number above 0"),
        ({"label_smoothing": 1}, r"`label_smoothing` must be in \[0, 1\)"),
        ({"decay": "root"}, "`decay` must be one of"),
        ({"source_unit": "letters"}, "`unit` must be one of"),
        ({"kind": "seq2seq"}, "`kind` must be one of"),
        ({"kind": "luong", "num_heads": 2}, "`num_heads` must not be set"),
        (
            {"initial_folder": "some", "units": 7},
            "`units` must not be given with `initial_folder`",
        ),
        (
            {"initial_folder": "some", "kind": "luong"},
            "`kind` must not be given with `initial_folder`",
        ),
        ({"initial_folder": "some"}, r"`folder` must be a folder that holds"),
    ],
)
def test_train_checks_its_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(
            PAIRS,
            tmp_path / "model",
            **{"validation_pairs": PAIRS[:2], **options},
        )
    assert list(tmp_path.iterdir()) == []


def test_misspelt_option_is_an_error(tmp_path):
    with pytest.raises(TypeError, match=r"unexpected arguments \['unit'\]"):
        train(PAIRS, tmp_path / "model", unit=7)
