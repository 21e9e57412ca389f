"""Forked processes, which TensorFlow's threads do not follow into.

An operation that waits for one of these threads waits without end. Whether
they run is told by their names on Linux, which recent releases of TensorFlow
set, and otherwise by whether a model was made in the process.
"""

import os
import pathlib

import keras

_tensorflow = {"runs": False, "lost its threads": False}


def check_tensorflow() -> None:
    """Must be called before a model runs TensorFlow.

    Raises:
        RuntimeError: if TensorFlow lost its threads in a fork.
    """
    if keras.config.backend() != "tensorflow":
        return
    if _tensorflow["lost its threads"]:
        raise RuntimeError(
            "TensorFlow does not run in this process, which was forked from "
            "one where it had run: its threads do not survive a fork, and "
            "the model would wait for them without end. Start processes with "
            "multiprocessing.get_context('spawn'), or fork before TensorFlow "
            "runs and load the model in the child."
        )
    _tensorflow["runs"] = True


def _has_named_threads():
    names = pathlib.Path("/proc/self/task").glob("*/comm")
    return any(_read(name).startswith("tf_") for name in names)


def _read(path):
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the thread has ended
        return ""


def _before_fork():
    _tensorflow["runs"] = _tensorflow["runs"] or _has_named_threads()


def _after_fork_in_child():
    _tensorflow["lost its threads"] = _tensorflow["runs"]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_child=_after_fork_in_child
    )
