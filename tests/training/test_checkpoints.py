"""Killed at any moment and started again: the same weights at the end."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest

from keras_attention.training import Checkpoints
from keras_attention.training import Position
from keras_attention.training import StopWhenNonFinite
from keras_attention.training import train
from keras_attention.training.archives import read_archive
from keras_attention.training.archives import write_archive

ROOT = pathlib.Path(__file__).parents[2]
PAIRS = [
    (word, " ".join(reversed(word.upper())))
    for word in ("ab", "cab", "bad", "face", "decaf", "cafe", "dab", "fed")
] * 5
OPTIONS = {
    "kind": "cnn-rnn",
    "cell": "simple",
    "validation_pairs": PAIRS[:3],
    "target_unit": "symbols",
    "units": 3,
    "dropout": 0.3,
    "batch_size": 7,
    "epochs": 2,
    "checkpoint_every": 2,
    "patience": 2,
    "seed": 11,
    "verbose": 0,
}

# Trains; says so at each step; may kill itself inside the n-th writing.
PROGRAM = """
import os, signal, sys
import keras
from keras_attention import files
from keras_attention import training

sys.path.insert(0, sys.argv[3])
from test_checkpoints import OPTIONS, PAIRS

class Steps(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print("step", flush=True)

written = 0

def killed_replace(source, target, replace=os.replace):
    global written
    written += 1
    if written == int(sys.argv[2]):
        with open(source, "r+b") as file:
            file.truncate(99)
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)

files.os.replace = killed_replace
training.train(
    PAIRS, sys.argv[1], resume=True, callbacks=[Steps()], **OPTIONS
)
print("end", flush=True)
"""


class Counted(keras.callbacks.Callback):
    """Counts the steps; in the place of the callback of the program."""

    def __init__(self):
        super().__init__()
        self._steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self._steps += 1

    def steps(self):
        return self._steps


def killed_while_writing(folder, draw):
    """Dies inside a writing, which leaves half a file beside."""
    with started(folder, killed_writing=draw.randint(3, 7)) as process:
        return process.wait(timeout=300)


def killed_from_outside(folder, draw):
    """Dies after some step, or wherever it is by then."""
    with started(folder) as process:
        for _ in range(draw.randint(3, 8)):
            process.stdout.readline()
        time.sleep(draw.uniform(0.0, 0.05))
        process.kill()
        return process.wait(timeout=300)


def started(folder, killed_writing=0):
    here = str(pathlib.Path(__file__).parent)
    command = [sys.executable, "-c", PROGRAM, folder, str(killed_writing), here]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "model"
    trained = train(PAIRS, folder, callbacks=[Counted()], **OPTIONS)
    return types.SimpleNamespace(folder=folder, **trained._asdict())


def history_of(folder):
    lines = (folder / "history.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.exhaustive  # `test_training_goes_on_after_a_crash` has it
@pytest.mark.parametrize("kill", [killed_while_writing, killed_from_outside])
def test_killed_training_ends_at_the_same_weights(
    tmp_path, uninterrupted, kill
):
    folder = tmp_path / "model"
    assert kill(str(folder), random.Random(5)) == -signal.SIGKILL
    assert not folder.exists()
    counted = Counted()
    model, card = train(
        PAIRS, folder, resume=True, callbacks=[counted], **OPTIONS
    )
    assert 0 < counted.steps() < 12  # 2 epochs of 6 steps: not all again
    for ours, theirs in zip(
        model.weights, uninterrupted.model.weights, strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert history_of(folder) == history_of(uninterrupted.folder)
    assert card == uninterrupted.card
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def small_model(units=3):
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(units), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def fit(model, folder, epochs, steps=4, every=3, callbacks=(), **options):
    """Fits on batches that follow from the step; returns the position."""
    import tensorflow as tf

    checkpoints = Checkpoints(folder, every, callbacks, **options)
    start = checkpoints.restore(model)

    def batches():
        number = start.epoch * steps + start.step
        while True:
            draw = np.random.default_rng(number)
            yield draw.normal(size=(2, 5)), draw.normal(size=(2, 1))
            number += 1

    specs = [tf.TensorSpec((2, width), tf.float32) for width in (5, 1)]
    data = tf.data.Dataset.from_generator(
        batches, output_signature=tuple(specs)
    )
    data = data.apply(
        tf.data.experimental.assert_cardinality(
            tf.data.experimental.INFINITE_CARDINALITY
        )
    )
    model.fit(
        data,
        epochs=epochs,
        initial_epoch=start.epoch,
        steps_per_epoch=steps,
        callbacks=[checkpoints, *callbacks],
        verbose=0,
        shuffle=False,
    )
    return start


class StopAt(keras.callbacks.Callback):
    """Breaks out of fit after so many steps, as a crash does."""

    def __init__(self, steps):
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if not self._left:
            raise RuntimeError("crash")


@pytest.fixture(scope="module")
def whole_fit(tmp_path_factory):
    model = small_model()
    fit(model, tmp_path_factory.mktemp("whole"), epochs=3)
    return model


# Before the first checkpoint, after the last step of an epoch, which has none,
# and on one in the middle of an epoch.
@pytest.mark.parametrize(("crash", "done"), [(1, 0), (4, 3), (7, 7)])
def test_fit_goes_on_after_a_crash(tmp_path, whole_fit, crash, done):
    with pytest.raises(RuntimeError, match="crash"):
        fit(small_model(), tmp_path, 3, callbacks=[StopAt(crash)])
    again = small_model()
    again.layers[0].kernel.assign_add(np.ones((5, 3)))
    begun = fit(again, tmp_path, 3, callbacks=[StopAt(99)])
    # Every third step of an epoch, the start of each, never its last step.
    assert begun == Position(*divmod(done, 4))
    for one, other in zip(again.weights, whole_fit.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert int(again.optimizer.iterations) == 12


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory):
    """A folder with the checkpoints of (1, 3) and of (2, 0)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    fit(small_model(), folder, epochs=2)
    return folder


