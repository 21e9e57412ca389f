"""Measuring what is generated, keeping the best, stopping in time."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.training import GenerationMetrics
from keras_attention.training import HistoryFile
from keras_attention.training import KeepBest
from keras_attention.training import StopWhenNonFinite
from keras_attention.training import TimeBudget
from keras_attention.training.history import finite_or_none

PAIRS = [("ab", "A B"), ("ab", "B A"), ("c", "C"), ("cab", "C A B")]


class Answers:
    """Stands for a model: answers from a table."""

    target_vocabulary = ka.Vocabulary.build(["A B C"], unit="symbols")

    def __init__(self, answers):
        self.answers = answers
        self.asked = []

    def generate(self, source, **options):
        self.asked.append(list(source))
        texts = np.array([[self.answers[text]] for text in source], object)
        return ka.models.GeneratedTexts(texts, None, None, None)


def metrics_of(answers, epochs=5, **options):
    callback = GenerationMetrics(PAIRS, **options)
    callback.set_model(Answers(answers))
    callback.set_params({"epochs": epochs})
    return callback


def test_generation_metrics_enter_the_logs():
    callback = metrics_of({"ab": "B A", "c": "A B", "cab": "C A B"})
    logs = {"loss": 1.0}
    callback.on_epoch_end(0, logs)
    # "c" is wrong: 2 errors in 2 + 1 + 3 symbols.
    assert logs == {
        "loss": 1.0,
        "val_exact_match": 2 / 3,
        "val_error_rate": 2 / 6,
    }


def test_generation_metrics_in_the_first_every_other_and_the_last_epoch():
    callback = metrics_of(
        {"ab": "A B", "c": "C", "cab": "A"}, epochs=7, every=2, prefix="x_"
    )
    seen = []
    for epoch in range(7):
        logs = {}
        callback.on_epoch_end(epoch, logs)
        seen.append((len(callback.model.asked), logs.get("x_exact_match")))
    rate = 2 / 3
    # KeepBest and early stopping find something from the first epoch on.
    counts = [1, 2, 2, 3, 3, 4, 5]
    assert seen == [(count, rate) for count in counts]


def test_generation_metrics_of_some_sources():
    callback = metrics_of({"ab": "A B", "cab": "C A B"}, max_sources=1)
    assert callback.measure() == (1.0, 0.0)
    assert callback.model.asked == [["ab"]]
    pairs = [(f"s{n}", "t") for n in range(10)]
    some = GenerationMetrics(pairs, max_sources=4).sources
    assert some == ["s0", "s2", "s5", "s7"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "`every` must be a positive integer"),
        ({"max_sources": 0}, "`max_sources` must be a positive integer or"),
        ({"pairs": [("a", "")]}, "pair 1 of the list: the target is empty"),
    ],
    ids=["every", "max-sources", "pairs"],
)
def test_generation_metrics_check_their_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        GenerationMetrics(**{"pairs": PAIRS, **options})


@pytest.mark.parametrize(
    ("mode", "best_epoch"), [("min", 3), ("max", 1)], ids=["min", "max"]
)
def test_keep_best_holds_the_weights_of_the_best_epoch(
    tmp_path, mode, best_epoch
):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    callback = KeepBest(tmp_path / "best.npz", "value", mode)
    callback.set_model(model)
    callback.on_train_begin()
    values = [3.0, 5.0, float("nan"), 2.0, 4.0, 2.0, 5.0]
    for epoch, value in enumerate(values):
        model.layers[0].kernel.assign(np.full((2, 3), float(epoch)))
        callback.on_epoch_end(epoch, {"value": value, "loss": 7.0})
    facts = callback.load_into(model)
    best = {"epoch": best_epoch + 1, "value": values[best_epoch], "loss": 7.0}
    assert facts == best
    assert (callback.best_epoch, callback.best) == (best_epoch, best["value"])
    kernel = model.layers[0].kernel.numpy()
    np.testing.assert_array_equal(kernel, np.full((2, 3), best_epoch))


def test_keep_best_keeps_no_weights_that_are_not_finite(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    callback = KeepBest(tmp_path / "best.npz", "value")
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"value": 5.0, "loss": float("inf")})
    model.layers[0].kernel.assign(np.full((2, 3), np.nan))
    callback.on_epoch_end(1, {"value": 2.0, "loss": 1.0})
    assert (callback.best, callback.best_epoch) == (5.0, 0)
    # JSON has no number for an infinite loss.
    facts = callback.load_into(model)
    assert facts == {"epoch": 1, "value": 5.0, "loss": None}


def test_metrics_of_several_values_are_kept_as_lists(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse", metrics=[keras.metrics.F1Score(name="f1")])
    best = KeepBest(tmp_path / "best.npz", "loss")
    history = HistoryFile(tmp_path / "history.jsonl")
    data = np.ones((5, 2)), np.eye(3)[[0, 1, 2, 0, 1]]
    model.fit(*data, epochs=1, callbacks=[best, history], verbose=0)
    (row,), facts = history.rows(), best.load_into(model)
    assert row["loss"] == facts["loss"] == best.best
    assert row["f1"] == facts["f1"] and len(row["f1"]) == 3
    found = finite_or_none({"f1": np.array([0.5, np.nan, np.inf]), "loss": 2})
    assert found == {"f1": [0.5, None, None], "loss": 2.0}


def test_training_stops_at_the_step_that_is_not_finite():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0), "mse")
    x = np.ones((35, 2))
    x[15:20] = 1e30  # the fourth batch: its loss is infinite
    stopping = StopWhenNonFinite()
    options = {"batch_size": 5, "shuffle": False, "verbose": 0}
    model.fit(x, np.ones((35, 1)), epochs=3, callbacks=[stopping], **options)
    assert (stopping.step, stopping.epoch) == (4, 1)
    assert stopping.weight.endswith("kernel")
    assert int(model.optimizer.iterations) == 4


def test_training_with_finite_weights_goes_on():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), lambda y, p: p * 0.0 + y)
    y = np.array([[1.0], [np.inf], [1.0]])
    stopping = StopWhenNonFinite()
    options = {"batch_size": 1, "verbose": 0, "callbacks": [stopping]}
    history = model.fit(np.ones((3, 2)), y, epochs=2, **options)
    assert history.history["loss"] == [np.inf, np.inf]
    assert stopping.step is None


def test_keep_best_checks_monitor_and_mode(tmp_path):
    with pytest.raises(ValueError, match="`mode` must be one of"):
        KeepBest(tmp_path / "best.npz", mode="most")
    callback = KeepBest(tmp_path / "best.npz")
    with pytest.raises(ValueError, match="one of the logs .*'val_loss'"):
        callback.on_epoch_end(0, {"val_loss": 1.0})
    callback = KeepBest(tmp_path / "best.npz", "f1", "max")
    with pytest.raises(ValueError, match="`monitor` must be a log of one num"):
        callback.on_epoch_end(0, {"f1": np.ones(3)})


def test_time_budget_ends_at_the_next_step():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(
        np.zeros((35, 2)),
        np.zeros((35, 1)),
        batch_size=5,
        epochs=9,
        callbacks=[TimeBudget(minutes=1e-9)],
        verbose=0,
    )
    assert history.epoch == [0]
    assert int(model.optimizer.iterations) == 1


def test_time_budget_checks_minutes():
    with pytest.raises(ValueError, match="`minutes` must be a number above 0"):
        TimeBudget(0)


def test_generation_metrics_measure_what_is_asked_for():
    callback = metrics_of(
        {"ab": "A B", "c": "C", "cab": "C A B"},
        metrics=["bleu", "word_error_rate"],
        bleu_tokenizer="none",
    )
    assert callback.results() == {}
    logs = {}
    callback.on_epoch_end(0, logs)
    assert list(logs) == ["val_bleu", "val_word_error_rate"]
    assert logs["val_word_error_rate"] == 0.0
    assert callback.bleu == logs["val_bleu"] and callback.chrf is None


def test_a_second_training_is_measured_from_its_first_epoch():
    callback = metrics_of({"ab": "B", "c": "B", "cab": "B"}, every=5)
    callback.on_train_begin()
    callback.on_epoch_end(0, {})
    callback.set_model(Answers({"ab": "A B", "c": "C", "cab": "C A B"}))
    callback.on_train_begin()
    logs = {}
    callback.on_epoch_end(0, logs)
    assert logs["val_exact_match"] == 1.0
