"""Several devices and several processes train as one does."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import program_of_losses
import program_of_replicas as program
import pytest
import tensorflow as tf

from keras_attention.training import train
from keras_attention.training.callbacks import TimeBudget
from keras_attention.training.distribution import Distribution
from keras_attention.training.distribution import distribution_of
from keras_attention.training.distribution import telling_the_others
from keras_attention.training.distribution import told_by_the_chief

pytestmark = pytest.mark.tensorflow_only

# Long enough for a machine that does much else.
SECONDS = 300


def free_ports(number):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


# What Keras warns of where it takes a number of batches for wrong.
STRICT = ["-W", "error:Your input ran out of data:UserWarning"]


def start(folder, place, output, arguments, **environment):
    command = [sys.executable, *STRICT, program.__file__]
    command += [folder, place, output]
    return subprocess.Popen(
        [*map(str, command), json.dumps(arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_workers(folder, outputs, arguments):
    hosts = [f"localhost:{port}" for port in free_ports(len(outputs))]
    cluster = {"worker": hosts}
    return [
        start(
            folder,
            "worker",
            output,
            arguments,
            TF_CONFIG=json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": index}}
            ),
        )
        for index, output in enumerate(outputs)
    ]


def end(*processes):
    """Waits for all; where one fails, the others would wait for ever."""
    try:
        for process in processes:
            text, _ = process.communicate(timeout=SECONDS)
            assert process.returncode == 0, text[-3000:]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def read(output):
    with np.load(output) as arrays:
        arrays = dict(arrays)
    metrics = json.loads(str(arrays.pop("metrics")))
    return metrics, list(arrays.values())


def assert_same(found, wanted):
    for name, value in wanted[0].items():
        assert found[0][name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
    assert len(found[1]) == len(wanted[1])
    for one, other in zip(found[1], wanted[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one device makes of it."""
    folder = tmp_path_factory.mktemp("one") / "model"
    return program.train_at(folder, "one", {})


@pytest.mark.exhaustive  # `test_losses_of_two_devices_are_those_of_all_rows`
def test_two_devices_train_as_one(one, tmp_path):
    output = tmp_path / "found.npz"
    end(start(tmp_path / "model", "mirrored", output, {}))
    assert_same(read(output), one)


def test_two_workers_train_as_one_and_the_chief_alone_writes(one, tmp_path):
    outputs = [tmp_path / "chief.npz", tmp_path / "other.npz"]
    folder = tmp_path / "model"
    end(*start_workers(folder, outputs, {}))
    for output in outputs:
        assert_same(read(output), one)
    assert {path.name for path in tmp_path.iterdir()} == {
        "model",
        *(output.name for output in outputs),
    }


@pytest.mark.exhaustive
@pytest.mark.parametrize("steps", [1, 5])
def test_lost_worker_and_all_go_on(one, tmp_path, steps):
    outputs = [tmp_path / "chief.npz", tmp_path / "other.npz"]
    folder = tmp_path / "model"
    chief, other = start_workers(folder, outputs, {"dies_at": steps})
    other.communicate(timeout=SECONDS)
    assert other.returncode == 9
    try:  # it notices by itself, after a while
        chief.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        chief.kill()
        chief.communicate()
    assert not folder.exists()
    assert pathlib.Path(f"{folder}-training").is_dir()
    end(*start_workers(folder, outputs, {"resume": True}))
    assert_same(read(outputs[0]), one)


PLAIN = {"optimizer": "sgd", "learning_rate": 0.5}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "bahdanau", "alignment_loss": "diagonal"},
        # Adam would make steps of the rounding of gradients that are zero.
        {"kind": "transformer", "num_heads": 1, "cell": None, **PLAIN},
        {"kind": "luong", "batch_size": 64, "batch_tokens": 48},
        {"label_smoothing": 0.1, "optimizer": "adamw"},
        {"scheduled_sampling": 0.3, **PLAIN},
    ],
    ids=[
        "alignment_loss",
        "transformer",
        "batch_tokens",
        "optimizer",
        "sampling",
    ],
)
def test_two_devices_train_other_models_as_one(tmp_path, arguments):
    arguments = {**arguments, "average": None}
    wanted = program.train_at(tmp_path / "one", "one", arguments)
    output = tmp_path / "found.npz"
    end(start(tmp_path / "model", "mirrored", output, arguments))
    metrics, weights = read(output)
    if "batch_tokens" in arguments:  # odd batches get a row of padding
        metrics["loss"], metrics["val_loss"] = (
            wanted[0]["loss"],
            wanted[0]["val_loss"],
        )
    assert_same((metrics, weights), wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strategy": "paralel"}, "`strategy` must be 'mirrored', 'multi_w"),
        ({"strategy": "multi_worker"}, "without TF_CONFIG"),
        ({"strategy": tf.distribute.get_strategy}, "`strategy` must be"),
    ],
)
def test_what_is_no_strategy_is_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        train([("a", "b")], tmp_path / "model", **arguments)