LAST = "checkpoint-000002-000000000.npz"
FIRST = "checkpoint-000001-000000003.npz"


@pytest.fixture
def checkpoints(two_checkpoints, tmp_path):
    return shutil.copytree(two_checkpoints, tmp_path / "checkpoints")


def test_two_checkpoints_are_kept(checkpoints):
    assert sorted(path.name for path in checkpoints.iterdir()) == [FIRST, LAST]


def test_damaged_checkpoint_is_passed_over(checkpoints):
    (checkpoints / LAST).write_bytes(b"broken")
    with pytest.warns(UserWarning, match="Going on from checkpoint-000001"):
        found = Checkpoints(checkpoints).restore(small_model())
    assert found == Position(1, 3)
    # It is kept for its owner, and counts no more as one of the last two.
    names = sorted(path.name for path in checkpoints.iterdir())
    assert names == [FIRST, f"{LAST}.damaged"]
    (checkpoints / FIRST).write_bytes(b"broken")
    with pytest.raises(ValueError, match="000003.npz' cannot be .* begin anew"):
        Checkpoints(checkpoints).restore(small_model())


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"epoch": 2, "val_loss": 1.0},
        {"position": [1, 2], "callbacks": [], "facts": {}},
        {"position": [1, 2, False], "callbacks": [["x"]], "facts": {}},
        {"position": [1, 2, False], "callbacks": [], "facts": 7},
        {"position": [1, 2, 0], "callbacks": [], "facts": {}},
        {"position": [-1, 2, False], "callbacks": [], "facts": {}},
        {
            "position": [1, 2, False],
            "callbacks": [],
            "facts": {},
            "metrics": -1,
        },
    ],
)
def test_archive_that_is_no_checkpoint_is_passed_over(checkpoints, facts):
    write_archive(checkpoints / LAST, [], facts)
    with pytest.warns(UserWarning, match="it is no checkpoint"):
        found = Checkpoints(checkpoints).restore(small_model())
    assert found == Position(1, 3)


