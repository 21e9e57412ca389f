"""A forked process says so, where TensorFlow would wait without end."""

import os
import select
import signal

import numpy as np
import pytest
from small_models import small_model
from small_models import source_ids

import keras_attention as ka

SECONDS = 60
pytestmark = [
    pytest.mark.tensorflow_only,
    # Python and JAX warn of every fork of a process with threads.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
]


def error_in_a_fork(work):
    """Returns what `work` raised in a forked child, or that it did not end."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        message = "no error"
        try:
            work()
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        os.write(write_end, message.encode())
        os._exit(0)
    try:
        answered = select.select([read_end], [], [], SECONDS)[0]
        return os.read(read_end, 10_000).decode() if answered else "a hang"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read_end)
        os.close(write_end)


@pytest.fixture(scope="module")
def model():
    return small_model("cnn", "luong", max_length=2)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forked") / "model"
    model.save_folder(folder)
    return folder


def generate(model, folder):
    model.generate(source_ids())


def call(model, folder):
    model({"source": source_ids(), "target": np.ones((3, 2), "int32")})


def load(model, folder):
    ka.load(folder)


def build(model, folder):
    ka.build_seq2seq("cnn-luong", 11, 13, units=3)


def generate_in_a_grandchild(model, folder):
    raise RuntimeError(error_in_a_fork(lambda: generate(model, folder)))


@pytest.mark.parametrize(
    "work", [generate, call, load, build, generate_in_a_grandchild]
)
def test_a_fork_of_a_process_where_tensorflow_ran_is_refused(
    work, model, folder
):
    error = error_in_a_fork(lambda: work(model, folder))
    assert error.startswith("RuntimeError: ")
    assert "TensorFlow does not run in this process" in error
    assert "multiprocessing.get_context('spawn')" in error


def test_the_parent_goes_on(model):
    before = model.generate(source_ids()).scores
    assert error_in_a_fork(lambda: None) == "no error"
    np.testing.assert_array_equal(model.generate(source_ids()).scores, before)
