"""Forked processes, which TensorFlow's threads do not follow into.

An operation that waits for one of these threads waits without end. Linux
tells the names of the threads of a process; elsewhere nothing is noticed.
"""

import os
import pathlib

import keras

_threads = {"ran before the fork": False, "lost": False}


def check_tensorflow():
    """Raises a RuntimeError where TensorFlow lost its threads in a fork."""
    if _threads["lost"] and keras.config.backend() == "tensorflow":
        raise RuntimeError(
            "TensorFlow does not run in this process, which was forked from "
            "one where it had run: its threads do not survive a fork, and "
            "the model would wait for them without end. Start processes with "
            "multiprocessing.get_context('spawn'), or fork before TensorFlow "
            "runs and load the model in the child."
        )


def _tensorflow_has_threads():
    """Whether TensorFlow has run an operation in this process."""
    names = pathlib.Path("/proc/self/task").glob("*/comm")
    return any(_read(name).startswith("tf_") for name in names)


def _read(path):
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the thread has ended
        return ""


def _before_fork():
    _threads["ran before the fork"] = _tensorflow_has_threads()


def _after_fork_in_child():
    _threads["lost"] |= _threads["ran before the fork"]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_child=_after_fork_in_child
    )