def test_facts_that_are_no_dict_are_refused(tmp_path):
    write_archive(tmp_path / "a.npz", [], [1, 2])
    with pytest.raises(ValueError, match="its facts are no dict"):
        read_archive(tmp_path / "a.npz")
    deep = b"[" * 100_000
    np.savez(tmp_path / "deep.npz", facts=np.frombuffer(deep, "uint8"))
    with pytest.raises(ValueError, match="cannot be read"):
        read_archive(tmp_path / "deep.npz")
    np.savez(tmp_path / "none.npz", array_0=np.zeros(3))
    with pytest.raises(ValueError, match="cannot be read: KeyError"):
        read_archive(tmp_path / "none.npz")


def test_flipped_bits_are_noticed_or_change_nothing(checkpoints):
    path = checkpoints / LAST
    whole = path.read_bytes()
    arrays, facts = read_archive(path)
    draw = random.Random(3)
    end = len(whole) - whole.rindex(b"PK\x01\x02", 0, whole.rindex(b"PK\x05"))
    # Everywhere, and twice as often in the directory at the end of the file.
    places = [draw.randrange(len(whole)) for _ in range(200)]
    places += [len(whole) - 1 - draw.randrange(end) for _ in range(200)]
    noticed = 0
    for place in places:
        broken = bytearray(whole)
        broken[place] ^= 1 << draw.randrange(8)
        path.write_bytes(broken)
        try:
            found, found_facts = read_archive(path)
        except ValueError:
            noticed += 1
            continue
        assert found_facts == facts
        for one, other in zip(found, arrays, strict=True):
            np.testing.assert_array_equal(one, other)
    assert noticed > 100


def test_fact_that_is_new_had_its_default(checkpoints):
    defaults = {"scale": 2}
    same = Checkpoints(checkpoints, facts={"scale": 2}, defaults=defaults)
    assert same.restore(small_model()) == Position(2, 0)
    other = Checkpoints(checkpoints, facts={"scale": 3}, defaults=defaults)
    with pytest.raises(ValueError, match="`scale` must be .*', 2, to go on"):
        other.restore(small_model())


class Losses(keras.callbacks.Callback):
    """Puts given values into the logs."""

    def __init__(self, values):
        super().__init__()
        self._values = values

    def on_epoch_end(self, epoch, logs=None):
        logs["value"] = self._values[epoch]


