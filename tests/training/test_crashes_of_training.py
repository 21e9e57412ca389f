"""A crash at any file-system event of a training costs no result.

The gate goes on from one of the states that a crash can leave, `make soak`
from all of them.
"""

import json
import random
import shutil
import types

import keras
import numpy as np
import pytest
from crashes import Trace
from crashes import distinct
from crashes import tree_of

import keras_attention as ka
from keras_attention.training import train

WORDS = ("ab", "cab", "bad", "fed", "dab", "face")
PAIRS = [(word, " ".join(reversed(word.upper()))) for word in WORDS] * 2
OPTIONS = {
    "kind": "cnn-rnn",
    "cell": "simple",
    "validation_pairs": PAIRS[:3],
    "target_unit": "symbols",
    "units": 3,
    "dropout": 0.3,
    "batch_size": 3,
    "epochs": 3,
    "average": 2,
    "patience": 3,
    "checkpoint_every": 2,
    "seed": 11,
    "verbose": 0,
}
OTHERS = {**OPTIONS, "seed": 5, "epochs": 1}
MODEL, TRAINING = "model", "model-training"


class Stop(keras.callbacks.Callback):
    """Ends a training at its fifth step, as a crash does."""

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 5:
            raise RuntimeError("crash")


def stopped(folder, **options):
    with pytest.raises(RuntimeError, match="crash"):
        train(PAIRS, folder, callbacks=[Stop()], **options)


def nothing(folder):
    """Before a first training."""


def unfinished(folder):
    """Before a training goes on."""
    stopped(folder, **OPTIONS)


def another(folder):
    """Before a training takes the place of a model and a training."""
    train(PAIRS, folder, **OTHERS)
    stopped(folder, **{**OTHERS, "epochs": 2}, overwrite=True)


# What was there, and what is asked for, then and after the crash.
TRAININGS = {
    "first": (nothing, {"resume": True}),
    "resumed": (unfinished, {"resume": True}),
    "overwriting": (another, {"overwrite": True}),
}


def recorded(name, parent):
    """Returns what a training leaves, and would after a crash."""
    before, asked = TRAININGS[name]
    before(parent / MODEL)
    old = tree_of(parent / MODEL)
    with Trace(parent) as trace:
        model, card = train(PAIRS, parent / MODEL, **asked, **OPTIONS)
    draw = random.Random(7)
    return types.SimpleNamespace(
        trace=trace,
        states=distinct(trace.killed(draw) + trace.without_power(draw)),
        asked=asked,
        weights=model.get_weights(),
        card=card,
        history=history_of(parent / MODEL),
        places=(old, tree_of(parent / MODEL)),
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return recorded("first", tmp_path_factory.mktemp("first"))


def history_of(folder):
    lines = (folder / "history.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in r.items() if k != "seconds"} for r in rows]


def newest_checkpoint(tree):
    """Returns (epoch, step) of the last checkpoint in a tree, or None."""
    found = [
        tuple(map(int, name.removesuffix(".npz").split("-")[-2:]))
        for name in tree
        if name.startswith(f"{TRAINING}/checkpoints/checkpoint-")
    ]
    return max(found, default=None)


def check_goes_on(recorded, state, parent):
    """Trains as a user would after the crash; the results must be equal."""
    print(state.number, state.kind, sorted(state.tree))  # if it fails
    state.write(parent)
    model, card = train(PAIRS, parent / MODEL, **recorded.asked, **OPTIONS)
    for weights in (model.get_weights(), ka.load(parent / MODEL).get_weights()):
        for one, other in zip(weights, recorded.weights, strict=True):
            np.testing.assert_array_equal(one, other)
    assert history_of(parent / MODEL) == recorded.history
    assert card == recorded.card
    assert [path.name for path in parent.iterdir()] == [MODEL]


def check_places(recorded):
    for state in recorded.states:
        assert (state.inside(MODEL) or {}) in recorded.places


def test_the_model_is_old_or_new(first):
    check_places(first)
    assert first.trace.least()[-1].inside(MODEL) == first.places[1]


def test_a_checkpoint_is_safe_before_anything_else_is_done(first):
    newest = [
        newest_checkpoint(state.tree) or (0, 0)
        for state in first.trace.as_it_was()
    ]
    safe = [
        newest_checkpoint(state.tree) or (0, 0) for state in first.trace.least()
    ]
    trained = newest.index((OPTIONS["epochs"], 0))
    assert trained > 100
    # One event is the `fsync` of the folder itself.
    for there, on_disk in zip(newest[:trained], safe[1:], strict=False):
        assert on_disk >= there


def test_training_goes_on_after_a_crash(first, tmp_path, record_property):
    inside = [s for s in first.states if newest_checkpoint(s.tree) == (1, 2)]
    assert len(inside) > 10  # in the middle of the second epoch
    check_goes_on(first, random.Random(5).choice(inside), tmp_path)
    record_property("crashes of a training survived", 1)


@pytest.mark.soak
@pytest.mark.parametrize("name", TRAININGS)
def test_training_goes_on_after_every_crash(name, tmp_path, record_property):
    (tmp_path / "recorded").mkdir()
    done = recorded(name, tmp_path / "recorded")
    check_places(done)
    # What is in temporary folders is deleted unread: `test_crashes` has it.
    states = distinct(done.states, leftovers=False)
    for number, state in enumerate(states):
        keras.backend.clear_session()
        parent = tmp_path / str(number)
        parent.mkdir()
        check_goes_on(done, state, parent)
        shutil.rmtree(parent)
    record_property("crashes of a training found", len(done.states))
    record_property("crashes of a training survived", len(states))