def test_workers_meet_before_tensorflow_runs(tmp_path, monkeypatch):
    tf.zeros(1)
    config = {"cluster": {"worker": ["a:1", "b:1"]}}
    config["task"] = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(ValueError, match="before TensorFlow has run anything"):
        train([("a", "b")], tmp_path / "model", strategy="multi_worker")


class Team(Distribution):
    """A distribution whose other workers are told to the test."""

    num_replicas = 2
    num_workers = 2
    is_chief = True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jit_compile": True}, "`jit_compile` must be 'auto' or False"),
        ({"max_minutes": 3.0}, "`max_minutes` must be None with several"),
        ({"batch_size": 3}, "`batch_size` must be a multiple of the 2"),
        ({"callbacks": [TimeBudget(3)]}, "`callbacks` must be without one"),
    ],
)
def test_what_replicas_cannot_do_together_is_refused(arguments, message):
    from keras_attention.training.settings import TrainingSettings

    pairs = [("a", "b")]
    settings = TrainingSettings(pairs=pairs, folder="any", **arguments)
    with pytest.raises(ValueError, match=message):
        Team(None).check(settings)
    Distribution(tf.distribute.get_strategy()).check(settings)


def test_workers_that_read_other_pairs_are_refused(monkeypatch):
    chief = {}

    def sums(team, values):
        """Of two workers of which the other differs from the chief."""
        return chief["sums"](values)

    monkeypatch.setattr(Team, "_sum", sums)
    # First the digest of the chief, this one; then how many differ: 1.
    chief["sums"] = lambda values: [1.0] if values == [0.0] else values
    with pytest.raises(ValueError, match="1 of 2 workers, this one not among"):
        Team(None).check_alike({"pairs": 3})
    # Of a worker that hears another digest.
    monkeypatch.setattr(Team, "is_chief", False)
    answers = [[7.0], [1.0]]
    chief["sums"] = lambda values: answers.pop(0)
    with pytest.raises(ValueError, match="1 of 2 workers, this one among"):
        Team(None).check_alike({"pairs": 3})
    # All alike.
    monkeypatch.setattr(Team, "is_chief", True)
    chief["sums"] = lambda values: values
    Team(None).check_alike({"pairs": 3})


def test_others_hear_that_the_chief_refuses(monkeypatch):
    told = []
    monkeypatch.setattr(Team, "of_chief", lambda _, values: told.append(values))
    with pytest.raises(ValueError, match="in the way"):
        with telling_the_others(Team(None)):
            raise ValueError("something is in the way")
    with telling_the_others(Team(None)) as course:
        course.is_finished = True
    monkeypatch.setattr(Team, "of_chief", lambda *_: told.pop(0))
    with pytest.raises(ValueError, match="its own error says why"):
        told_by_the_chief(Team(None))
    assert told_by_the_chief(Team(None)).is_finished


def test_one_device_is_its_own_chief():
    distribution = distribution_of(None)
    assert distribution.is_chief
    assert distribution.of_chief([3, 5.5]) == [3.0, 5.5]
    assert distribution.shapes(((4, 7, 11),)) == ((4, 7, 11),)


def test_losses_of_two_devices_are_those_of_all_rows(tmp_path):
    output = tmp_path / "losses.json"
    command = [sys.executable, program_of_losses.__file__, str(output)]
    subprocess.run(command, check=True, timeout=SECONDS, capture_output=True)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["halves"] == pytest.approx(found["whole"], rel=1e-6)
    assert found["seeds"] == [[3, 5, 0], [3, 5, 1]]
