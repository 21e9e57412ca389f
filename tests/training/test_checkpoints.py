"""Killed at any moment and started again: the same weights at the end."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_attention.training import Checkpoints
from keras_attention.training import Position
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
from keras_attention import training
from keras_attention.training import archives

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

archives.os.replace = killed_replace
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
    return train(PAIRS, folder, callbacks=[Counted()], **OPTIONS)


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
    # The training loss of the epoch gone on with is of its remaining steps.
    measured = {k: v for k, v in card["metrics"].items() if "val" in k}
    assert measured.items() <= uninterrupted.card["metrics"].items()
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


@pytest.mark.parametrize("crash", [1, 3, 4, 5, 7, 8, 11])
def test_fit_goes_on_after_a_crash(tmp_path, crash):
    whole = small_model()
    fit(whole, tmp_path / "whole", epochs=3)
    broken = small_model()
    with pytest.raises(RuntimeError, match="crash"):
        fit(broken, tmp_path / "broken", 3, callbacks=[StopAt(crash)])
    again = small_model()
    again.layers[0].kernel.assign_add(np.ones((5, 3)))
    begun = fit(again, tmp_path / "broken", 3, callbacks=[StopAt(99)])
    # Every third step of an epoch, the start of each, never its last step.
    done = {1: 0, 3: 3, 4: 3, 5: 4, 7: 7, 8: 7, 11: 11}[crash]
    assert begun == Position(*divmod(done, 4))
    for one, other in zip(again.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert int(again.optimizer.iterations) == 12


def test_two_checkpoints_are_kept_and_a_broken_one_is_passed_over(tmp_path):
    fit(small_model(), tmp_path, epochs=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "checkpoint-000001-000000003.npz",
        "checkpoint-000002-000000000.npz",
    ]
    (tmp_path / names[1]).write_bytes(b"broken")
    assert Checkpoints(tmp_path).restore(small_model()) == Position(1, 3)
    (tmp_path / names[0]).write_bytes(b"broken")
    with pytest.raises(ValueError, match="000003.npz' cannot be read"):
        Checkpoints(tmp_path).restore(small_model())


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
