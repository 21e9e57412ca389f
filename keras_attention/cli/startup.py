"""Importing Keras and TensorFlow without their notes on standard error."""

import contextlib
import importlib
import os
import sys
import tempfile

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ALL, NOTHING = "0", "3"


def import_tensorflow() -> None:
    """Imports Keras and TensorFlow, which takes seconds, and silences them.

    A level in TF_CPP_MIN_LOG_LEVEL is kept, and 0 shows everything.
    """
    if os.environ.setdefault(LOG_LEVEL, NOTHING) == ALL:
        _import()
        return
    with _kept_back():
        _import()


def _import():
    for name in ("keras", "keras_attention.text"):
        importlib.import_module(name)


@contextlib.contextmanager
def _kept_back():
    """Keeps back what is written to standard error, unless the block raises.

    Some notes of TensorFlow come before it reads its log level.
    """
    error = 2  # the file descriptor, which C++ writes to
    try:
        original = os.dup(error)
    except OSError:  # standard error is closed
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), error)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(original, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(original, error)
            os.close(original)