def test_patience_survives_a_crash(tmp_path):
    values = [5.0, 3.0, 4.0, 4.0, 4.0, 4.0]

    def callbacks(crash):
        stopping = keras.callbacks.EarlyStopping(
            "value", mode="min", patience=3, restore_best_weights=True
        )
        return [Losses(values), stopping, StopAt(crash)]

    with pytest.raises(RuntimeError, match="crash"):
        fit(small_model(), tmp_path, 6, callbacks=callbacks(14))
    model = small_model()
    resumed = callbacks(99)
    assert fit(model, tmp_path, 6, callbacks=resumed) == Position(3, 0)
    stopping = resumed[1]
    assert (stopping.best, stopping.best_epoch) == (3.0, 1)
    assert stopping.stopped_epoch == 4
    whole = small_model()
    fit(whole, tmp_path / "whole", 2)
    for one, other in zip(model.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert Checkpoints(tmp_path).restore(small_model()).stopped


def fit_without_restoring(folder, **options):
    small_model().fit(
        np.ones((4, 5)),
        np.ones((4, 1)),
        batch_size=2,
        callbacks=[Checkpoints(folder)],
        verbose=0,
        **options,
    )


def test_checkpoints_of_another_training_are_not_mixed_with_ours(tmp_path):
    fit_without_restoring(tmp_path, epochs=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ValueError, match="with checkpoint-000002-.*`restore`"):
        fit_without_restoring(tmp_path, epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    fit_without_restoring(tmp_path, initial_epoch=2, epochs=3)
    # Restored, or of the same object, and yet begun at the first epoch.
    model, checkpoints = small_model(), Checkpoints(tmp_path)
    checkpoints.restore(model)
    for begin in ({}, {"initial_epoch": 1}):
        with pytest.raises(ValueError, match="with checkpoint-000003-"):
            model.fit(
                *(np.ones((4, 5)), np.ones((4, 1))),
                callbacks=[checkpoints],
                epochs=3,
                verbose=0,
                **begin,
            )


def test_a_second_training_does_not_remember_the_first(tmp_path):
    with pytest.raises(RuntimeError, match="crash"):
        fit(small_model(), tmp_path, 6, callbacks=[Remembering(), StopAt(9)])
    counting, model = Remembering(), small_model()
    checkpoints = Checkpoints(tmp_path, callbacks=[counting, StopAt(9)])
    start = checkpoints.restore(model)
    for first in (start.epoch, 6):
        counting.count = 50
        model.fit(
            *(np.ones((4, 5)), np.ones((4, 1))),
            initial_epoch=first,
            epochs=first + 1,
            callbacks=[checkpoints, counting],
            verbose=0,
        )
    assert counting.count == 51


class Remembering(keras.callbacks.Callback):
    """Counts the epochs across restarts, and writes to a path."""

    remembered = ("count",)

    def __init__(self, count=0):
        super().__init__()
        self.count = count
        self.path = "mine"

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1


def test_state_that_a_callback_names_is_remembered(tmp_path):
    with pytest.raises(RuntimeError, match="crash"):
        fit(small_model(), tmp_path, 6, callbacks=[Remembering(), StopAt(9)])
    counting = Remembering()
    fit(small_model(), tmp_path, 6, callbacks=[counting, StopAt(99)])
    assert counting.count == 6
    finished = Remembering()
    checkpoints = Checkpoints(tmp_path, callbacks=[finished, StopAt(9)])
    checkpoints.restore(small_model())
    checkpoints.restore_callbacks()
    assert finished.count == 6


def test_checkpoint_sets_no_attribute_but_the_named(checkpoints):
    arrays, state = read_archive(checkpoints / LAST)
    state["callbacks"] = [{"count": 1, "path": 3}]
    write_archive(checkpoints / LAST, arrays, state)
    callback = Remembering()
    with pytest.raises(ValueError, match=r"remembers, \['count'\].*'path'"):
        fit(small_model(), checkpoints, 4, callbacks=[callback])
    assert (callback.count, callback.path) == (0, "mine")


def test_state_must_be_numbers_or_arrays(tmp_path):
    callback = Remembering(count="many")
    with pytest.raises(ValueError, match="`Remembering.count` must be a num"):
        fit(small_model(), tmp_path, 1, callbacks=[callback])


def test_checkpoint_of_other_callbacks_is_refused(checkpoints):
    with pytest.raises(ValueError, match=r"the 0 with a state.*\['Remember"):
        fit(small_model(), checkpoints, 4, callbacks=[Remembering()])


def test_callbacks_without_a_state_may_come_and_go(checkpoints):
    callbacks = [Counted(), StopAfterEpoch()]
    assert fit(small_model(), checkpoints, 4, callbacks=callbacks) == (
        2,
        0,
        False,
    )


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 5:
                self.model.layers[1].bias.assign([float("inf")])

    fit(small_model(), tmp_path, epochs=2, callbacks=[Spoil()])
    # Later ones would be (1, 3) and (2, 0).
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "checkpoint-000000-000000003.npz",
        "checkpoint-000001-000000000.npz",
    ]


class StopAfterEpoch(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def test_stopping_in_the_resumed_epoch_is_heeded(tmp_path):
    with pytest.raises(RuntimeError, match="crash"):
        fit(small_model(), tmp_path, 6, callbacks=[StopAt(7), Counted()])
    model = small_model()
    callbacks = [Counted(), StopAfterEpoch()]
    assert fit(model, tmp_path, 6, callbacks=callbacks) == Position(1, 3)
    assert int(model.optimizer.iterations) == 8


class StopAtStep(keras.callbacks.Callback):
    """Ends the training at a step, counted since it began."""

    def __init__(self, step):
        super().__init__()
        self._step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self._step:
            self.model.stop_training = True


@pytest.mark.parametrize("step", [4, 5])
def test_stopping_at_a_step_after_resuming_is_heeded(tmp_path, step):
    with pytest.raises(RuntimeError, match="crash"):
        fit(small_model(), tmp_path, 3, callbacks=[StopAt(4)])
    model = small_model()
    # Step 4 is the last one of the epoch that is resumed.
    assert fit(model, tmp_path, 3, callbacks=[StopAtStep(step)]) == (0, 3, 0)
    assert int(model.optimizer.iterations) == step


def test_weights_that_spoil_as_the_resumed_epoch_ends_end_the_training(
    tmp_path,
):
    class Spoil(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 4:
                self.model.layers[1].bias.assign([float("nan")])
                logs["loss"] = float("nan")

    with pytest.raises(RuntimeError, match="crash"):
        fit(small_model(), tmp_path, 3, callbacks=[StopAt(4)])
    model, stopping = small_model(), StopWhenNonFinite()
    fit(model, tmp_path, 3, callbacks=[Spoil(), stopping])
    assert stopping.step == int(model.optimizer.iterations) == 4


def test_checkpoint_of_another_model_is_refused(tmp_path):
    fit(small_model(), tmp_path, epochs=1)
    other = small_model(units=2)
    before = [weight.numpy() for weight in other.weights]
    with pytest.raises(ValueError, match=r"\(5, 3\), not \(5, 2\)"):
        Checkpoints(tmp_path).restore(other)
    for one, value in zip(other.weights, before, strict=True):
        np.testing.assert_array_equal(one.numpy(), value)


def test_checkpoint_of_other_facts_is_refused(tmp_path):
    fit(small_model(), tmp_path, epochs=1, facts={"pairs": 7})
    with pytest.raises(ValueError, match="`pairs` must be what it was.*7"):
        Checkpoints(tmp_path, facts={"pairs": 8}).restore(small_model())


def test_facts_may_grow_where_it_is_said(tmp_path):
    fit(small_model(), tmp_path, epochs=1, facts={"epochs": 7})

    def restore(epochs):
        facts = {"epochs": epochs}
        checkpoints = Checkpoints(tmp_path, facts=facts, may_grow=["epochs"])
        return checkpoints.restore(small_model())

    with pytest.warns(UserWarning, match="`epochs` was 7 and is 8 now"):
        assert restore(8) == Position(1, 0)
    with pytest.raises(ValueError, match="`epochs` must be what it was.*7"):
        restore(6)


def test_checkpoints_check_their_arguments(tmp_path):
    with pytest.raises(ValueError, match="`every` must be a positive"):
        Checkpoints(tmp_path, every=0)


def test_archive_keeps_bits_of_every_dtype(tmp_path):
    values = [1.5, -2.25, 3e38]
    variables = [
        keras.Variable(values, dtype=dtype) for dtype in ("float32", "bfloat16")
    ]
    arrays = [np.asarray(variable.value) for variable in variables]
    write_archive(tmp_path / "a.npz", arrays, {"epoch": 3})
    found, facts = read_archive(tmp_path / "a.npz")
    assert facts == {"epoch": 3}
    np.testing.assert_array_equal(found[0], arrays[0])
    np.testing.assert_array_equal(found[1], arrays[1].view("uint16"))
